"""What a row is to the last two connections known of its tuple, for many tuples at once. Pure functions over columns.

A connection that is known is one number: its start, shifted, and its state. The kernel's times tell which connection a
row is of, never the order in which rows come: the end of one may come after the start of the next, which has the same
tuple. Two connections of a tuple never overlap, and the kernel starts of two are never equal.

- An END is of the connection whose start it has: a repeat, or the end of one that is open. That start may differ by
  what a START's differs from the kernel's (`TOLERANCE`); the nearest wins. An opener that came behind the END's own end
  is another connection's.
- An END whose start is when its connection was found is of any that was known then: it began before.
- A START repeats another with the same time, a DUMP of the same connection, or follows its own END.
- A DUMP repeats the connection that is open; with a time of its own, the one near to that.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from anetcon.identity.reconcile import SLACK, TOLERANCE
from anetcon.identity.tuples import OPEN, Array

NONE, OPENED, DUMPED, FOUND, ALONE, ENDED, LONG_AGO = range(7)
"""States: nothing; open since a START, since a DUMP with a time, or since `start` or before; ended, its opener not seen
yet; ended; ended before the table was cleared last."""

BITS = 3
STATE = 7

LATE = 10_000
"""Microseconds by which a START's time may come behind the kernel's (measured: 1,890 on busy processors)."""

JITTER = 100
"""As a rule by no more than this: so a START is judged before its END."""

_FAR = np.iinfo(np.int64).max


class Verdict(IntEnum):
    """What a row is to its connection. An END that is the first known of its connection is FIRST."""

    FIRST = 0
    REPEAT = 1
    END = 2


def moments(start: Array, end: Array) -> Array:
    """The order in which rows of one tuple are to be judged."""
    ended = end != OPEN
    order: Array = (start + JITTER * ended) * 2 + ended
    return order


class RunRows(NamedTuple):
    """Columns of rows."""

    start: Array
    end: Array
    dump: Array
    found: Array

    def take(self, at: Array) -> RunRows:
        """Some of them."""
        return RunRows(*(column[at] for column in self))


def regular(rows: RunRows, heads: Array, latest: Array, before: Array) -> tuple[Array, Array, Array]:
    """Which runs of rows (of one tuple each, beginning at `heads`, in the order of time) are nothing but a START and an
    END by turns: each START is the first of its connection, each END is of the START before it. And the last two
    connections known then, where it is so."""
    opener = rows.end == OPEN
    previous = np.empty_like(rows.start)
    previous[1:] = (rows.start << BITS | np.where(opener, OPENED, ENDED))[:-1]
    tails = np.append(heads[1:], len(previous)) - 1 if len(heads) else heads
    last = rows.start[tails] << BITS | np.where(opener[tails], OPENED, ENDED)
    previous[heads] = latest
    state, known = previous & STATE, previous >> BITS
    distance = np.abs(rows.start - known)
    as_it_should = np.where(
        opener,
        (state == NONE) | (state >= ENDED) & (distance != 0),
        (state == OPENED) & (distance <= LATE) & (known <= rows.end) & (rows.start != rows.end),
    )
    as_it_should &= ~(rows.dump | rows.found)
    as_it_should[heads] &= (before & STATE == NONE) | (before & STATE >= ENDED)
    chosen = np.logical_and.reduceat(as_it_should, heads) if len(heads) else np.empty(0, np.bool_)
    alone = tails == heads
    earlier = np.where(alone, before, previous[tails - ~alone])
    return chosen, last, np.where(opener[tails], previous[tails], earlier)


def judge(latest: Array, before: Array, rows: RunRows) -> tuple[Array, Array, Array]:
    """The verdicts of rows, one a tuple, of which `latest` and `before` are the last two connections known; and those
    two afterwards."""
    start, end, dump, found = rows
    opener = end == OPEN
    slots = [_of(value, start, end, opener, dump, found) for value in (latest, before)]
    near = [distance for _, distance in slots]
    second = near[1] < near[0]
    distance = np.minimum(*near)
    same = distance != _FAR
    chosen = np.where(second, before, latest)
    state = chosen & STATE
    was_open = (state >= OPENED) & (state <= FOUND)
    verdicts = np.where(same, np.int8(Verdict.REPEAT), np.int8(Verdict.FIRST))
    verdicts[same & ~opener & was_open] = Verdict.END
    now = _afterwards(chosen, start, opener, dump, found, same)
    replaced = np.where(second, latest, now), np.where(second, now, before)
    kept = ((latest & STATE) >= OPENED) & ((latest & STATE) <= FOUND)
    spare = ~kept & ((before & STATE) >= OPENED) & ((before & STATE) <= FOUND)
    pushed = now, np.where(spare, before, latest)
    return verdicts, np.where(same, replaced[0], pushed[0]), np.where(same, replaced[1], pushed[1])


def _of(value: Array, start: Array, end: Array, opener: Array, dump: Array, found: Array) -> tuple[Array, Array]:
    """Whether rows are of a connection that is known, and how far their start is from its start, _FAR where not."""
    known, state = value >> BITS, value & STATE
    behind = start - known
    distance = np.abs(behind)
    near = distance <= TOLERANCE
    is_open = (state >= OPENED) & (state <= FOUND)
    ended = state >= ALONE
    clocked = start == end
    inside = (behind <= SLACK) & (known < end)
    exact = ended & (distance == 0)
    restored = found & (behind >= -SLACK)
    of_end = (
        is_open & (clocked | restored | dump | inside | near & ((known <= end + LATE) | (state == FOUND)))
    ) | exact
    of_end |= ended & clocked & near
    of_start = (
        (distance == 0) & (state != NONE) | (state == DUMPED) & near | (state == FOUND) & near & (behind <= SLACK)
    )
    of_start |= (state == ALONE) & np.where(found, near, distance <= LATE)
    of_dump = is_open & (near | found | (state == FOUND) & (behind <= SLACK)) | exact
    mine = np.where(opener, np.where(dump, of_dump, of_start), of_end)
    return mine, np.where(mine, distance, _FAR)


def _afterwards(chosen: Array, start: Array, opener: Array, dump: Array, found: Array, same: Array) -> Array:
    """What is known of each row's connection now; `chosen` is what was, where it is the `same`."""
    state = chosen & STATE
    opened = np.where(found, FOUND, np.where(dump, DUMPED, OPENED))
    new = start << BITS | np.where(opener, opened, ALONE)
    after_end = np.where(state >= ALONE, chosen, start << BITS | ENDED)
    better = ((state == FOUND) & ~found) | ((state == DUMPED) & ~dump)
    after_start = np.where(state == ALONE, chosen - ALONE + ENDED, np.where(better, start << BITS | opened, chosen))
    known: Array = np.where(same, np.where(opener, after_start, after_end), new)
    return known
