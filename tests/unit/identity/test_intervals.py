"""Intervals are merged, and cut where their recording stopped."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import cut_intervals, merge_intervals
from anetcon.record import arrow_schema

SECOND = 1_000_000
T = 1_800_000_000 * SECOND
ADDRESS = {"node": "n", "netns": "qrouter-a", "netns_inode": 7, "interface": "qg-1", "address": bytes(16)}
GAP = {"node": "n", "netns": None, "to": None, "cause": "daemon-down", "lost": None}


def table(name: str, *rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(name))


def ends(intervals: pa.Table, gaps: pa.Table) -> list[int | None]:
    """When each interval ends once it is cut, in microseconds after T."""
    found = cut_intervals(intervals, gaps)
    assert found.schema == intervals.schema
    return [None if end is None else end - T for end in found["to"].cast(pa.int64()).to_pylist()]


def test_an_interval_is_one_row_with_its_end() -> None:
    """Rows equal in all but `to` are one interval; it ended if any of them says so."""
    row = {**GAP, "from": T, "cause": "overrun"}
    merged = merge_intervals(table("gaps", row, {**row, "to": T + 5}, {**row, "from": None}, {**GAP, "from": T}))
    assert merged.schema == arrow_schema("gaps")
    assert [(r["from"] is None, r["to"] is None, r["cause"]) for r in merged.to_pylist()] == [
        (False, False, "overrun"),
        (True, True, "overrun"),
        (False, True, "daemon-down"),
    ]


def test_a_gap_whose_count_is_known_at_its_end() -> None:
    """It is one row; others with a count of their own stay, and so does one that is still open."""
    row = {**GAP, "from": T, "cause": "untracked"}
    one, other = {**row, "to": T + 5, "lost": 7}, {**row, "to": T + 5, "lost": 8}
    assert merge_intervals(table("gaps", row, one)).to_pylist() == table("gaps", one).to_pylist()
    assert merge_intervals(table("gaps", one, other)).to_pylist() == table("gaps", one, other).to_pylist()
    later = {**row, "from": T + 6}
    assert merge_intervals(table("gaps", row, later, one)).to_pylist() == table("gaps", later, one).to_pylist()


def test_what_lasted_when_recording_stopped_ended_there() -> None:
    """An interval without an end goes on to the first stop of its own node behind its beginning, and no further."""
    addresses = table(
        "addresses",
        {**ADDRESS, "from": T, "to": None},
        {**ADDRESS, "from": T, "to": T + 3},
        {**ADDRESS, "from": T + 15, "to": None},
        {**ADDRESS, "from": T + 25, "to": None},
        {**ADDRESS, "node": "other", "from": T, "to": None},
    )
    gaps = table(
        "gaps",
        {**GAP, "from": T + 20, "cause": "capture-down"},
        {**GAP, "from": T + 10},
        {**GAP, "from": T + 1, "cause": "overrun"},
        {**GAP, "from": None},
    )
    assert ends(addresses, gaps) == [10, 3, 20, None, None]


def test_nothing_is_cut_without_a_stop() -> None:
    """Other gaps, or none, change nothing."""
    addresses = table("addresses", {**ADDRESS, "from": T, "to": None})
    for gaps in (table("gaps"), table("gaps", {**GAP, "from": T + 1, "cause": "table-full"})):
        assert cut_intervals(addresses, gaps).equals(addresses)


@given(st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(50, 60))), st.lists(st.integers(0, 60)))
def test_cut_as_one_by_one(spans: list[tuple[int, int | None]], stops: list[int]) -> None:
    """As if each interval were looked at by itself; and cutting twice is cutting once."""
    made = table("neighbours", *({**ADDRESS, "mac": bytes(6), "from": T + a, "to": b and T + b} for a, b in spans))
    gaps = table("gaps", *({**GAP, "from": T + at} for at in stops))
    wanted = [
        end if end is not None else min((at for at in stops if at >= start), default=None) for start, end in spans
    ]
    assert ends(made, gaps) == wanted
    assert ends(cut_intervals(made, gaps), gaps) == wanted
