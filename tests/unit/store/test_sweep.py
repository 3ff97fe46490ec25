"""What a crash left goes; what the manifest never named stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from anetcon.errors import StoreError
from anetcon.store import layout, manifest
from anetcon.store.entry import Why
from anetcon.store.seal import Sealer
from anetcon.store.sweep import sweep
from tests.support.records import T0, Making, whole

OURS = "node=gw1/date=2026-11-20/00000001.parquet"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two seals."""
    making = Making(tmp_path / "store")
    for number in range(2):
        making.add(*whole(ct_id=number, src_port=number)).rotate()
        assert Sealer(making.path, lambda: T0).seal()
    return making.close()


def test_what_a_commit_removed_goes(store: Path) -> None:
    """A file that was removed and is still there, whatever the commit was for; a copy of one that counts is not."""
    state = manifest.replay(store)
    (copy := store / OURS.replace("01.parquet", "01.copy.parquet")).write_bytes((store / OURS).read_bytes())
    manifest.commit(store, state, Why.RETENTION, T0, removes=[OURS], before=T0 + 99)
    assert (store / OURS).exists()
    sweep(store, state)
    assert not (store / OURS).exists()
    assert copy.exists()
    assert all((store / file).exists() for file in state.files())


@pytest.mark.parametrize("name", ["node=gw2/date=2026-11-20/00000001.parquet", "gaps/2024-01.00000001.parquet"])
def test_what_was_never_named_stays(store: Path, name: str) -> None:
    """Even under a name that could be ours: the manifest may have lost the line that counted it."""
    layout.make_folder((store / name).parent)
    shutil.copy(store / OURS, store / name)
    sweep(store, manifest.replay(store))
    assert (store / name).exists()


def test_what_is_of_a_later_seal_stops(store: Path) -> None:
    """Then the manifest lost its end; what is of the next one a seal left that died."""
    state = manifest.replay(store)
    following, later = (store / OURS.replace("00000001", f"{number:08d}") for number in (3, 4))
    for path in (following, following.with_name(following.name + ".new")):
        shutil.copy(store / OURS, path)
    sweep(store, state)
    assert not following.exists()
    shutil.copy(store / OURS, later)
    with pytest.raises(StoreError, match=r"is of seal 4, but .* ends at seal 2; restore the manifest"):
        sweep(store, state)
    assert later.exists()
