"""Closes what the parts opened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import capture_parts as parts


@pytest.fixture(autouse=True)
def _sockets() -> Iterator[None]:
    yield
    while parts.SOCKETS:
        parts.SOCKETS.pop().close()
