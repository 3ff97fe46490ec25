"""`Tracker` against a slow, obvious twin; its memory, its file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import Tracker, Verdict, flow_hash, tracker
from anetcon.identity import verdicts as verdicts_
from anetcon.identity.reconcile import SLACK, TOLERANCE
from anetcon.identity.tuples import columns_of, new_key
from bench.realistic import events, generate
from tests.support.rows import SECOND, Row, table

T = 1_800_000_000 * SECOND
FIRST, REPEAT, END = Verdict
OPENERS = ("start", "dump", "found")


class Twin:
    """The last two connections of each tuple, in order of their last rows: [start, state]."""

    def __init__(self) -> None:
        self.known: dict[object, list[tuple[int, str]]] = {}

    def update(self, rows: list[Row]) -> list[Verdict]:
        """The verdict of each row, judged in the order of time."""
        verdicts = [FIRST] * len(rows)
        later = verdicts_.JITTER
        for number in sorted(
            range(len(rows)), key=lambda n: (rows[n].start + later * bool(rows[n].end), bool(rows[n].end))
        ):
            verdicts[number] = self._one(rows[number])
        return verdicts

    def _one(self, row: Row) -> Verdict:
        if row.line:
            return FIRST
        known = self.known.setdefault(row.identity, [])
        mine = [one for one in known if self._is_of(row, *one)]
        if not mine:
            was_open = [one for one in known if one[1] in OPENERS]
            dropped = known[0] if len(known) == 2 and (known[0] not in was_open or len(was_open) == 2) else None
            dropped = known[1] if len(known) == 2 and dropped is None else dropped
            self.known[row.identity] = [*(one for one in known if one is not dropped), (row.start, self._state(row))]
            return FIRST
        one = min(reversed(mine), key=lambda one: abs(one[0] - row.start))
        known[known.index(one)] = self._afterwards(row, *one)
        return END if row.end is not None and one[1] in OPENERS else REPEAT

    def _state(self, row: Row) -> str:
        return "alone" if row.end is not None else "found" if row.found else "dump" if row.dump else "start"

    def _is_of(self, row: Row, start: int, state: str) -> bool:
        near, exact = abs(row.start - start) <= TOLERANCE, row.start == start
        if row.end is not None:
            clocked = row.start == row.end
            if state not in OPENERS:
                return exact or (clocked and near)
            inside = row.start - SLACK <= start < row.end
            soon = near and (state == "found" or start <= row.end + verdicts_.LATE)
            restored = row.found and row.start >= start - SLACK
            return clocked or row.dump or restored or inside or soon
        before_found = state == "found" and row.start <= start + SLACK
        if row.dump:
            return exact if state not in OPENERS else near or row.found or before_found
        alone = state == "alone" and (near if row.found else abs(row.start - start) <= verdicts_.LATE)
        return exact or alone or (state == "dump" and near) or (before_found and near)

    def _afterwards(self, row: Row, start: int, state: str) -> tuple[int, str]:
        if row.end is not None:
            return (row.start, "ended") if state in OPENERS else (start, state)
        if state == "alone":
            return start, "ended"
        better = (state == "found" and not row.found) or (state == "dump" and not row.dump)
        return (row.start, self._state(row)) if better else (start, state)


ROWS = st.builds(
    lambda t, lasted, dump, number, line, family, found: Row(
        T + t, None if lasted is None or line else T + t + lasted, dump, number, line=line, family=family, found=found
    ),
    st.sampled_from([0, 50, 999, 1001, 200_000, SECOND, SECOND + 1, 3 * SECOND, 60 * SECOND]),
    st.sampled_from([None, 0, 100, 5 * SECOND]),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(["", "", "", "log", "import"]),
    st.sampled_from(["ipv4", "ipv4", "ipv6"]),
    st.booleans(),
)


@st.composite
def lives(draw: st.DrawFn) -> tuple[int, list[list[Row]]]:
    """How many connections there were, one after the other of few tuples, and their rows as they may come: an END late,
    also after the START of the next of its tuple; in any order within a batch; the START of some never."""
    moment: dict[int, int] = {}
    made = draw(st.lists(st.tuples(st.integers(0, 2), *[st.sampled_from(STEPS)] * 2), max_size=12))
    batches: list[list[Row]] = [[] for _ in range(len(made) + 3)]
    for number, (tuple_, waited, lasted) in enumerate(made):
        start = moment.get(tuple_, T) + waited
        end = moment[tuple_] = start + lasted
        event = start + draw(st.integers(-95, min(95, lasted)))
        at = number + draw(st.integers(0, 1))
        lost = draw(st.integers(0, 9)) == 0
        if not lost:
            batches[number].append(Row(event, None, False, tuple_))
        batches[number if lost else at].append(Row(start, end, False, tuple_))
    return len(made), [draw(st.permutations(batch)) for batch in batches]


STEPS = (120, 200, 500, 2_000, 300_000, 999_000, 2 * SECOND, 60 * SECOND)


@given(lives())
def test_each_connection_is_the_first_once(made: tuple[int, list[list[Row]]]) -> None:
    """However near to one another the connections of a tuple are, and in whatever order their rows come in a batch."""
    count, batches = made
    known = Tracker()
    said = [verdict for rows in batches for verdict in known.update(table(rows)).tolist()]
    assert said.count(FIRST) == count


def test_the_end_of_one_behind_the_start_of_the_next() -> None:
    """In one batch, whichever comes first, or in the next: a line for each, at its start, and an end for each."""
    old, new = (Row(T), Row(T + 3, T + 500_000)), (Row(T + 500_060), Row(T + 500_050, T + 2 * SECOND))
    for rows in ([old[0], new[0], old[1]], [old[0], old[1], new[0]], [new[0], old[1], old[0]]):
        known = Tracker()
        said = dict(zip(rows, known.update(table(rows)).tolist(), strict=True))
        assert said == {old[0]: FIRST, old[1]: END, new[0]: FIRST}
        assert known.update(table([new[1]])).tolist() == [END]
    known = Tracker()
    assert [known.update(table([row])).tolist() for row in (old[0], new[0], old[1], new[1])] == [[0], [0], [2], [2]]


def test_what_was_open_before_capture_is_found_again() -> None:
    """A connection that the kernel knows no start of has another time at each listing: it has one line."""
    known = Tracker()
    first, again = Row(T, dump=True, found=True), Row(T + 3600 * SECOND, dump=True, found=True)
    assert known.update(table([first])).tolist() == [FIRST]
    assert known.update(table([again])).tolist() == [REPEAT]
    assert known.update(table([Row(T + 7200 * SECOND, T + 7200 * SECOND, found=True)])).tolist() == [END]


def test_an_end_has_the_time_of_the_last_listing() -> None:
    """Of a connection that two listings found: its end is that of the line written at the first."""
    known = Tracker()
    rows = [Row(T, dump=True, found=True), Row(T + 60 * SECOND, dump=True, found=True)]
    assert [known.update(table([row])).tolist() for row in rows] == [[FIRST], [REPEAT]]
    assert known.update(table([Row(T + 60 * SECOND, T + 90 * SECOND, found=True)])).tolist() == [END]


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
