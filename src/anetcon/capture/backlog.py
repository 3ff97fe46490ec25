"""What waits in memory while the disk takes nothing, and what no longer fits there: counted.

Flushes wait as they would be on disk, packed, in order, up to a number of bytes. From the first that does not fit all
are dropped until everything that waits is written: so what was lost is one stretch of time and one gap record.

What is counted is connections of which nothing is on record. An end that is dropped is one, unless its start was
written or waits; a start that is dropped is none, for the connection is known by its end, or from a dump. Of the starts
that wait a hash of their tuples is kept: also of what came meanwhile some may be missing, since the kernel keeps ends
that capture was too slow for, and no starts. Of what began before, the start was written. The kernel dates a start's
event before the connection, by a few microseconds as a rule, by milliseconds where a batch of packets was held up, so
near the edges the tuples tell, not the times. Exact but for a tuple that ends and is used again near that, and for what
a table lists meanwhile, which may count once too often; and for connections whose start was lost before the disk was
full, which are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from anetcon.decode.columns import NONE, Array, Columns
from anetcon.gaps import Cause, Gap
from anetcon.record import LINES
from anetcon.system.clock import Moment

EDGE = 1_000_000
"""Microseconds by which a start's time may differ from the kernel's (measured: 1,890 on busy processors), with room."""

WRITTEN = 100_000
"""The same behind the last start that was written: with less room, since those that are taken for written in it, and
were lost, are not counted."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@dataclass
class PackedFlush:
    """One flush: its bytes, its rows, the time it covers. `whole`: whether nothing of that time is still to be read; if
    not, the journal says no more than before."""

    payload: bytes | memoryview
    rows: int
    start: int
    end: Moment
    whole: bool = True

    @property
    def until(self) -> int:
        """Up to when all is recorded with it."""
        return self.end.wall if self.whole else self.start


@dataclass
class WaitingStarts:
    """The starts that wait: from when they go (`before`, the last that was written), up to when, and hashes of their
    tuples."""

    before: int
    latest: int
    hashes: list[Array] = field(default_factory=list)
    size: int = 0

    def add(self, columns: Columns) -> None:
        """Keep those of these rows."""
        self.latest = latest_start(columns, self.latest)
        new = _hashes(columns, np.flatnonzero(columns.of["end"][: columns.rows] == NONE))
        self.hashes.append(new)
        self.size += new.nbytes


@dataclass
class Waiting:
    """Flushes that the disk has not taken yet; at least one, and as many as fit into `limit` bytes."""

    limit: int
    flushes: list[PackedFlush] = field(default_factory=list)
    size: int = 0
    rows: int = 0
    starts: WaitingStarts | None = None
    """Of all that waited since the disk was full."""

    def __bool__(self) -> bool:
        return bool(self.flushes)

    def fits(self, payload: bytes | memoryview) -> bool:
        """Whether one more may wait."""
        held = self.size + (self.starts.size if self.starts else 0)
        return not self.flushes or held + len(payload) <= self.limit

    def add(self, flush: PackedFlush, columns: Columns, before: int) -> None:
        """Let a flush wait; `columns` are its rows, `before` the last start that was written."""
        self.starts = self.starts or WaitingStarts(before, flush.start)
        self.starts.add(columns)
        self.flushes.append(flush)
        self.size += len(flush.payload)
        self.rows += flush.rows

    def idle(self, flush: PackedFlush) -> None:
        """Nothing happened in its time, which follows on what waits."""
        if not self.flushes:
            self.flushes.append(flush)
        elif flush.whole:
            self.flushes[-1].end, self.flushes[-1].whole = flush.end, True

    def written(self) -> None:
        """The first is on disk."""
        flush = self.flushes.pop(0)
        self.size -= len(flush.payload)
        self.rows -= flush.rows
        if not self.flushes:
            self.starts = None


