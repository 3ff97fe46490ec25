"""A clock that is set, and a machine that sleeps, are told from time that passes."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.clock_steps import AT_ONCE, THRESHOLD, Clocks, Moved, moved, read
from anetcon.gaps import Cause
from anetcon.system.clock import now_us

BEFORE = Clocks(1_790_000_000_000_000, 50_000_000, 60_000_000)
HOUR = 3600 * 1_000_000
passing = st.integers(0, HOUR)


def after(passed: int, set_by: int = 0, slept: int = 0) -> list[Moved]:
    """What is found after this much time."""
    now = Clocks(BEFORE.wall + passed + slept + set_by, BEFORE.monotonic + passed, BEFORE.boot + passed + slept)
    return moved(BEFORE, now)


@given(passing, st.integers(-THRESHOLD, THRESHOLD))
def test_time_that_passes(passed: int, slewed: int) -> None:
    """However long it took, a clock that is slewed or corrected by little is no step."""
    assert after(passed, slewed) == []


@given(passing, st.integers(THRESHOLD + 1, HOUR))
def test_set_forwards(passed: int, by: int) -> None:
    """What was skipped lies between the time that should be and the time that is."""
    expected = BEFORE.wall + passed
    assert after(passed, by) == [Moved(Cause.CLOCK_STEP, expected, expected + by, by)]


@given(passing, st.integers(THRESHOLD + 1, HOUR))
def test_set_backwards(passed: int, by: int) -> None:
    """What comes twice lies between the time that is and the time that should be."""
    expected = BEFORE.wall + passed
    assert after(passed, -by) == [Moved(Cause.CLOCK_STEP, expected - by, expected, -by)]


@given(passing, st.integers(THRESHOLD + 1, HOUR))
def test_asleep(passed: int, slept: int) -> None:
    """A machine that slept is no step of its clock."""
    assert after(passed, slept=slept) == [Moved(Cause.SUSPENDED, BEFORE.wall, BEFORE.wall + passed + slept, 0)]


def test_asleep_and_then_set() -> None:
    """Both are found, each with its own bounds."""
    expected = BEFORE.wall + HOUR
    assert after(0, -2_000_000, HOUR) == [
        Moved(Cause.SUSPENDED, BEFORE.wall, expected, 0),
        Moved(Cause.CLOCK_STEP, expected - 2_000_000, expected, -2_000_000),
    ]


def test_the_clocks_of_this_machine() -> None:
    """Two looks in a row find nothing."""
    first = read(now_us)
    assert moved(first, read(now_us)) == []


def test_asleep_between_two_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that falls asleep there was suspended, and nobody set its clock."""
    first, slept, boot = read(now_us), [0], time.clock_gettime_ns

    def wall() -> int:
        at = now_us() + slept[0]
        slept[0] = HOUR
        return at

    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: boot(clock) + slept[0] * 1000)
    assert [found.cause for found in moved(first, read(wall))] == [Cause.SUSPENDED]


def test_held_up_between_two_clocks() -> None:
    """Readings that are not of one moment are taken again; for ever not, the last ones have to do."""
    first, calls = read(now_us), itertools.count(1)

    def late(times: int) -> int:
        wall = now_us()
        if next(calls) <= times:
            threading.Event().wait((THRESHOLD + AT_ONCE) / 1e6)
        return wall

    assert moved(first, read(lambda: late(1))) == []
    assert next(calls) > 2, "it was read again; on a busy machine more than once"
    assert read(lambda: late(0)).wall >= first.wall
