"""What is new in the journal, told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.store.live import Live
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.store.sql import number_in
from tests.support.records import SECOND, T0, Making, end, logged, logged_float, start, whole


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store with an open connection that is sealed, and one that is not; port 3 has ended."""
    making = Making(tmp_path / "store").add(start(src_port=1)).rotate()
    Sealer(making.path, clock=lambda: T0 + SECOND).seal()
    return making.add(start(src_port=2), *whole(src_port=3))


def polled(live: Live) -> list[tuple[int, bool]]:
    """Source port, and whether it had ended, of each row."""
    rows = [row for table in live.poll() for row in table.to_pylist()]
    return [(row["src_port"], row["end"] is not None) for row in rows]


def test_each_connection_once(making: Making) -> None:
    """A connection is told when it is first known, by its start or else by its end; what was there before is not."""
    live = Live(Store(making.path))
    assert polled(live) == []
    making.add(*whole(src_port=4), end(20, src_port=1), end(20, src_port=2), end(src_port=3), end(20, src_port=5))
    making.add(start(src_port=6))
    assert polled(live) == [(4, False), (5, True), (6, False)]
    assert polled(live) == []


def test_ends(making: Making) -> None:
    """Asked for, ends are told too, each once."""
    live = Live(Store(making.path), ends=True)
    making.add(end(20, src_port=1), end(20, src_port=1), *whole(src_port=4)).rotate().add(end(10, src_port=4))
    assert polled(live) == [(1, True), (4, False), (4, True)]


def test_lines_of_text(making: Making) -> None:
    """Each is a connection: told once, at once, as often as it comes."""
    live = Live(Store(making.path), ends=True)
    making.add(logged(src_port=1), logged(src_port=1), logged_float(src_port=2)).rotate().add(logged(src_port=1))
    assert polled(live) == [(1, False), (1, False), (2, False), (1, False)]


def test_a_condition(making: Making) -> None:
    """Only rows for which the condition holds are told."""
    live = Live(Store(making.path), number_in("src_port", 5, 6))
    making.add(*[start(src_port=port) for port in range(4, 8)])
    assert polled(live) == [(5, False), (6, False)]