class Shed:
    """What was dropped since memory was full: `since`, `until`, and how many connections were lost.

    `kept` are the starts that were not; None: starts are not recorded at all.
    """

    def __init__(self, since: int, kept: WaitingStarts | None) -> None:
        self.since = self.until = since
        self.lost = 0
        self._kept = kept
        self._hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *(kept.hashes if kept else [])]))
        self._dropped: Array = np.empty(0, np.uint64)
        """The tuples of starts within EDGE of those."""

    def drop(self, columns: Columns, until: int) -> None:
        """Count the rows, and empty the columns."""
        rows, of = columns.rows, columns.of
        start, ended = of["start"][:rows], of["end"][:rows] != NONE
        line = ~ended & (of["origin"][:rows] >= min(LINES))
        ends = np.flatnonzero(ended)
        hashes = _hashes(columns, ends)
        gone = np.ones(len(ends), np.bool_)
        if self._kept is not None:
            late = np.flatnonzero(~ended & ~line & (start <= self._kept.latest + EDGE))
            self._dropped = np.concatenate((self._dropped, _hashes(columns, late)))
            gone = self._gone(start[ends], hashes, self._kept)
        copies = (hashes ^ start[ends].astype(np.uint64) * _MIX)[gone]
        self.lost += len(np.unique(copies)) + int(np.count_nonzero(line))
        self.until = until
        columns.rows = 0

    def _gone(self, start: Array, hashes: Array, kept: WaitingStarts) -> Array:
        """Of which of these connections that ended no start was kept."""
        gone: Array = start > kept.before + WRITTEN
        near = start <= kept.latest + 2 * EDGE
        gone[near] &= ~self._waits(hashes[near])
        gone[near] |= np.isin(hashes[near], self._dropped)
        return gone

    def _waits(self, hashes: Array) -> Array:
        """Whether each of these is among the tuples of the starts that wait."""
        if not len(self._hashes):
            return np.zeros(len(hashes), np.bool_)
        found: Array = self._hashes[np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)] == hashes
        return found


class Backlog:
    """All of it: what waits, and what is dropped since memory is full too. `starts`: whether those are recorded."""

    def __init__(self, limit: int, now: int, *, starts: bool) -> None:
        self.waiting = Waiting(limit)
        self.sheds = self.shed_at = 0
        """Goes up when records begin to be dropped, and when that is over; when the last that were dropped began."""
        self._starts = starts
        self._started = now
        """When the last connection began of which the start is on disk."""
        self._shed: Shed | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting) or self._shed is not None

    def keep(self, flush: PackedFlush, columns: Columns) -> bool:
        """Let a flush wait, or drop it when memory is full too; whether that begins with it."""
        begins = False
        if self._shed is None and not columns.rows:
            self.waiting.idle(flush)
        elif self._shed is None and self.waiting.fits(flush.payload):
            self.waiting.add(flush, columns, self._started)
        elif columns.rows:
            if begins := self._shed is None:
                kept = self.waiting.starts or WaitingStarts(self._started, flush.start)
                self._shed = Shed(flush.start, kept if self._starts else None)
                self.sheds, self.shed_at = self.sheds + 1, flush.start
            self._shed.drop(columns, flush.end.wall)
        columns.rows = 0
        return begins

    def written(self, columns: Columns) -> None:
        """These rows are on disk, and nothing waits."""
        self._started = latest_start(columns, self._started)
        columns.rows = 0

    def each(self) -> Iterator[PackedFlush]:
        """What waits, oldest first; each counts as written when the next is asked for."""
        while self.waiting:
            self._started = max(self._started, self.waiting.starts.latest if self.waiting.starts else 0)
            yield self.waiting.flushes[0]
            self.waiting.written()

    def gap(self) -> Gap | None:
        """What was dropped, None when nothing was."""
        if self._shed is None:
            return None
        return Gap(None, self._shed.since, self._shed.until, Cause.DISK_FULL, self._shed.lost)

    def over(self) -> None:
        """The gap is on disk."""
        self.sheds += self._shed is not None
        self._shed = None


def latest_start(columns: Columns, otherwise: int) -> int:
    """When the last of the connections began that these rows say to have begun; or before, when that is later."""
    start = columns.of["start"][: columns.rows]
    return int(start[columns.of["end"][: columns.rows] == NONE].max(initial=otherwise))


def _hashes(columns: Columns, rows: Array) -> Array:
    """A number for the namespace and the tuple of each of these rows."""
    of = columns.of
    made: Array = of["netns_inode"][rows].copy()
    parts = [of[name][rows].astype(np.uint64) for name in ("family", "proto", "zone", "src_port", "dst_port")]
    for side in ("src_ip", "dst_ip"):
        parts += list(columns.words[side][rows].T)
    for part in parts:
        made = (made ^ part) * _MIX
        made ^= made >> _HALF
    return made
