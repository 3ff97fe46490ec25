"""The program of the version before, asked about a store that this one has written to: it refuses, and answers nothing.

That version is taken from the repository; what it knew of lines is in the unit tests, for where its history is not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anetcon.store import layout, manifest
from anetcon.store.compact import Compactor
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import DAY, T0, Making, whole

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
BEFORE_COMPACTION, SINCE_STATE, BEFORE_STATE = "47a5b62", "0286880", "58e1a01"
NEWER = "is of a newer version of anetcon"


def asked(before: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """What that program says."""
    environment = {**os.environ, "PYTHONPATH": str(before / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-P", "-c", "from anetcon.cli.main import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(
    params=[(BEFORE_COMPACTION, NEWER), *((old, "no anetcon writes") for old in (SINCE_STATE, BEFORE_STATE))]
)
def before(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A version before, and what it says of lines that it does not know."""
    commit, says = request.param
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit, "src"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"the history of this checkout does not reach back to {commit}")
    path = tmp_path / "before"
    path.mkdir()
    subprocess.run(["tar", "-x", "-C", path], input=archive.stdout, check=True)
    return path, says


@pytest.mark.parametrize("state", [False, True])
def test_it_refuses(before: tuple[Path, str], tmp_path: Path, state: bool) -> None:
    """It read the store before; behind a seal, a retention and a compaction of this version every question ends with
    one sentence, whether it begins with a saved state or not."""
    program, says = before
    store = tmp_path / "store"
    making = Making(store).audited()
    for number, days in enumerate((3, 2, 2, 1)):
        making.add(*whole(start=T0 - days * DAY, src_port=number)).alive(T0 - days * DAY).rotate()
        assert Sealer(store, lambda at=T0 - days * DAY: at).seal()  # type: ignore[misc]
    making.alive(T0).close()
    questions = [
        ("search", "--limit", "0"),
        ("who", "203.0.113.7:40213", "--at", "2026-11-18T13:05:09Z"),
        ("gaps",),
    ]
    assert Sealer(store, lambda: T0, limits=Limits(age=2 * DAY)).retain() is not None
    assert list(Compactor(store, clock=lambda: T0).run())
    if state:
        manifest.save(store, manifest.replay(store))
    assert len(Store(store).connections().read_all()) == 3
    for question in questions:
        assert Answer(*question, "--store", store).status in (0, 1, 3)
        said = asked(program, *question, "--store", store)
        assert (said.returncode, said.stdout) == (8, ""), said.stderr
        assert says in said.stderr
        assert str(layout.manifest_path(store)) in said.stderr
        assert "Traceback" not in said.stderr
