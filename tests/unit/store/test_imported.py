"""Stretches of imported text take the place of the gaps that they fill."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anetcon.gaps import IMPORTED, REPLACED, Cause, Gap
from anetcon.store.imported import QUIET, begun, joined, told

Q = QUIET


def gap(
    begin: int | None, end: int | None, cause: str = "never-recorded", node: str | None = "gw1", **more: Any
) -> Gap:
    """A gap; also a stretch."""
    return Gap(None, begin, end, Cause(cause), node=node)._replace(**more)


def lines(begin: int, end: int, **more: Any) -> Gap:
    """A stretch."""
    return gap(begin, end, "imported-lines", **more)


def bounds(gaps: list[Gap], named: bool = False) -> list[tuple[str, int | None, int | None]]:
    """What is told."""
    return [(row.cause, row.start, row.end) for row in tell(gaps, named=named)]


def tell(gaps: list[Gap], *, named: bool = False) -> list[Gap]:
    """What is told of them, where there are no others."""
    stretches = [row for row in gaps if row.cause in IMPORTED]
    others = [row for row in gaps if row not in stretches]
    return told(others, stretches, [row for row in others if row.cause in REPLACED], named=named)


def test_files_that_adjoin_are_one() -> None:
    """Up to some hours between them; no longer."""
    assert joined([(5, 9), (0, 2), (9 + Q, 10 + Q), (11 + 2 * Q, 12 + 2 * Q)]) == [
        (0, 10 + Q),
        (11 + 2 * Q, 12 + 2 * Q),
    ]


def test_text_of_a_node_that_no_daemon_recorded() -> None:
    """It is told, also where the daemon of another one does not run now."""
    stopped = gap(50, None, "daemon-down", node=None)
    assert bounds([stopped, gap(None, 40, node="gw2"), lines(0, 10)])[1:] == [
        ("imported-lines", 0, 10),
        ("daemon-down", 50, None),
    ]
    assert ("imported-lines", 0, 5) in bounds([stopped, gap(None, 5), lines(0, 10)])


def test_a_gap_is_cut() -> None:
    """By the stretches inside it, at its ends, and wholly."""
    far = 3 * Q
    stretches = [lines(0, 10), lines(far, far + 10)]
    assert bounds([gap(None, None), *stretches]) == [
        ("never-recorded", None, 0),
        ("imported-lines", 0, 10),
        ("never-recorded", 10, far),
        ("imported-lines", far, far + 10),
        ("never-recorded", far + 10, None),
    ]
    assert bounds([gap(2, 8, "daemon-down"), lines(0, 10)]) == [("imported-lines", 2, 8)]


def test_what_is_not_replaced() -> None:
    """Other causes, other nodes, and what is said of all namespaces by text of one, unless that one was asked for."""
    stretch = lines(0, 10)
    assert ("overrun", 2, 8) in bounds([gap(2, 8, "overrun"), stretch])
    assert ("never-recorded", 2, 8) in bounds([gap(2, 8, node="gw2"), stretch])
    assert ("never-recorded", 2, 8) not in bounds([gap(2, 8, node=None), stretch])
    one = gap(0, 10, "imported-events", netns="a")
    assert ("never-recorded", 2, 8) in bounds([gap(2, 8), one])
    assert ("never-recorded", 2, 8) not in bounds([gap(2, 8), one], named=True)
    assert tell([gap(2, 8)]) == [gap(2, 8)]


def test_what_the_daemon_recorded_itself() -> None:
    """Text of a time that is on record anyhow takes nothing away from it; of another node it is all there is."""
    assert bounds([gap(None, 5), lines(0, 10)]) == [("never-recorded", None, 0), ("imported-lines", 0, 5)]
    assert told([], [lines(0, 10)], [gap(None, -5)], named=False) == []
    assert [row.end for row in told([], [lines(0, 10, node="gw2")], [gap(None, -5)], named=False)] == [10]


TIMES = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair) * Q // 4, max(pair) * Q // 4))


@given(TIMES, st.lists(TIMES, max_size=6))
def test_no_time_is_both(whole: tuple[int, int], stretches: list[tuple[int, int]]) -> None:
    """What is left of a gap lies outside every stretch, and nothing else is missing."""
    found = tell([gap(*whole), *(lines(*stretch) for stretch in stretches)])
    left = [(row.start or 0, row.end or 0) for row in found if row.cause == "never-recorded"]
    covered = [(row.start or 0, row.end or 0) for row in found if row.cause == "imported-lines"]
    for begin, end in left:
        assert all(end <= first or last <= begin for first, last in covered)
    assert all(whole[0] <= first and last <= whole[1] for first, last in covered)
    lost = sum(last - first for first, last in covered)
    assert sum(end - begin for begin, end in left) == whole[1] - whole[0] - lost


@given(TIMES, st.lists(TIMES, max_size=6))
def test_everything_begins_with_the_first_text(whole: tuple[int, int], stretches: list[tuple[int, int]]) -> None:
    """Who names no time is told what one is told who names that of the first text, and nothing else."""
    texts = [lines(*stretch) for stretch in stretches]
    first = min((begin for begin, _ in stretches), default=whole[1])
    everything = begun(tell([gap(None, whole[1]), *texts]), texts)
    later = [row for row in tell([gap(first, whole[1]), *texts]) if row.cause == "never-recorded"]
    assert [row for row in everything if row.cause == "never-recorded"] == later
    assert begun([gap(None, 5, "not-attached")], texts) == [gap(None, 5, "not-attached")]
