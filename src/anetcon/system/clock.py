"""Wall-clock time as the records have it: microseconds since 1970, and as text. Beside it a steady clock.

Refuses anything but UTC.
"""

from __future__ import annotations

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """One moment on two clocks, in microseconds: `wall` is for records, `steady` for whatever is due.

    The steady one is CLOCK_MONOTONIC. Nobody sets it, and it stands still while the machine sleeps: so do the kernel
    that is to answer, the disk that is to write and the traffic that is to come, and none of them is late for that.
    """

    wall: int
    steady: int

    def at(self, wall: int) -> Moment:
        """The moment at which the wall clock said so, not long ago: nobody has set it since."""
        return Moment(wall, self.steady - (self.wall - wall))


def now() -> Moment:
    """This moment."""
    return Moment(now_us(), time.monotonic_ns() // 1000)


def now_us() -> int:
    """Microseconds of wall clock."""
    return time.time_ns() // 1000


def text(us: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"
