"""`anetcon compact`: what it does and says."""

from __future__ import annotations

from pathlib import Path

from anetcon.store import layout, lock, manifest
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import DAY, T0, Making, whole


def sealed(path: Path) -> Path:
    """A day of two seals, and a day behind it."""
    making = Making(path)
    for number, at in enumerate((T0 - 9 * DAY, T0 - 9 * DAY, T0 - 5 * DAY)):
        making.add(*whole(start=at, src_port=number)).rotate()
        assert Sealer(path, lambda at=at: at).seal()  # type: ignore[misc]
    return making.close()


def test_it_says_what_it_did(tmp_path: Path) -> None:
    """A line for each new file, and that there is nothing to do the next time."""
    store = sealed(tmp_path)
    first, again = Answer("compact", "--store", store), Answer("compact", "--store", store)
    assert (first.status, again.status) == (0, 0)
    (day,) = [e for e in manifest.replay(store).connections if layout.span_of_file(e.file)]
    assert first.out == f"compacted 2 files into {day.file}: 2 connections in {day.bytes} bytes\n"
    assert again.out.startswith("nothing to do")
    assert Answer("verify", "--store", store).status == 3


def test_it_refuses_in_one_sentence(tmp_path: Path) -> None:
    """Where there is no store, and where another one runs."""
    assert Answer("compact", "--store", tmp_path / "none").status == 8
    store = sealed(tmp_path / "store")
    with lock.turn(store, wait=True, name=layout.COMPACTING_LOCK):
        said = Answer("compact", "--store", store)
    assert (said.status, said.out) == (8, "")
    assert "another compaction" in said.err
