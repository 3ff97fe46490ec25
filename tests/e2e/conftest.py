"""Fixtures of tests that drive the installed program: routers as in tests/netns, and daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.netns.conftest import _swept, bed, server, world

__all__ = ["_swept", "bed", "server", "world"]

Start = Callable[..., Daemon]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Start]:
    """Starts a daemon for namespaces given by name, with tables of settings as keywords; ends it afterwards."""
    started: list[Daemon] = []

    def start(*names: str, **tables: dict[str, Any]) -> Daemon:
        made = Daemon(tmp_path, names, {"": {"node": "testnode"}, **tables})
        started.append(made)
        return made.run()

    yield start
    for each in started:
        each.stop()
