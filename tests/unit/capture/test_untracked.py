"""Packets that are invalid are one gap of a time, by whether they were dropped all the while."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.capture.lasting import Lasting
from anetcon.capture.untracked import QUIET, Untracked
from anetcon.gaps import Cause, Gap
from anetcon.link.messages import Invalid
from anetcon.netlink.invalid import BOTH
from anetcon.system.clock import Moment
from tests.support.capture_parts import at, namespace

UNTRACKED, DROPPED, LEFT = Cause.UNTRACKED, Cause.UNTRACKED_DROPPED, Cause.UNTRACKED_LEFT
Row = tuple[str, int | None, int | None, int | None]


class Bench:
    """One namespace."""

    def __init__(self, folder: Path) -> None:
        self.rows: list[Row] = []
        self.untracked = Untracked(Lasting(folder / "lasting.json", self.take, 0))
        self.space, *_ = namespace()

    def take(self, gap: Gap) -> None:
        """A row of gaps."""
        assert gap.netns == self.space.netns
        self.rows.append((gap.cause, gap.start, gap.end, gap.lost))

    def counted(self, start: int, end: int, count: int, left: int = 0) -> None:
        """So many came, and left."""
        self.untracked.counted(self.space, Invalid(0, start, end, count, left), at(end))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One for a test."""
    return Bench(tmp_path)


def test_one_gap_lasts_until_none_came_for_a_minute(bench: Bench) -> None:
    """It ends when the last came, with how many they were."""
    bench.counted(10, 20, 3)
    bench.counted(20, 30, 4)
    bench.untracked.tick(at(30 + QUIET - 1))
    assert bench.rows == [(UNTRACKED, 10, None, None)]
    bench.untracked.tick(at(30 + QUIET))
    assert bench.rows[1:] == [(UNTRACKED, 10, 30, 7)]
    bench.counted(QUIET + 40, QUIET + 50, 1)
    bench.untracked.end_all()
    assert bench.rows[2:] == [(UNTRACKED, QUIET + 40, None, None), (UNTRACKED, QUIET + 40, QUIET + 50, 1)]


def test_dropped_all_the_while(bench: Bench) -> None:
    """Only when the rule was there before the look at which none had come yet."""
    bench.untracked.dropped(bench.space, BOTH, 0, at(15))
    bench.counted(10, 20, 3)
    bench.counted(20, 30, 4)
    assert bench.rows == [(UNTRACKED, 10, None, None), (UNTRACKED, 10, 20, 3), (DROPPED, 20, None, None)]


@pytest.mark.parametrize("families", [frozenset(), frozenset({"ip"}), frozenset({"ip6"})])
def test_a_rule_that_goes(bench: Bench, families: frozenset[str]) -> None:
    """From when it may have gone they were not dropped, also those that were told before that was known."""
    bench.untracked.dropped(bench.space, BOTH, 0, at(5))
    bench.counted(10, 20, 3)
    bench.untracked.dropped(bench.space, families, 15, at(25))
    assert bench.rows == [(DROPPED, 10, None, None), (DROPPED, 10, 15, 3), (UNTRACKED, 15, None, None)]
    bench.counted(20, 30, 4)
    bench.untracked.forget(bench.space)
    assert bench.rows[3:] == [(UNTRACKED, 15, 30, 4)]


def test_a_ruleset_that_changed_and_drops_them_still(bench: Bench) -> None:
    """It is no other gap."""
    bench.untracked.dropped(bench.space, BOTH, 0, at(5))
    bench.counted(10, 20, 3)
    bench.untracked.dropped(bench.space, BOTH, 15, at(25))
    bench.counted(20, 30, 3)
    assert bench.rows == [(DROPPED, 10, None, None)]


def test_a_clock_that_is_set(bench: Bench) -> None:
    """A minute stays one, and what is known to drop was so before."""
    bench.untracked.dropped(bench.space, BOTH, 0, at(5))
    bench.counted(10, 20, 3)
    bench.untracked.counted(bench.space, Invalid(0, 1020, 1030, 4), Moment(1030, 30))
    bench.untracked.counted(bench.space, Invalid(0, -960, -950, 4), Moment(-950, 50))
    bench.untracked.tick(Moment(2 * QUIET, 50 + QUIET - 1))
    assert bench.rows == [(DROPPED, 10, None, None)]
    bench.untracked.tick(Moment(-QUIET, 50 + QUIET))
    assert bench.rows[1:] == [(DROPPED, 10, 10, 11)]  # never before its beginning


def test_how_many_left(bench: Bench) -> None:
    """It is a row of its own beside the gap, of the same time, once that is over."""
    bench.counted(10, 20, 3, 2)
    bench.counted(20, 30, 0, 1)
    assert bench.rows == [(UNTRACKED, 10, None, None)]
    bench.untracked.end_all()
    assert bench.rows[1:] == [(UNTRACKED, 10, 30, 3), (LEFT, 10, 30, 3)]
