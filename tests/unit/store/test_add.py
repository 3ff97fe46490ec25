"""Rows of an import come into a store as a whole or not at all, whatever happens meanwhile and whoever seals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anetcon.errors import StoreError
from anetcon.identity.tuples import one_piece
from anetcon.record import arrow_schema
from anetcon.store import lock, manifest
from anetcon.store.add import add
from anetcon.store.limits import Limits
from anetcon.store.seal import Sealer
from anetcon.store.view import Store
from tests.unit.crashing import CrashError, crash_at
from tests.unit.store.records import DAY, SECOND, T0, Making, batch, end, logged, start, whole

FREE = Limits(free=0)
GAP = {"node": "gw1", "netns": None, "from": T0 - 9 * DAY, "to": T0 - 3 * DAY, "cause": "imported-lines", "lost": None}


def put(store: Path, *rows: dict[str, Any]) -> int:
    """Add these rows and the stretch they are of."""
    table = one_piece([batch("connections", list(rows))], arrow_schema("connections"))
    return add(store, table, [GAP], FREE, lambda: T0)


def line(port: int, days: int = 5) -> dict[str, Any]:
    """An old line."""
    return logged(src_port=port, start=T0 - days * DAY, origin="import")


def of(store: Store) -> list[int]:
    """The ports of every connection."""
    return sorted(store.connections().read_all()["src_port"].to_pylist())


def ports(store: Path) -> list[int]:
    """The same of a folder."""
    return of(Store(store))


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
    assert put(making.path, line(1), line(2, 6)) == 2
    assert ports(making.path) == [1, 2, 11, 12, 40000]
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
@pytest.mark.parametrize("again", ["import", "seal"])
def test_killed_anywhere(making: Making, torn: bool, again: str) -> None:
    """At each step that changes the disk: the store is as before or has all of it; whoever is next cleans up."""
    number = 0
    done = False
    store = Store(making.path)
    after = of(store)
    while not done:
        number += 1
        before, seal = after, manifest.replay(making.path).seal
        with crash_at(number, torn) as steps:
            try:
                put(making.path, line(100 + number))
                done = steps() < number
            except (CrashError, StoreError):
                pass
        came = manifest.replay(making.path).seal > seal
        whole_one = sorted([*before, *([100 + number] if came else [])])
        assert of(store) == whole_one
        if again == "import":
            put(making.path, line(200 + number))
        else:
            making.add(*whole(1, src_port=200 + number)).rotate()
            assert Sealer(making.path, lambda: T0 + 60 * SECOND).seal()
        after = of(store)
        assert after == sorted([*whole_one, 200 + number])
        assert on_disk(making.path) == counted(making.path)
    assert number > 10


def test_no_room(making: Making) -> None:
    """A disk that has no more than the daemon needs is left alone."""
    before = on_disk(making.path)
    table = one_piece([batch("connections", [line(1)])], arrow_schema("connections"))
    with pytest.raises(StoreError, match="make room"):
        add(making.path, table, [], Limits(free=1 << 60))
    assert on_disk(making.path) == before
