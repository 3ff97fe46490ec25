"""Fixtures of tests that drive the installed program: routers as in tests/netns; daemons, also altered ones."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.conftest import _swept, bed, server, world
from tests.support.daemon import Daemon

__all__ = ["_swept", "bed", "server", "world"]

Start = Callable[..., Daemon]
Weaken = Callable[[str, str], None]


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


@pytest.fixture
def weakened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weaken:
    """`weakened(module, code)`: each process of the daemon that runs this module runs the code first.

    The product has no switch for what must never be off: Python imports `sitecustomize` before anything else.
    """

    def weaken(module: str, code: str) -> None:
        folder = tmp_path / "weakened"
        folder.mkdir()
        text = f"import sys\nif {module!r} in sys.orig_argv:\n" + textwrap.indent(textwrap.dedent(code), "    ")
        (folder / "sitecustomize.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return weaken
