"""The rows that are not simply one START and one END: copies, tuples used again, times the kernel did not give.

Rules 1 to 4 of the package docstring, each one pass over arrays sorted by tuple and start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anetcon.identity.tuples import DUMP, OPEN, Array

TOLERANCE = 1_000_000
"""Microseconds between an opener's start and the kernel start of its END (measured: 0.3-95 us, either way)."""

SLACK = 1_000
"""Microseconds an opener may seem to precede the connection it belongs to."""

_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Settled:
    """Row numbers: those that stand for a connection that `ended`, and for one still `open`.

    The ended row `mended[i]` gets its start and origin from the row `source[i]`.
    """

    ended: Array
    open: Array
    mended: Array
    source: Array


class _Rows:
    """Parallel arrays, sorted by tuple (`group`) and start; `row` leads back to the table."""

    def __init__(self, columns: dict[str, Array], group: Array, row: Array) -> None:
        start, end, dump = columns["start"][row], columns["end"][row], columns["kind"][row] == DUMP
        sealed = columns["sealed"][row] if "sealed" in columns else np.zeros(len(row), np.bool_)
        # At one start: ENDs before openers, sealed ones first, events before dumps, the earliest end first. So the
        # first of copies is the best.
        order = np.lexsort((row, end, dump, ~sealed, end == OPEN, start, group))
        group, start, end = group[order], start[order], end[order]
        copy = np.zeros(len(order), np.bool_)
        copy[1:] = (group[1:] == group[:-1]) & (start[1:] == start[:-1]) & (end[1:] != OPEN) & (end[:-1] != OPEN)
        self.row = row[order][~copy]
        self.group, self.start, self.end = group[~copy], start[~copy], end[~copy]
        self.dump, self.ct_id = columns["kind"][self.row] == DUMP, columns["ct_id"][self.row]
        self.ends = self.end != OPEN
        self.clocked = self.start == self.end
        self.restored = columns["found"][self.row] & self.ends & ~self.clocked

    def nearest(self, chosen: Array) -> tuple[Array, Array]:
        """For each row the last chosen one up to it and the first from it on, of the same tuple; else -1."""
        at = np.arange(len(self.row))
        before = np.maximum.accumulate(np.where(chosen, at, -1))
        behind = np.minimum.accumulate(np.where(chosen, at, len(at))[::-1])[::-1]
        behind = np.where(behind == len(at), -1, behind)
        before[self.group[before] != self.group] = -1
        behind[self.group[behind] != self.group] = -1
        return before, behind


def settle_odd(columns: dict[str, Array], tuples: list[Array], row: Array, runs: Array) -> Settled:
    """Decide which of the table's rows `row`, in runs of equal hash, stand for which connection."""
    rows = _Rows(columns, _exact(tuples, row, runs), row)
    owner = _claimed(rows)
    adopted = _adopt(rows, owner)
    opened = np.flatnonzero(owner >= 0)
    owners, first = np.unique(owner[opened], return_index=True)
    earliest = opened[first]
    mend = (rows.clocked[owners] | adopted[owners]) & (rows.start[earliest] < rows.start[owners])
    ended = rows.row[rows.ends & ~_clock_copies(rows, owners)]
    mended, source = rows.row[owners[mend]], rows.row[earliest[mend]]
    ascending = np.argsort(mended)
    return Settled(ended, rows.row[_open(rows, owner)], mended[ascending], source[ascending])


def _exact(tuples: list[Array], row: Array, runs: Array) -> Array:
    """A number for each tuple: that of its run, unless two tuples share a hash."""
    compared = [word[row] for word in tuples if len(word) > 1]
    first = np.flatnonzero(np.diff(runs, prepend=-1))
    head = np.repeat(first, np.diff(first, append=len(runs)))
    if all((word == word[head]).all() for word in compared):
        return runs
    order = np.lexsort((*compared, runs))
    changed = np.diff(runs[order], prepend=-1) != 0
    for word in compared:
        changed[1:] |= word[order][1:] != word[order][:-1]
    group = np.empty_like(runs)
    group[order] = np.cumsum(changed)
    return group


def _claimed(rows: _Rows) -> Array:
    """Rule 2: for each row the position of the END it belongs to, or -1."""
    before, behind = rows.nearest(rows.ends)
    since = np.where(before >= 0, rows.start - rows.start[before], _FAR)
    until = np.where(behind >= 0, rows.start[behind] - rows.start, _FAR)
    owner = np.where((before >= 0) & ((since == 0) | (rows.start < rows.end[before])), before, -1)
    owner = np.where(until <= SLACK, behind, owner)
    nearest, distance = np.where(since <= until, before, behind), np.minimum(since, until)
    near = np.flatnonzero((distance <= TOLERANCE) & ~rows.ends)
    near = near[np.lexsort((distance[near], nearest[near]))]
    claims = near[np.flatnonzero(np.diff(nearest[near], prepend=-1))]
    owner[claims] = nearest[claims]
    owner[rows.ends] = -1
    return owner


def _adopt(rows: _Rows, owner: Array) -> Array:
    """Rule 3: give what is left of the openers to the next END without a kernel start; returns which ENDs took some."""
    adopted = np.zeros(len(owner), np.bool_)
    _, behind = rows.nearest(rows.ends)
    own = (owner < 0) & ~rows.ends & (behind >= 0) & rows.restored[behind] & (rows.ct_id == rows.ct_id[behind])
    owner[own] = behind[own]
    adopted[behind[own]] = True
    lonely = rows.ends & (rows.clocked | rows.dump)
    lonely[owner[owner >= 0]] = False
    _, behind = rows.nearest(lonely)
    left = np.flatnonzero((owner < 0) & ~rows.ends & (behind >= 0))
    owner[left] = behind[left]
    adopted[behind[left]] = True
    return adopted


def _clock_copies(rows: _Rows, owners: Array) -> Array:
    """Rule 3: which ENDs carry our clock, have no opener, and follow another such END within a second."""
    copies: Array = rows.clocked.copy()
    copies[owners] = False
    copies[:1] = False
    copies[1:] &= rows.clocked[:-1] & (rows.group[1:] == rows.group[:-1])
    copies[1:] &= rows.start[1:] - rows.start[:-1] <= TOLERANCE
    return copies


def _open(rows: _Rows, owner: Array) -> Array:
    """Rule 4: the positions of the openers that stand for a connection still open."""
    left = np.flatnonzero((owner < 0) & ~rows.ends)
    group, start, dump, ct_id = (values[left] for values in (rows.group, rows.start, rows.dump, rows.ct_id))
    ends_before = np.cumsum(rows.ends)[left]
    other = np.ones(len(left), np.bool_)
    repeated = (start[1:] - start[:-1] <= TOLERANCE) | (dump[1:] & (ct_id[1:] == ct_id[:-1]))
    other[1:] = (group[1:] != group[:-1]) | (ends_before[1:] != ends_before[:-1]) | ~repeated
    cluster = np.cumsum(other)
    order = np.lexsort((start, dump, cluster))
    first = order[np.flatnonzero(np.diff(cluster[order], prepend=0))]
    chosen: Array = left[first]
    return chosen
