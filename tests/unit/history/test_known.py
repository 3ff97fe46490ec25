"""What the store has already, pair by pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anetcon.history.known import NEAR, SECOND, Side, match

Row = tuple[int, int, int]
"""Tuple, namespace (0: unknown), start."""


def side(rows: list[Row], *, imported: bool = True) -> Side:
    """Rows to compare."""
    keys = np.array([row[0] for row in rows], np.uint64)
    places = np.array([row[1] for row in rows], np.int64)
    starts = np.array([row[2] for row in rows], np.int64)
    mixed = keys * np.uint64(1000) + places.astype(np.uint64)
    return Side(keys, mixed, starts, places == 0, np.full(len(rows), imported), np.zeros((len(rows), 3)))


def found(new: list[Row], old: list[Row], *, imported: bool = True) -> list[bool]:
    """Which of the new ones are old."""
    pairs = match(side(new), side(old, imported=imported))
    said: list[bool] = (pairs >= 0).tolist()
    assert len(set(pairs[pairs >= 0].tolist())) == sum(said), "each old one is one new one's"
    return said


def test_equal_lines() -> None:
    """Two of a file are two; the same two again are none; a third is one more."""
    line = (1, 5, 10 * SECOND)
    assert found([line, line], []) == [False, False]
    assert found([line, line], [line, line]) == [True, True]
    assert sorted(found([line, line, line], [line, line])) == [False, True, True]


def test_stamps_of_both_kinds() -> None:
    """A stamp to the second is the same line's as one with a fraction in that second; two fractions are two lines."""
    whole, fraction, other = (1, 5, 10 * SECOND), (1, 5, 10 * SECOND + 7), (1, 5, 10 * SECOND + 9)
    assert found([whole], [fraction]) == [True]
    assert found([fraction], [whole]) == [True]
    assert found([other], [fraction]) == [False]
    assert sorted(found([whole, whole, whole], [fraction, other])) == [False, True, True]
    assert found([(1, 5, 11 * SECOND)], [fraction]) == [False]


def test_other_connections() -> None:
    """Another tuple, and the same in another namespace, is another; where one side knows no namespace it is not."""
    line = (1, 5, 10 * SECOND)
    assert found([(2, 5, 10 * SECOND), (1, 6, 10 * SECOND)], [line]) == [False, False]
    assert found([(1, 0, 10 * SECOND)], [line]) == [True]
    assert found([line], [(1, 0, 10 * SECOND)]) == [True]
    assert sorted(found([line, (1, 6, 10 * SECOND)], [(1, 0, 10 * SECOND)])) == [False, True]


def test_what_the_daemon_recorded() -> None:
    """A row of its own stands for one line, at most so far from it."""
    rows = [(1, 5, 100 * SECOND + 5)]
    for start, expected in ((100 * SECOND, True), (100 * SECOND + 5 - NEAR, True), (100 * SECOND + 6 + NEAR, False)):
        assert found([(1, 5, start)], rows, imported=False) == [expected], start
    assert found([(1, 5, 100 * SECOND), (1, 5, 101 * SECOND)], rows, imported=False) == [True, False]
    twice = [(1, 5, 100 * SECOND + 5), (1, 5, 101 * SECOND + 5)]
    assert found([(1, 5, 100 * SECOND), (1, 5, 101 * SECOND)], twice, imported=False) == [True, True]


ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 8).map(lambda n: n * SECOND // 2)), max_size=12
)


@given(ROWS, ROWS, st.booleans())
def test_one_for_one(new: list[Row], old: list[Row], imported: bool) -> None:
    """No more are found than there are, and everything is found in itself."""
    assert sum(found(new, old, imported=imported)) <= min(len(new), len(old))
    assert all(found(new, new, imported=imported))
    assert sum(found(new, [*new, *old], imported=imported)) >= sum(row[1] != 0 for row in new) if imported else True
