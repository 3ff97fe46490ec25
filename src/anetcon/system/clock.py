"""Wall-clock time as the records have it: microseconds since 1970, and as text.

Refuses anything but UTC.
"""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds of wall clock."""
    return time.time_ns() // 1000


def text(us: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"
