"""Kernel log time becomes wall clock: late readers do not move it, drift and steps do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.localclock import ASTRAY, DRIFT, PATIENCE, LocalClock
from anetcon.kmsg.packets import Stamp

WALL = 1_790_000_000_000_000
SECOND = 1_000_000


def offset(clock: LocalClock, time: int, wall: int, raw: int) -> int:
    """The offset after a record of this time was read then."""
    clock.sample(time, Stamp(wall, raw, 1))
    return clock.offset


def test_the_least_delay_counts() -> None:
    """A line that waited for long does not move the times of those after it."""
    clock = LocalClock()
    raw = 1000 * SECOND
    assert offset(clock, raw - 100, WALL, raw) == WALL - raw + 100
    later = raw + SECOND
    late = offset(clock, later - 5 * SECOND, WALL + SECOND, later)
    assert abs(late - (WALL - raw + 100)) <= DRIFT * SECOND + 1


def test_a_faster_reader_is_believed_at_once() -> None:
    """No line can be read before it was written: a smaller difference is nearer to the truth."""
    clock = LocalClock()
    offset(clock, 0, WALL, 9000)
    assert offset(clock, 1000, WALL, 1000 + 50) == 50 + WALL - 1050


def test_the_wall_clock_is_taken_as_it_is() -> None:
    """A wall clock that was set moves the times by as much, at once."""
    clock = LocalClock()
    first = offset(clock, 0, WALL, 100)
    second = offset(clock, 1000, WALL + 1000 + 7 * SECOND, 1100)
    assert second - first == 7 * SECOND


def test_a_kernel_clock_that_was_set_back_is_found_out() -> None:
    """When every line seems seconds late for long, the estimate is wrong, and is given up."""
    clock = LocalClock()
    offset(clock, 0, WALL, 100)
    jump = 60 * SECOND
    for raw in range(2 * jump, 2 * jump + PATIENCE + 3 * SECOND, SECOND):
        found = offset(clock, raw - jump, WALL + raw, raw)
    assert abs(found - (WALL + jump)) < SECOND


@given(st.lists(st.tuples(st.integers(1, 10 * SECOND), st.integers(0, ASTRAY // 2)), min_size=2, max_size=50))
def test_times_are_never_in_the_future_and_late_at_most_by_the_least_delay(steps: list[tuple[int, int]]) -> None:
    """Whatever the delays were, a time lies between the truth and the truth plus the first delay and what may drift."""
    clock, raw, first = LocalClock(), 0, steps[0][1]
    for pause, delay in steps:
        raw += pause + ASTRAY
        error = offset(clock, raw - delay, WALL + raw, raw) - WALL
        assert 0 <= error <= min(delay, first + DRIFT * raw) + 1
