"""The wall clock compared with clocks that nobody sets: what was skipped, came twice, or was slept through.

CLOCK_BOOTTIME goes on while the machine sleeps, CLOCK_MONOTONIC does not; neither is ever set. A wall clock that is
slewed (chrony, ntpd) stays far below the threshold from one look to the next. Refuses to correct any time: records
carry the kernel's, which is the wall clock as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from anetcon.gaps import Cause
from anetcon.system.clock import Moment

AT_ONCE = 20_000
"""Microseconds within which readings are of one moment."""
ATTEMPTS = 10
THRESHOLD = 500_000
"""Microseconds by which the clocks must disagree from one look to the next."""


class Clocks(NamedTuple):
    """Readings of one moment, microseconds."""

    wall: int
    monotonic: int
    boot: int

    @property
    def moment(self) -> Moment:
        """For whoever records, and waits."""
        return Moment(self.wall, self.monotonic)


class Moved(NamedTuple):
    """What happened: `cause` of the gap, its bounds in wall clock, and by how much the wall clock was set."""

    cause: Cause
    start: int
    end: int
    by: int


def read(clock: Callable[[], int]) -> Clocks:
    """The clocks now, `clock` the wall clock. Whoever was held up between two of them, stopped, on a busy machine or
    with the machine asleep, reads them again: they would be apart by that time as if one had been set."""
    for _ in range(ATTEMPTS):
        begin = _boot()
        found = Clocks(clock(), time.monotonic_ns() // 1000, begin)
        if _boot() - begin < AT_ONCE:
            break
    return found


def _boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def moved(before: Clocks, now: Clocks) -> list[Moved]:
    """What happened between two looks. A sleep and a step may come together: first the sleep."""
    elapsed = now.boot - before.boot
    slept = elapsed - (now.monotonic - before.monotonic)
    expected = before.wall + elapsed
    found = []
    if slept > THRESHOLD:
        found.append(Moved(Cause.SUSPENDED, before.wall, expected, 0))
    if abs(now.wall - expected) > THRESHOLD:
        found.append(Moved(Cause.CLOCK_STEP, min(expected, now.wall), max(expected, now.wall), now.wall - expected))
    return found
