"""The files of a commit, and what is said of each."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anetcon.gaps import Cause, Gap
from anetcon.identity.tuples import one_piece
from anetcon.record import arrow_schema
from anetcon.store import manifest, parquet
from anetcon.store.draft import Draft
from anetcon.store.entry import Entry, Why, microseconds
from anetcon.store.state import State
from anetcon.store.writer import FileWriter, rows_of_gaps
from tests.support.records import DAY, SECOND, T0, batch, packed, start, whole


def table(*rows: dict[str, object]) -> pa.Table:
    """Connections."""
    return one_piece([batch("connections", list(rows))], arrow_schema("connections"))


def require_true(store: Path, entries: list[Entry]) -> None:
    """Each entry is what is on disk."""
    for entry in entries:
        data = (store / entry.file).read_bytes()
        assert (entry.sha256, entry.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert pq.read_metadata(store / entry.file).num_rows == entry.rows


def test_each_day_and_length_has_a_file(tmp_path: Path) -> None:
    """By the day of the end, those over an hour apart; every row once, with the bounds that are said; open ones beside
    them have no end."""
    rows = [
        *whole(5, src_port=1),
        *whole(7200, src_port=2),
        *whole(5, src_port=3, start=T0 - DAY),
        *whole(5, src_port=4, node="gw2"),
    ]
    draft = Draft.of(table(*(row for row in rows if row["end"] is not None)))
    writer = FileWriter(tmp_path, State(), T0)
    entries = writer.closed(draft, draft.every())
    assert sorted(entry.file for entry in entries) == [
        "node=gw1/date=2026-11-19/00000001.parquet",
        "node=gw1/date=2026-11-20/00000001.parquet",
        "node=gw1/date=2026-11-20/long-00000001.parquet",
        "node=gw2/date=2026-11-20/00000001.parquet",
    ]
    assert sum(entry.rows for entry in entries) == 4
    opened = Draft.of(table(start(src_port=5)))
    entries.append(writer.opened(opened, opened.every()))
    assert (entries[-1].file, entries[-1].end) == ("open/00000001.parquet", None)
    require_true(tmp_path, entries)
    writer.sync(entries)
    for entry in entries[:-1]:
        found = parquet.read_whole(tmp_path, entry)
        assert microseconds(entry.start or "") == min(found["start"].cast(pa.int64()).to_pylist())
        assert microseconds(entry.end or "") == max(found["end"].cast(pa.int64()).to_pylist())


def test_nothing_makes_no_file(tmp_path: Path) -> None:
    """Neither of connections nor of other tables."""
    writer = FileWriter(tmp_path, State(), T0)
    draft = Draft.of(table())
    assert writer.closed(draft, draft.every()) == []
    assert writer.month("gaps", rows_of_gaps([])) == []
    assert writer.parts("routes", [arrow_schema("routes").empty_table()], rows_of_gaps([])) == []
    assert list(tmp_path.iterdir()) == []


def gap(number: int, end: int | None) -> pa.Table:
    """A gap, as a table."""
    return rows_of_gaps([Gap(f"x{number}", T0 + number * SECOND, end, Cause.OVERRUN, 1, "gw1")])


def test_a_month_is_written_again_with_what_is_new(tmp_path: Path) -> None:
    """In the same month with all of its rows; in the next one with what lasts; the older file stays then."""
    state = State()
    for number, (days, rows) in enumerate([(0, gap(1, T0 + 2 * SECOND)), (0, gap(2, None)), (30, gap(3, T0 + 4))], 1):
        entries = FileWriter(tmp_path, state, T0 + days * DAY).month("gaps", rows)
        require_true(tmp_path, entries)
        assert (len(entries), entries[0].rows, entries[0].latest) == (1, 2 if number > 1 else 1, None)
        manifest.commit(tmp_path, state, Why.SEAL, T0, entries, state.in_place_of(entries))
    assert [entry.file for entry in state.of("gaps")] == [
        "gaps/2026-11.00000002.parquet",
        "gaps/2026-12.00000003.parquet",
    ]


@pytest.mark.parametrize("most", [2, 100])
def test_a_part_that_is_full_gets_no_more(tmp_path: Path, most: int) -> None:
    """Then the next one begins; each says the latest time in it, if nothing lasts."""
    base = {"node": "gw1", "netns": "x", "netns_inode": 1, "interface": "eth0", "mac": packed("10.0.0.0")[-6:]}
    state, rows = State(), 0
    for number in range(4):
        times = {"from": T0 + number, "to": T0 + number + 1}
        new = one_piece(
            [batch("neighbours", [base | times | {"address": f"10.0.0.{number}"}])], arrow_schema("neighbours")
        )
        entries = FileWriter(tmp_path, state, T0, most).parts("neighbours", [new], rows_of_gaps([]))
        require_true(tmp_path, entries)
        manifest.commit(tmp_path, state, Why.SEAL, T0, entries, state.in_place_of(entries))
    there = state.of("neighbours")
    rows = sum(entry.rows for entry in there)
    assert (len(there), rows) == (2 if most == 2 else 1, 4)
    assert microseconds(there[-1].latest or "") == T0 + 4
