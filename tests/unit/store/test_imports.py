"""Rows of an import come into a store as a whole or not at all, whatever happens meanwhile and whoever seals."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from anetcon.errors import StoreError
from anetcon.gaps import Cause, Gap
from anetcon.identity.tuples import one_piece
from anetcon.record import arrow_schema
from anetcon.store import layout, lock, manifest, parquet
from anetcon.store.imports import add
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.store.writer import FileWriter
from tests.support.crashing import CrashError, crash_at
from tests.support.records import DAY, SECOND, T0, Making, batch, end, logged, start, whole

FREE = Limits(free=0)
GAP = Gap(None, T0 - 9 * DAY, T0 - 3 * DAY, Cause.IMPORTED_LINES, node="gw1")


def put(store: Path, *rows: dict[str, Any], gone: dict[str, Any] | None = None) -> set[str]:
    """Add these rows and the stretch they are of, without some that are there."""
    table = one_piece([batch("connections", list(rows))], arrow_schema("connections"))
    return add(store, table, [GAP], FREE, lambda: T0, gone or {})


def line(port: int, days: int = 5) -> dict[str, Any]:
    """An old line."""
    return logged(src_port=port, start=T0 - days * DAY, origin="import")


def ports(store: Path | Store) -> list[int]:
    """Of every connection."""
    store = Store(store) if isinstance(store, Path) else store
    return sorted(store.connections().read_all()["src_port"].to_pylist())


def places(store: Path, files: set[str], *ports: int) -> dict[str, Any]:
    """Where connections from these ports are: rows by file."""
    found = {file: np.isin(parquet.read(store, file)["src_port"].to_numpy(), ports).nonzero()[0] for file in files}
    return {file: rows for file, rows in found.items() if len(rows)}


def on_disk(store: Path) -> set[str]:
    """Every file of connections and intervals."""
    return {str(path.relative_to(store)) for path in store.rglob("*.parquet*")}


def counted(store: Path) -> set[str]:
    """Those that the manifest counts."""
    state = manifest.replay(store)
    return {entry.file for entry in (*state.connections, *state.snapshots.values())}


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A daemon's store: a connection sealed, one open, one in the journal."""
    made = Making(tmp_path)
    made.add(*whole(5), start(src_port=11)).rotate()
    assert Sealer(tmp_path, lambda: T0 + 60 * SECOND).seal()
    made.add(start(src_port=12))
    return made


def test_what_is_open_stays_open(making: Making) -> None:
    """Beside a seal's files an import's count too, and what was open or is not sealed is still there, each once."""
    assert put(making.path, line(1), line(2, 6)) == {
        f"node=gw1/date=2026-11-{day}/00000002.parquet" for day in (14, 15)
    }
    assert ports(making.path) == [1, 2, 11, 12, 40000]
    assert on_disk(making.path) == counted(making.path)


def test_rows_that_others_take_the_place_of(making: Making) -> None:
    """They are gone from the disk; what was beside them is kept, in a file of its own, and may go later; a file that
    retention removed meanwhile is no matter; a sealer goes on."""
    sealer = Sealer(making.path, lambda: T0 + 120 * SECOND)
    assert not sealer.pending()
    files = put(making.path, line(1), line(2), line(3)) | put(making.path, line(4), line(5))
    gone = places(making.path, files, 1, 4, 5)
    brought = put(making.path, line(1), gone={**gone, "node=gw1/date=2020-01-01/00000001.parquet": np.array([0])})
    assert ports(making.path) == [1, 2, 3, 11, 12, 40000]
    kept = layout.kept_file(min(gone), 4)
    assert (kept in counted(making.path), kept in brought) == (True, False)
    assert on_disk(making.path) == counted(making.path)
    put(making.path, line(6), gone=places(making.path, {kept}, 3))
    making.add(*whole(1, src_port=8)).rotate()
    assert sealer.seal()
    assert ports(making.path) == [1, 2, 6, 8, 11, 12, 40000]
    assert on_disk(making.path) == counted(making.path)


def test_a_sealer_that_goes_on(making: Making) -> None:
    """One that knew the store before seals what comes, and ends that come again are still the same connection's."""
    sealer = Sealer(making.path, lambda: T0 + 120 * SECOND)
    assert not sealer.pending()
    put(making.path, line(1))
    making.add(end(20, src_port=11), end(5)).rotate()
    assert sealer.seal()
    assert ports(making.path) == [1, 11, 12, 40000]
    put(making.path, line(2))
    assert ports(making.path) == [1, 2, 11, 12, 40000]
    making.add(end(20, src_port=11)).rotate()
    assert Sealer(making.path, lambda: T0 + 180 * SECOND).seal()
    assert ports(making.path) == [1, 2, 11, 12, 40000]
    assert on_disk(making.path) == counted(making.path)


