"""Fixtures of the fault tests: a router to flood. Daemons whose protections are removed: `weakened`, of tests/e2e."""

from __future__ import annotations

import pytest

from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import Router, World
from tests.e2e.conftest import Weaken

__all__ = ["Weaken"]


@pytest.fixture
def router(bed: Testbed) -> Router:
    """A router of the test's own, with one instance beside the flood's many."""
    return Router(World(bed), instances=1)
