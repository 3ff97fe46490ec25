"""A live stream's rows judged as they come: the first known of a connection, a repeat, or its end.

Cheap enough for every event: each row is compared only with the row before it of the same tuple, in this batch or from
earlier ones. Tuples are told apart by a keyed 64-bit hash alone, which is enough for a line in a log, not for the
store. Forgets connections that ended, the longest ago first, when it has grown to its limit; never those open.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """What a row is to its connection."""

    FIRST = 0
    REPEAT = 1
    END = 2


class Tracker:
    """What is known of the connections of a live stream."""