def test_a_sealer_waits_its_turn(making: Making) -> None:
    """While somebody else writes, it does nothing, and does it the next time."""
    making.rotate()
    sealer = Sealer(making.path, lambda: T0 + 120 * SECOND)
    with lock.turn(making.path, wait=True):
        assert not sealer.pending()
        assert not sealer.seal()
        assert sealer.retain() is None
        sealer.drop()
    assert sealer.seal()


@pytest.mark.parametrize("torn", [False, True])
def test_killed_anywhere(making: Making, torn: bool) -> None:
    """At each step that changes the disk: the store is as before or has all of it, what takes the place of other rows
    or neither of them; whoever is next cleans up, an import or a seal (by turns: each after each step)."""
    brought, last = put(making.path, line(99), line(100)), 100
    view, number, done = Store(making.path), 0, False
    left = ports(view)
    while not done:
        number += 1
        seal, gone = manifest.replay(making.path).seal, places(making.path, brought, last)
        with crash_at(number, torn) as steps:
            try:
                put(making.path, line(100 + number), line(300 + number), gone=gone)
                done = steps() < number
            except (CrashError, StoreError):
                pass
        if manifest.replay(making.path).seal > seal:
            left = [*(port for port in left if port != last), 100 + number, 300 + number]
            brought, last = {layout.connections_file("gw1", "2026-11-15", seal + 1, False)}, 100 + number
        assert ports(view) == sorted(left)
        if number % 2 == torn:
            put(making.path, line(200 + number))
        else:
            making.add(*whole(1, src_port=200 + number)).rotate()
            assert Sealer(making.path, lambda: T0 + 60 * SECOND).seal()
        left.append(200 + number)
        assert ports(view) == sorted(left)
        assert on_disk(making.path) == counted(making.path)
    assert number > 10


def test_files_of_a_seal_stay(making: Making) -> None:
    """Whatever is said of their rows, they go by retention alone."""
    (sealed,) = manifest.replay(making.path).of("connections")
    put(making.path, line(1), gone={sealed.file: np.array([0])})
    assert ports(making.path) == [1, 11, 12, 40000]
    assert on_disk(making.path) == counted(making.path)


def test_after_a_sealer_that_died(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote and did not commit is gone: who reads all files that there are would have it twice."""
    making.rotate()
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "commit", Mock(side_effect=CrashError("died here")))
        with pytest.raises(CrashError):
            Sealer(making.path, lambda: T0 + 120 * SECOND).seal()
    assert on_disk(making.path) - counted(making.path)
    put(making.path, line(1))
    assert on_disk(making.path) == counted(making.path)
    assert Sealer(making.path, lambda: T0 + 120 * SECOND).seal()
    assert ports(making.path) == [1, 11, 12, 40000]
    assert on_disk(making.path) == counted(making.path)


def test_a_sealer_that_goes_on_behind_an_import_that_died(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """It removes what that left before it takes the same names, though the manifest is as it knew it."""
    sealer = Sealer(making.path, lambda: T0 + 120 * SECOND)
    assert not sealer.pending()
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "commit", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            put(making.path, line(1))
    assert on_disk(making.path) - counted(making.path)
    making.rotate()
    assert sealer.seal()
    assert on_disk(making.path) == counted(making.path)
    assert ports(making.path) == [11, 12, 40000]


def test_a_manifest_that_lost_its_end(making: Making) -> None:
    """Nothing is written over what it counted: with the manifest as it was all is there again."""
    before = layout.manifest_path(making.path).read_bytes()
    for port in (8, 9):  # what was written last stays in the journal
        making.add(*whole(1, src_port=port)).rotate()
        assert Sealer(making.path, lambda: T0 + 120 * SECOND).seal()
    whole_one = layout.manifest_path(making.path).read_bytes()
    layout.manifest_path(making.path).write_bytes(before)
    files = {path: path.read_bytes() for path in making.path.rglob("*.parquet")}
    with pytest.raises(StoreError, match="restore the manifest"):
        put(making.path, line(1, 0))
    assert {path: path.read_bytes() for path in making.path.rglob("*.parquet")} == files
    layout.manifest_path(making.path).write_bytes(whole_one)
    put(making.path, line(1, 0))
    assert ports(making.path) == [1, 8, 9, 11, 12, 40000]


def test_no_room(making: Making) -> None:
    """A disk that has no more than the daemon needs is left alone."""
    before = on_disk(making.path)
    table = one_piece([batch("connections", [line(1)])], arrow_schema("connections"))
    with pytest.raises(StoreError, match="make room"):
        add(making.path, table, [], Limits(free=1 << 60))
    assert on_disk(making.path) == before


def test_too_little_memory(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is stored then, and the error says what to do."""
    put(making.path, line(1))
    before = on_disk(making.path)
    with monkeypatch.context() as patch:
        patch.setattr(FileWriter, "month", Mock(side_effect=MemoryError))
        with pytest.raises(StoreError, match="make more memory free and run the import again"):
            put(making.path, line(2))
    assert on_disk(making.path) == before
    put(making.path, line(2))
    assert ports(making.path) == [1, 2, 11, 12, 40000]
