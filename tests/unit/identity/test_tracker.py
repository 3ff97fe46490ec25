"""`Tracker` against a slow, obvious twin; its memory, its file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import Tracker, Verdict, flow_hash, tracker
from anetcon.identity.odd import SLACK, TOLERANCE
from anetcon.identity.tuples import columns_of, new_key
from bench.realistic import events, generate
from tests.unit.identity.rows import SECOND, Row, table

T = 1_800_000_000 * SECOND
FIRST, REPEAT, END = Verdict


class Twin:
    """Each row compared with the one before it of the same tuple."""

    def __init__(self) -> None:
        self.last: dict[object, Row] = {}

    def update(self, rows: list[Row]) -> list[Verdict]:
        """The verdict of each row."""
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> Verdict:
        if row.line:
            return FIRST
        before, self.last[row.identity] = self.last.get(row.identity), row
        if before is None:
            return FIRST
        near = abs(before.start - row.start) <= TOLERANCE
        if row.end is None:
            again = near if before.end is None else row.dump and row.start == before.start
            return REPEAT if again else FIRST
        clocked = row.start == row.end
        if before.end is None:
            inside = row.start - SLACK <= before.start < row.end
            return END if near or clocked or row.dump or inside else FIRST
        return REPEAT if row.start == before.start or (clocked and near) else FIRST


ROWS = st.builds(
    lambda t, lasted, dump, number, line, family: Row(
        T + t, None if lasted is None or line else T + t + lasted, dump, number, line=line, family=family
    ),
    st.sampled_from([0, 50, 999, 1001, 200_000, SECOND, SECOND + 1, 3 * SECOND, 60 * SECOND]),
    st.sampled_from([None, 0, 100, 5 * SECOND]),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(["", "", "", "log", "import"]),
    st.sampled_from(["ipv4", "ipv4", "ipv6"]),
)


@given(st.lists(st.lists(ROWS, max_size=8), max_size=4))
def test_the_tracker_is_the_twin(batches: list[list[Row]]) -> None:
    """However the stream is cut into batches, the columns say what the loop says."""
    known, twin = Tracker(), Twin()
    for rows in batches:
        assert known.update(table(rows, 2)).tolist() == twin.update(rows)


@given(st.lists(ROWS, max_size=8), st.lists(ROWS, max_size=8))
def test_what_is_saved_is_known_again(tmp_path_factory: pytest.TempPathFactory, one: list[Row], two: list[Row]) -> None:
    """A tracker loaded from its file goes on as if nothing had happened."""
    path = tmp_path_factory.getbasetemp() / "tracker"
    known, twin = Tracker(), Twin()
    assert known.update(table(one)).tolist() == twin.update(one)
    known.save(path, 3, 14)
    loaded = Tracker.load(path)
    assert loaded is not None
    assert loaded[1:] == (3, 14)
    assert loaded[0].update(table(two)).tolist() == twin.update(two)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_file_is_none(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    """A file cut short, or with a byte changed, or missing, is as none."""
    path = tmp_path_factory.getbasetemp() / "damaged"
    Tracker().save(path, 1, 1)
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at])
    assert Tracker.load(path) is None
    path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
    assert (Tracker.load(path) is None) == (value != whole[at])
    assert Tracker.load(path.with_name("missing")) is None


def test_a_line_of_text_is_always_the_first() -> None:
    """However often the same comes again, and without a trace in what is known of its tuple."""
    known = Tracker()
    assert known.update(table([Row(T, line="log")] * 3)).tolist() == [FIRST] * 3
    assert known.update(table([Row(T), Row(T, line="log"), Row(T, T + SECOND)])).tolist() == [FIRST, FIRST, END]


def test_a_large_stream_has_each_connection_first_and_ended_once() -> None:
    """Thousands of connections through a table that has to grow: every one is judged right."""
    made = generate(np.random.default_rng(5), 30_000)
    _, once = np.unique(flow_hash(columns_of(made), new_key()), return_index=True)
    stream = events(made.take(pa.array(once)))
    known = Tracker()
    verdicts = np.concatenate([known.update(batch) for batch in stream.to_batches(max_chunksize=7_000)])
    assert np.count_nonzero(verdicts == FIRST) == len(once)
    assert np.count_nonzero(verdicts == END) == len(once)


def test_what_is_open_is_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its limit the tracker forgets connections that ended, those of long ago first, and no other."""
    monkeypatch.setattr(tracker, "ENOUGH", 1 << 13)
    known = Tracker()
    opened = [Row(T, None, False, n % 250, node=f"open{n // 250}") for n in range(1000)]
    known.update(table(opened))
    for n in range(12):
        ended = [Row(T, T + SECOND, False, m % 250, node=f"ended{n}-{m // 250}") for m in range(1000)]
        assert set(known.update(table(ended)).tolist()) == {FIRST}
    assert set(known.update(table(ended)).tolist()) == {REPEAT}
    assert set(known.update(table([row._replace(end=T + SECOND) for row in opened])).tolist()) == {END}
    assert known.slots <= 1 << 15


def test_two_hashes_that_differ_in_their_last_bits_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sort drops bits to make room for row numbers; rows that are equal but for those do not mix."""
    monkeypatch.setattr(tracker, "flow_hash", lambda columns, _: columns["src_ip"][:, 15].astype(np.uint64) + 8)
    rows = [Row(T, None, False, 1), Row(T, None, False, 2), Row(T, None, False, 1), Row(T, None, False, 0)]
    assert Tracker().update(table(rows)).tolist() == [FIRST, FIRST, REPEAT, FIRST]
