"""`merge` against a slow, obvious twin, and rule by rule."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import connections, merge
from anetcon.identity.reconcile import SLACK, TOLERANCE
from anetcon.identity.tuples import columns_of
from anetcon.record import arrow_schema
from bench.realistic import events, generate
from tests.support.rows import SECOND, Row, table

T = 1_800_000_000 * SECOND


class Said(NamedTuple):
    """What a merge says of one connection: which row stands for it, and its start and origin."""

    row: int
    start: int
    dump: bool


def said(merged: pa.Table) -> list[Said]:
    """A merged table, told as the twin tells it."""
    starts = merged["start"].cast(pa.int64()).to_pylist()
    origins = [origin == "dump" for origin in merged["origin"].to_pylist()]
    return sorted(map(Said, merged["mark"].to_pylist(), starts, origins))


def twin(rows: list[Row]) -> tuple[list[Said], list[Said]]:
    """The rules of the package docstring, one tuple and one row at a time."""
    ended = [Said(n, row.start, False) for n, row in enumerate(rows) if row.line]
    still_open: list[Said] = []
    for key in {row.identity for row in rows}:
        numbers = [n for n, row in enumerate(rows) if row.identity == key and not row.line]
        _one_tuple(rows, numbers, ended, still_open)
    return sorted(ended), sorted(still_open)


def _one_tuple(rows: list[Row], numbers: list[int], ended: list[Said], still_open: list[Said]) -> None:
    ends: list[int] = []
    for n in sorted((n for n in numbers if rows[n].end), key=lambda n: (rows[n].start, rows[n].dump, rows[n].end, n)):
        if not ends or rows[ends[-1]].start != rows[n].start:
            ends.append(n)
    openers = sorted((n for n in numbers if not rows[n].end), key=lambda n: (rows[n].start, rows[n].dump, n))
    owner = _owners(rows, ends, openers)
    adopted = _adopt(rows, ends, openers, owner)
    copies = _clock_copies(rows, ends, openers, owner)
    for end in ends:
        mine = [n for n in openers if owner.get(n) == end]
        row = rows[end]
        clocked = row.start == row.end
        if mine and (clocked or end in adopted) and rows[mine[0]].start < row.start:
            ended.append(Said(end, rows[mine[0]].start, rows[mine[0]].dump))
        elif end not in copies:
            ended.append(Said(end, row.start, row.dump))
    clusters: list[list[int]] = []
    for n in (n for n in openers if n not in owner):
        last = clusters[-1][-1] if clusters else None
        if last is not None and _repeats(rows, ends, last, n):
            clusters[-1].append(n)
        else:
            clusters.append([n])
    for cluster in clusters:
        best = min(cluster, key=lambda n: (rows[n].dump, rows[n].start, openers.index(n)))
        still_open.append(Said(best, rows[best].start, rows[best].dump))


def _repeats(rows: list[Row], ends: list[int], last: int, n: int) -> bool:
    between = any(rows[last].start < rows[e].start <= rows[n].start for e in ends)
    soon = rows[n].start - rows[last].start <= TOLERANCE
    return not between and (soon or (rows[n].dump and rows[n].ct_id == rows[last].ct_id))


def _owners(rows: list[Row], ends: list[int], openers: list[int]) -> dict[int, int]:
    owner: dict[int, int] = {}
    wanted: dict[int, list[tuple[int, int]]] = {}
    for place, n in enumerate(openers):
        start = rows[n].start
        before = [e for e in ends if rows[e].start <= start][-1:]
        behind = [e for e in ends if rows[e].start > start][:1]
        for e in before:
            if rows[e].start == start or start < (rows[e].end or 0):
                owner[n] = e
        for e in behind:
            if rows[e].start - start <= SLACK:
                owner[n] = e
        near = min(before + behind, key=lambda e: abs(rows[e].start - start), default=None)
        if near is not None and abs(rows[near].start - start) <= TOLERANCE:
            wanted.setdefault(near, []).append((abs(rows[near].start - start), place))
    for e, places in wanted.items():
        owner[openers[min(places)[1]]] = e
    return owner


def _adopt(rows: list[Row], ends: list[int], openers: list[int], owner: dict[int, int]) -> set[int]:
    lonely = [e for e in ends if (rows[e].start == rows[e].end or rows[e].dump) and e not in owner.values()]
    adopted = set()
    for n in openers:
        for e in [e for e in ends if rows[e].start > rows[n].start][:1]:
            restored = rows[e].found and rows[e].start != rows[e].end
            if n not in owner and restored and rows[e].ct_id == rows[n].ct_id:
                owner[n] = e
                adopted.add(e)
    lonely = [e for e in lonely if e not in adopted]
    for n in openers:
        if n not in owner:
            for e in [e for e in lonely if rows[e].start > rows[n].start][:1]:
                owner[n] = e
                adopted.add(e)
    return adopted


def _clock_copies(rows: list[Row], ends: list[int], openers: list[int], owner: dict[int, int]) -> set[int]:
    copies = set()
    for one, other in pairwise(ends):
        clocked = rows[one].start == rows[one].end and rows[other].start == rows[other].end
        between = any(rows[one].start <= rows[n].start < rows[other].start for n in openers)
        soon = rows[other].start - rows[one].start <= TOLERANCE
        if clocked and soon and not between and other not in owner.values():
            copies.add(other)
    return copies


TIMES = st.sampled_from([0, 50, 100, 999, 1001, 200_000, 900_000, SECOND, SECOND + 1, 3 * SECOND, 60 * SECOND])
ROWS = st.builds(
    lambda t, ended, lasted, dump, number, ct_id, node, line, **more: Row(
        T + t, T + t + lasted if ended and not line else None, dump, number, ct_id, node, line=line, **more
    ),
    TIMES,
    st.booleans(),
    st.sampled_from([0, 100, 150_000, 5 * SECOND]),
    st.booleans(),
    st.integers(0, 1),
    st.integers(1, 2),
    st.sampled_from(["n", "m"]),
    st.sampled_from(["", "", "", "log", "import"]),
    family=st.sampled_from(["ipv4", "ipv4", "ipv6"]),
    found=st.booleans(),
)


@given(st.lists(ROWS, max_size=14), st.integers(1, 3))
def test_merge_is_the_twins(rows: list[Row], pieces: int) -> None:
    """Whatever rows come, in whatever order and pieces, the columns say what the loop says."""
    ended, still_open = merge(table(rows, pieces))
    assert (said(ended), said(still_open)) == twin(rows)
    assert ended["end"].null_count == sum(bool(row.line) for row in rows)
    assert still_open["end"].null_count == still_open.num_rows


@given(st.lists(ROWS, max_size=10))
def test_colliding_hashes_change_nothing(rows: list[Row]) -> None:
    """With a hash that is the same for every tuple, tuples are still told apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "hash_words", lambda _, rows, __: np.zeros(rows, np.uint64))
        ended, still_open = merge(table(rows))
    assert (said(ended), said(still_open)) == twin(rows)


