"""A live stream's rows judged as they come: the first known of a connection, a repeat, or its end.

Cheap enough for every event: each row is compared only with the last two connections of its tuple (`verdicts`), from
this batch or from earlier ones. Within a batch the kernel's times give the order, not the places of the rows. Tuples
are told apart by a keyed 64-bit hash alone, which is enough for a line in a log, not for the store. Connections that
ended are forgotten, the longest ago first, once there are many; of those open only the oldest of three.

What is known is a hash table, a slot a tuple: key, and the two connections. A whole batch is looked up at once: its
sorted hashes walk through the table in order, and those whose slot is taken by another try the next one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon.identity.tuples import DUMP, OPEN, SINGLE, Array, by_hash, columns_of, flow_hash, new_key, rows_of
from anetcon.identity.verdicts import ALONE, LONG_AGO, STATE, RunRows, Verdict, judge, moments, regular
from anetcon.system import ondisk

SMALLEST = 1 << 12
"""Slots to begin with, 24 bytes each."""

ENOUGH = 1 << 21
"""Slots up to which everything is remembered; beyond, only what is open and what ended lately."""

_MAGIC = b"anetcon tracker2"
"""What a file begins with; behind it position and count, the key, keys and both values, the SHA-256 of all that."""


class Tracker:
    """What is known of the connections of a live stream."""

    def __init__(self, key: Array | None = None) -> None:
        self._key = new_key() if key is None else key
        self._used = 0
        self._allocate(SMALLEST)

    def _allocate(self, slots: int) -> None:
        self._keys = np.zeros(slots, np.uint64)
        self._latest, self._before = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
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
        order, rows = _by_moment(order, heads, columns)
        slots = self._slots(ordered[heads])
        latest, before = self._latest[slots], self._before[slots]
        fine, *known = regular(rows, heads, latest, before)
        verdicts = np.empty(len(order), np.int8)
        verdicts[order] = np.where(rows.end == OPEN, np.int8(Verdict.FIRST), np.int8(Verdict.END))
        lengths, turn, active = np.diff(heads, append=len(order)), 0, np.flatnonzero(~fine)
        while len(active):
            at = heads[active] + turn
            verdicts[order[at]], latest[active], before[active] = judge(latest[active], before[active], rows.take(at))
            turn += 1
            active = active[lengths[active] > turn]
        latest, before = (np.where(fine, new, old) for new, old in zip(known, (latest, before), strict=True))
        self._latest[slots], self._before[slots] = latest, before
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
        known = [values[taken] for values in (self._keys, self._latest, self._before)]
        if (len(taken) + coming) * 3 > ENOUGH:
            old = [(values & STATE == LONG_AGO) | (values == 0) for values in known[1:]]
            known = [values[~(old[0] & old[1])] for values in known]
            known[1:] = [np.where(values & STATE >= ALONE, values & ~STATE | LONG_AGO, values) for values in known[1:]]
        self._fill(known[0], known[1], known[2], coming)

    def _fill(self, keys: Array, latest: Array, before: Array, coming: int = 0) -> None:
        self._allocate(max(SMALLEST, 1 << (3 * (len(keys) + coming)).bit_length()))
        self._used = 0
        slots = self._slots(keys)
        self._latest[slots], self._before[slots] = latest, before

    def save(self, path: Path, segment: int, line: int) -> None:
        """Write everything aside, sync and rename, with the journal position it is of. Raises OSError."""
        taken = np.flatnonzero(self._keys)
        head = np.array([segment, line, len(taken)], np.int64)
        known = (values[taken] for values in (self._keys, self._latest, self._before))
        parts = [_MAGIC, *(part.tobytes() for part in (head, self._key, *known))]
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
        known = len(words) - 3 * count
        tracker = cls(words[3:known].view(np.uint64))
        keys, latest, before = words[known:].reshape(3, count)
        tracker._fill(keys.view(np.uint64), latest, before)
        return tracker, segment, line


def _by_moment(order: Array, heads: Array, columns: dict[str, Array]) -> tuple[Array, RunRows]:
    """The rows of each tuple in the order in which they are to be judged."""
    start, end, kind, found = (columns[name][order] for name in ("start", "end", "kind", "found"))
    lengths = np.diff(heads, append=len(order))
    pairs = heads[lengths == 2]
    one, other = (moments(start[at], end[at]) for at in (pairs, pairs + 1))
    wrong = [pairs[one > other]]
    at = np.arange(len(order))
    at[wrong[0]] += 1
    at[wrong[0] + 1] -= 1
    if (lengths > 2).any():
        many = np.flatnonzero(np.repeat(lengths > 2, lengths))
        at[many] = many[np.lexsort((moments(start[many], end[many]), np.repeat(heads, lengths)[many]))]
        wrong.append(many)
    rows = RunRows(start, end, kind == DUMP, found)
    return (order[at], rows.take(at)) if any(len(rows) for rows in wrong) else (order, rows)
