"""Fixtures of the fault tests: a router to flood, and daemons whose protections are removed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.testbed.namespaces import Testbed
from anetcon.testbed.topology import Router, World

Weaken = Callable[[str, str], None]


@pytest.fixture
def router(bed: Testbed) -> Router:
    """A router of the test's own, with one instance beside the flood's many."""
    return Router(World(bed), instances=1)


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