def one(rows: list[Row]) -> tuple[list[Said], list[Said]]:
    """What is said of a few rows."""
    ended, still_open = merge(table(rows))
    return said(ended), said(still_open)


def test_a_start_and_its_end_are_one() -> None:
    """The END stands for both, with its own kernel start."""
    assert one([Row(T + 95), Row(T, T + SECOND)]) == ([Said(1, T, False)], [])


def test_189_copies_of_an_end_are_one() -> None:
    """Repeated ENDs make one row."""
    assert one([Row(T + 3)] + [Row(T, T + SECOND)] * 189) == ([Said(1, T, False)], [])


def test_a_tuple_used_again_within_a_second_is_a_second_connection() -> None:
    """Two ENDs 0.2 s apart each take their own START."""
    rows = [Row(T + 5), Row(T + 200_005), Row(T, T + 150_000), Row(T + 200_000, T + 60 * SECOND)]
    assert one(rows) == ([Said(2, T, False), Said(3, T + 200_000, False)], [])


def test_the_second_use_stays_open_while_its_end_is_missing() -> None:
    """A START after the END of the first connection is not swallowed by it, though within a second."""
    assert one([Row(T + 5), Row(T, T + 150_000), Row(T + 200_000)]) == (
        [Said(1, T, False)],
        [Said(2, T + 200_000, False)],
    )


def test_the_first_use_stays_open_while_its_end_is_missing() -> None:
    """A START before the connection that ended is not swallowed by it either."""
    assert one([Row(T), Row(T + 200_001), Row(T + 200_000, T + SECOND)]) == (
        [Said(2, T + 200_000, False)],
        [Said(0, T, False)],
    )


def test_a_repeated_start_is_dropped_while_open() -> None:
    """A START comes again, and a DUMP of it too: one open row, the first START."""
    assert one([Row(T, None, True), Row(T + 2), Row(T + 2)]) == ([], [Said(1, T + 2, False)])


def test_a_dump_without_kernel_start_meets_an_end_without() -> None:
    """Both carry our clock, minutes apart: one connection, known since the dump."""
    rows = [Row(T, None, True), Row(T + 60 * SECOND, T + 60 * SECOND)]
    assert one(rows) == ([Said(1, T, True)], [])


