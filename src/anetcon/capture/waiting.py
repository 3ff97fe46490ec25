"""What waits in memory while the disk takes nothing, and what no longer fits there: counted.

Flushes wait as they would be on disk, packed, in order, up to a number of bytes. From the first that does not fit all
are dropped until everything that waits is written: so what was lost is one stretch of time and one gap record.

What is counted is connections of which nothing is on record. An end that is dropped is one, unless its start was
written or waits; a start that is dropped is none, for the connection is known by its end, or from a dump. Which starts
were kept is known by their time, and near the last one by a hash of their tuples: the kernel dates a start's event
before the connection, by a few microseconds as a rule, by milliseconds where a batch of packets was held up. Exact but
for a tuple that ends and is used again near that, and for what a table lists meanwhile: they may count once too often.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from anetcon.decode.columns import NONE, Array, Columns
from anetcon.record import LINES

EDGE = 1_000_000
"""Microseconds by which a start's time may differ from the kernel's (measured: 1,890 on busy processors), with room."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@dataclass
class Flush:
    """One flush: its bytes, its rows, the time it covers."""

    payload: bytes | memoryview
    rows: int
    start: int
    end: int


@dataclass
class Starts:
    """Up to when starts were kept, and hashes of the tuples of those within EDGE of that."""

    latest: int
    times: Array = field(default_factory=lambda: np.empty(0, np.int64))
    hashes: Array = field(default_factory=lambda: np.empty(0, np.uint64))

    def add(self, columns: Columns) -> None:
        """Keep those of these rows."""
        start = columns.of["start"][: columns.rows]
        opened = columns.of["end"][: columns.rows] == NONE
        self.latest = int(start[opened].max(initial=self.latest))
        new = np.flatnonzero(opened & (start > self.latest - EDGE))
        old = self.times > self.latest - EDGE
        self.times = np.concatenate((self.times[old], start[new]))
        self.hashes = np.concatenate((self.hashes[old], _hashes(columns, new)))


@dataclass
class Waiting:
    """Flushes that the disk has not taken yet; at least one, and as many as fit into `limit` bytes."""

    limit: int
    flushes: list[Flush] = field(default_factory=list)
    size: int = 0
    rows: int = 0
    starts: Starts | None = None
    """Of all that waited since the disk was full."""

    def __bool__(self) -> bool:
        return bool(self.flushes)

    def fits(self, payload: bytes | memoryview) -> bool:
        """Whether one more may wait."""
        return not self.flushes or self.size + len(payload) <= self.limit

    def add(self, flush: Flush, columns: Columns) -> None:
        """Let a flush wait; `columns` are its rows."""
        self.starts = self.starts or Starts(flush.start)
        self.starts.add(columns)
        self.flushes.append(flush)
        self.size += len(flush.payload)
        self.rows += flush.rows

    def idle(self, start: int, end: int) -> None:
        """Nothing happened in that time, which follows on what waits."""
        if self.flushes:
            self.flushes[-1].end = end
        else:
            self.flushes.append(Flush(b"", 0, start, end))

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

    def __init__(self, since: int, kept: Starts | None) -> None:
        self.since = self.until = since
        self.lost = 0
        self._kept = kept
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

    def _gone(self, start: Array, hashes: Array, kept: Starts) -> Array:
        """Of which of these connections that ended no start was kept."""
        gone: Array = start > kept.latest
        near = start <= kept.latest + 2 * EDGE
        gone[near] &= ~np.isin(hashes[near], kept.hashes)
        gone[near] |= np.isin(hashes[near], self._dropped)
        return gone


def _hashes(columns: Columns, rows: Array) -> Array:
    """A number for the namespace and the tuple of each of these rows."""
    of = columns.of
    made: Array = of["netns_inode"][rows].copy()
    parts = [of[name][rows].astype(np.uint64) for name in ("proto", "zone", "src_port", "dst_port")]
    for side in ("src_ip", "dst_ip"):
        parts += list(columns.words[side][rows].T)
    for part in parts:
        made = (made ^ part) * _MIX
        made ^= made >> _HALF
    return made
