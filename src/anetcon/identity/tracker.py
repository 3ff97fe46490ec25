"""A live stream's rows judged as they come: the first known of a connection, a repeat, or its end.

Cheap enough for every event: each row is compared only with the row before it of the same tuple, in this batch or from
earlier ones. Tuples are told apart by a keyed 64-bit hash alone, which is enough for a line in a log, not for the
store. Connections that ended are forgotten, the longest ago first, once there are many; never those open.

What is known is a hash table, a slot a tuple: key, and start with state. A whole batch is looked up at
once: its sorted hashes walk through the table in order, and those whose slot is taken by another try the next one.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon import ondisk
from anetcon.identity.odd import SLACK, TOLERANCE
from anetcon.identity.tuples import DUMP, OPEN, SINGLE, Array, by_hash, columns_of, flow_hash, new_key, rows_of

SMALLEST = 1 << 12
"""Slots to begin with, 16 bytes each."""

ENOUGH = 1 << 21
"""Slots up to which everything is remembered; beyond, only what is open and what ended lately."""

_MAGIC = b"anetcon tracker2"
"""What a file begins with; behind it position and count, the key, keys and values, the SHA-256 of all that."""

_NONE, _OPEN, _ENDED, _ENDED_LONG_AGO = range(4)
_STATE_BITS = 2
_STATE = 3


class Verdict(IntEnum):
    """What a row is to its connection. An END that is the first known of its connection is FIRST."""

    FIRST = 0
    REPEAT = 1
    END = 2


class Tracker:
    """What is known of the connections of a live stream."""

    def __init__(self, key: Array | None = None) -> None:
        self._key = new_key() if key is None else key
        self._used = 0
        self._allocate(SMALLEST)

    def _allocate(self, slots: int) -> None:
        self._keys, self._values = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
        self._shift = np.uint64(64 - (slots - 1).bit_length())

    @property
    def slots(self) -> int:
        """Size of the table."""
        return len(self._keys)

    def update(self, batch: pa.RecordBatch | pa.Table) -> Array:
        """Take in rows of the table `connections`, in the journal's order; returns the Verdict of each (int8)."""
        columns = columns_of(batch)
        single = columns["kind"] == SINGLE
        if not single.any():
            return self._update(columns)
        verdicts = np.full(len(single), Verdict.FIRST, np.int8)
        rows = np.flatnonzero(~single)
        verdicts[rows] = self._update(rows_of(columns, rows))
        return verdicts

    def _update(self, columns: dict[str, Array]) -> Array:
        """The same for rows of which none is a connection by itself."""
        hashes = flow_hash(columns, self._key)
        hashes[hashes == 0] = 1
        order, heads = by_hash(hashes)
        ordered = hashes[order]
        if np.count_nonzero(ordered[1:] != ordered[:-1]) >= max(len(heads), 1):
            order = np.argsort(hashes, kind="stable")  # by_hash drops bits, and two hashes differ in those alone
            ordered = hashes[order]
            heads = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        start, end, kind = (columns[name][order] for name in ("start", "end", "kind"))
        state = np.where(end == OPEN, _OPEN, _ENDED)
        slots = self._slots(ordered[heads])
        before = np.empty_like(start)
        before[1:] = start[:-1] << _STATE_BITS | state[:-1]
        before[heads] = self._values[slots]
        tails = np.append(heads[1:], len(start)) - 1 if len(heads) else heads
        self._values[slots] = start[tails] << _STATE_BITS | state[tails]
        verdicts = np.empty(len(start), np.int8)
        verdicts[order] = _judge(before >> _STATE_BITS, before & _STATE, start, end, kind == DUMP)
        return verdicts

    def _slots(self, keys: Array) -> Array:
        """The slot of each of these different keys; a key that has none gets one."""
        if (self._used + len(keys)) * 2 > len(self._keys):
            self._make_room(len(keys))
        slots = (keys >> self._shift).astype(np.int64)
        todo, here, wanted = np.arange(len(keys)), slots, keys
        while len(todo):
            free = self._keys[here] == 0
            self._keys[here[free]] = wanted[free]  # of several that want one slot the last one gets it
            found = self._keys[here] == wanted
            self._used += int(np.count_nonzero(free & found))
            missed = np.flatnonzero(~found)
            todo, wanted = todo[missed], wanted[missed]
            here = (here[missed] + 1) & (len(self._keys) - 1)
            slots[todo] = here
        return slots

    def _make_room(self, coming: int) -> None:
        """Twice the slots; or, when there are enough already, forget what ended before the last time it was so."""
        taken = np.flatnonzero(self._keys)
        keys, values = self._keys[taken], self._values[taken]
        if (len(keys) + coming) * 3 > ENOUGH:
            kept = values & _STATE != _ENDED_LONG_AGO
            keys, values = keys[kept], values[kept]
            values |= np.where(values & _STATE == _ENDED, _ENDED_LONG_AGO, 0)
        self._fill(keys, values, coming)

    def _fill(self, keys: Array, values: Array, coming: int = 0) -> None:
        self._allocate(max(SMALLEST, 1 << (3 * (len(keys) + coming)).bit_length()))
        self._used = 0
        self._values[self._slots(keys)] = values

    def save(self, path: Path, segment: int, line: int) -> None:
        """Write everything aside, sync and rename, with the journal position it is of. Raises OSError."""
        taken = np.flatnonzero(self._keys)
        head = np.array([segment, line, len(taken)], np.int64)
        parts = [_MAGIC, *(part.tobytes() for part in (head, self._key, self._keys[taken], self._values[taken]))]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        ondisk.replace(path, *parts, digest.digest(), sync=True)

    @classmethod
    def load(cls, path: Path) -> tuple[Tracker, int, int] | None:
        """What `save` wrote: the tracker and its position; None when there is none or it is damaged."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        size = hashlib.sha256().digest_size
        if not data.startswith(_MAGIC) or hashlib.sha256(data[:-size]).digest() != data[-size:]:
            return None
        words = np.frombuffer(data[len(_MAGIC) : -size], np.int64)
        segment, line, count = words[:3].tolist()
        tracker = cls(words[3 : -2 * count or None].view(np.uint64))
        tracker._fill(words[len(words) - 2 * count : len(words) - count].view(np.uint64), words[len(words) - count :])
        return tracker, segment, line


def _judge(before: Array, state: Array, start: Array, end: Array, dump: Array) -> Array:
    """The verdict of rows (start, end, dump) that come after rows with start `before` and this state."""
    opener, open_before, ended_before = end == OPEN, state == _OPEN, state >= _ENDED
    near = np.abs(start - before) <= TOLERANCE
    same = (before == start) & ended_before
    clocked = start == end  # the kernel gave no times
    known = near | clocked | dump | (before >= start - SLACK) & (before < end)
    verdicts = np.full(len(start), Verdict.FIRST, np.int8)
    verdicts[opener & (near & open_before | same & dump)] = Verdict.REPEAT
    verdicts[~opener & (same | ended_before & clocked & near)] = Verdict.REPEAT
    verdicts[~opener & open_before & known] = Verdict.END
    return verdicts
