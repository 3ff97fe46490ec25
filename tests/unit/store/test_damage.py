"""A journal that ends too early is a gap in every answer, before and after it is sealed, unless a crash explains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from anetcon.journal.read import Lost
from anetcon.journal.write import segment_path
from anetcon.record import arrow_schema
from anetcon.store import layout
from anetcon.store.coverage import Question, coverage
from anetcon.store.damage import unexplained
from anetcon.store.seal import Sealer
from anetcon.store.view import Store
from tests.unit.store.records import SECOND, T0, Making, start

DOWN = {"node": "gw1", "netns": None, "from": T0 + 9 * SECOND, "to": T0 + 12 * SECOND, "cause": "daemon-down"}


def gaps(store: Path) -> list[tuple[float, float]]:
    """The bounds, in seconds from the beginning, of the gaps that an answer calls damage."""
    until = T0 + 20 * SECOND
    found = coverage(Store(store), Question(T0, until), until).gaps.to_pylist()
    damaged = [gap for gap in found if gap["cause"] == "journal-damaged"]
    return [tuple(round(gap[name].timestamp() - T0 / SECOND, 3) for name in ("from", "to")) for gap in damaged]


def interrupted(path: Path, closed: bool, *told: dict[str, Any]) -> Path:
    """A segment until 9 s, and one from 12 s on."""
    making = Making(path)
    making.clock = T0
    making.add(start()).alive(T0 + 9 * SECOND).close()
    if not closed:
        index = segment_path(layout.journal_folder(path, "connections"), 1, "index")
        index.write_bytes(index.read_bytes().removesuffix(b"closed\n"))
    again = Making(path)
    again.clock = T0 + 12 * SECOND
    if told:
        again.add(*told, table="gaps")
    return again.alive(T0 + 20 * SECOND).close()


@pytest.mark.parametrize(
    ("closed", "told", "expected"),
    [
        (True, [], []),
        (False, [], [(9, 12)]),
        (False, [DOWN | {"lost": None}], []),
        (False, [DOWN | {"lost": None, "netns": "qrouter-1"}], [(9, 12)]),
        (False, [DOWN | {"lost": None, "to": T0 + 11 * SECOND}], [(9, 12)]),
    ],
)
def test_a_segment_that_was_not_closed(
    tmp_path: Path, closed: bool, told: list[dict[str, Any]], expected: list[tuple[float, float]]
) -> None:
    """It is damaged unless a gap of everything covers what is missing; a seal changes nothing of that."""
    path = interrupted(tmp_path / "store", closed, *told)
    assert gaps(path) == expected
    assert Sealer(path).seal()
    assert gaps(path) == expected


def test_a_segment_whose_data_is_gone(tmp_path: Path) -> None:
    """Its index alone is damage; it is sealed like any other."""
    path = interrupted(tmp_path / "store", True)
    segment_path(layout.journal_folder(path, "connections"), 1).unlink()
    assert len(gaps(path)) == 1
    assert Sealer(path).seal()
    assert len(gaps(path)) == 1


def test_bounds_that_are_not_known() -> None:
    """A gap without bounds covers everything, what has no beginning only a gap that has none."""
    lost = Lost(None, T0, None)
    endless = DOWN | {"from": None, "to": None, "lost": None}
    for row, left in ((endless, []), (DOWN | {"lost": None}, [lost])):
        assert unexplained([lost], pa.Table.from_pylist([row], arrow_schema("gaps"))) == left