def test_two_dumps_without_kernel_start_are_one_by_their_id() -> None:
    """Dumped again after a restart, still open: the first is kept; another id is another connection."""
    rows = [Row(T, None, True), Row(T + 60 * SECOND, None, True)]
    assert one(rows) == ([], [Said(0, T, True)])
    rows[1] = rows[1]._replace(ct_id=2)
    assert one(rows) == ([], [Said(0, T, True), Said(1, T + 60 * SECOND, True)])


def test_an_end_has_the_time_of_the_last_listing() -> None:
    """Three listings found a connection of which the kernel knows no start: one, known since the first. Another id, or
    an END in between, is another connection."""
    found = [Row(T + n * 60 * SECOND, None, True, found=True) for n in range(3)]
    end = Row(T + 120 * SECOND, T + 121 * SECOND, found=True)
    assert one([*found, end]) == ([Said(3, T, True)], [])
    assert one([found[0], end]) == ([Said(1, T, True)], [])
    assert one([Row(T), end]) == ([Said(1, T, False)], [])
    assert one([found[0]._replace(ct_id=2), end]) == ([Said(1, end.start, False)], [Said(0, T, True)])
    between = Row(T + 30 * SECOND, T + 31 * SECOND)
    assert one([Row(T), between, end])[1] == [Said(0, T, False)]


def test_the_end_of_a_vanished_namespace_closes_what_was_open() -> None:
    """An END from the last dump (origin dump) finds its START by kernel time, or any opener left."""
    assert one([Row(T + 4), Row(T, T + 60 * SECOND, True)]) == ([Said(1, T, True)], [])
    assert one([Row(T + 4), Row(T + 60 * SECOND, T + 61 * SECOND, True)]) == ([Said(1, T + 4, False)], [])


def test_a_late_start_inside_the_lifetime_is_no_second_connection() -> None:
    """Where the kernel does not time events, a START can be read seconds late: its tuple was taken then."""
    assert one([Row(T + 3 * SECOND), Row(T, T + 60 * SECOND)]) == ([Said(1, T, False)], [])


def test_copies_of_an_end_without_kernel_times_are_one() -> None:
    """Each copy has another time of our clock: one connection."""
    rows = [Row(T), *(Row(T + n * 200_000, T + n * 200_000) for n in range(10, 16))]
    assert one(rows) == ([Said(1, T, False)], [])


def test_another_node_or_namespace_is_another_connection() -> None:
    """The same tuple at the same time on another node, or in another namespace, does not mix."""
    rows = [Row(T), Row(T, T + SECOND, node="m"), Row(T, T + SECOND, inode=8)]
    assert one(rows) == ([Said(1, T, False), Said(2, T, False)], [Said(0, T, False)])


def test_another_family_is_another_connection() -> None:
    """An IPv6 connection between addresses that hold those of an IPv4 one, 50 ms apart, hides nothing."""
    rows = [Row(T, family="ipv6"), Row(T + 50_000), Row(T + 50_000, T + SECOND), Row(T, T + 2 * SECOND, family="ipv6")]
    assert one(rows) == ([Said(2, T + 50_000, False), Said(3, T, False)], [])
    assert one(rows[:2]) == ([], [Said(0, T, False), Said(1, T + 50_000, False)])


def test_a_line_of_text_is_a_connection_by_itself() -> None:
    """Merged with no event of its tuple, open never, and two that are equal are two."""
    lines = [Row(T, line="log"), Row(T, line="log"), Row(T), Row(T, T + SECOND), Row(T, line="import")]
    assert one(lines) == ([Said(0, T, False), Said(1, T, False), Said(3, T, False), Said(4, T, False)], [])
    assert one([Row(T, line="log")]) == ([Said(0, T, False)], [])


def test_of_copies_a_sealed_end_stands_for_the_others() -> None:
    """What an earlier seal wrote is not written again, even when the other copy is the better one."""
    columns = columns_of(table([Row(T, T + SECOND, True), Row(T, T + SECOND), Row(T)]))
    assert connections.settle(columns).ended.tolist() == [1]
    columns["sealed"] = np.array([True, False, False])
    assert connections.settle(columns).ended.tolist() == [0]


def test_realistic_connections_come_back() -> None:
    """Of generated connections, split into events and merged again, none is lost and none doubled."""
    made = generate(np.random.default_rng(3), 20_000)
    ended, still_open = merge(events(made).slice(1))
    assert still_open.num_rows == 0
    assert sorted(ended["ct_id"].to_pylist()) == sorted(made["ct_id"].to_pylist())
    assert pa.compute.sum(ended["start"].cast(pa.int64())) == pa.compute.sum(made["start"].cast(pa.int64()))


def test_nothing_merges_to_nothing() -> None:
    """An empty table is no error."""
    ended, still_open = merge(arrow_schema("connections").empty_table())
    assert (ended.num_rows, still_open.num_rows) == (0, 0)
