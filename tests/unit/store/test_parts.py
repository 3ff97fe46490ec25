"""Rows as parts of a day: nothing is lost, each part has what lasted when it began, and none grows for ever."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import merge_intervals
from anetcon.record import arrow_schema
from anetcon.store import parts
from tests.support.records import SECOND, T0, batch

NONE = arrow_schema("neighbours").empty_table()
GAPS = arrow_schema("gaps").empty_table()
DAEMON_DOWN = {"node": "gw1", "netns": None, "to": None, "cause": "daemon-down", "lost": None}


def table(*rows: tuple[int, int, int | None]) -> pa.Table:
    """Neighbours: the number of each, and the seconds from when to when it was one."""
    base = {"node": "gw1", "netns": "x", "netns_inode": 1, "interface": "e", "mac": bytes(6)}
    made: list[dict[str, Any]] = [
        {**base, "address": f"10.0.0.{number}", "from": T0 + start * SECOND, "to": end and T0 + end * SECOND}
        for number, start, end in rows
    ]
    return pa.Table.from_batches([batch("neighbours", made)])


def seen(rows: pa.Table) -> set[tuple[int, int, int | None]]:
    """The same, read back."""
    return {
        (row["address"][-1], *(row[name] and int(row[name].timestamp()) - T0 // SECOND for name in ("from", "to")))
        for row in rows.to_pylist()
    }


def test_a_part_that_is_full_gets_no_more() -> None:
    """The next one begins with what lasts, and only when something comes."""
    pieces = [table((1, 0, None), (2, 0, 1), (3, 0, 1)), table((1, 0, 5)), NONE]
    first, second = parts.divided(NONE, pieces, GAPS, 2)
    assert seen(first) == {(1, 0, None), (2, 0, 1), (3, 0, 1)}
    assert seen(second) == {(1, 0, 5)}
    assert list(parts.divided(first, [NONE], GAPS, 2)) == []
    assert [seen(part) for part in parts.divided(NONE, pieces[:1], GAPS, 2)] == [seen(first)]


def test_what_was_cut_short_is_not_carried_on() -> None:
    """What lasted when recording stopped has ended in the part that tells of it."""
    stopped = pa.Table.from_batches([batch("gaps", [DAEMON_DOWN | {"from": T0 + 3 * SECOND}])])
    (part,) = parts.divided(table((1, 0, None)), [table((2, 4, None))], stopped)
    assert seen(part) == {(1, 0, 3), (2, 4, None)}
    assert seen(parts.lasting(part)) == {(2, 4, None)}


EVENTS = st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30)


@given(EVENTS, st.integers(1, 5), st.integers(1, 4))
def test_however_it_is_divided_it_is_the_same(events: list[tuple[int, bool]], size: int, most: int) -> None:
    """All parts together are all rows; each begins with what lasted, the last has all that lasts, and no part but the
    last has room."""
    since: dict[int, int] = {}
    rows: list[tuple[int, int, int | None]] = []
    for at, (number, changed) in enumerate(events):
        if number in since:
            rows.append((number, since.pop(number), at + 1))
        if changed:
            since[number] = at
            rows.append((number, at, None))
    pieces = [table(*rows[at : at + size]) for at in range(0, len(rows), size)]
    found = list(parts.divided(NONE, pieces, GAPS, most))
    whole = merge_intervals(pa.concat_tables([NONE, *pieces]))
    assert seen(merge_intervals(pa.concat_tables([NONE, *found]))) == seen(whole)
    assert all(parts.is_full(part, most) for part in found[:-1])
    assert all(len(part) - len(parts.lasting(part)) < most + size for part in found)
    for before, after in pairwise(found):
        assert {row[:2] for row in seen(parts.lasting(before))} <= {row[:2] for row in seen(after)}
    if found:
        assert seen(parts.lasting(found[-1])) == seen(parts.lasting(whole))
