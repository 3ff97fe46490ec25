"""Connections whose end was lost, and that a later listing of the kernel's table does not have: they ended before it.

A row of the table `listings` says: everything that was open in this namespace at `from` has a row of origin `dump`
before `to`. So a connection that is open on record, began before `from` and has no such row had ended; its end is then
`from`, the latest it can have been, for the reason `unknown`. A row of the same tuple is enough to stay open: this
errs on the side of a connection that seems to last.

Refuses to judge by a listing whose rows are not all among those looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from anetcon.identity.reconcile import TOLERANCE
from anetcon.identity.tuples import DUMP, OPEN, Array, flow_hash, new_key, numbers, rows_of
from anetcon.record import EndReason, label


@dataclass(frozen=True)
class Listing:
    """One namespace's table was listed from then on; its rows are behind the first `skipped` of those looked at."""

    inode: int
    start: int
    skipped: int


def listings(rows: pa.Table, flushes: list[tuple[int, int, int]]) -> list[Listing]:
    """The last listing of each namespace whose rows are all in these flushes: (from, to, rows) of each, in order."""
    latest: dict[int, Listing] = {}
    columns = [numbers(rows[name], OPEN).tolist() for name in ("netns_inode", "from", "to")]
    for inode, start, end in zip(*columns, strict=True) if flushes else ():
        whole = flushes[0][0] <= start and start <= end <= flushes[-1][1]
        if whole and (inode not in latest or latest[inode].start < start):
            latest[inode] = Listing(inode, start, _before(start, flushes))
    return list(latest.values())


def _before(start: int, flushes: list[tuple[int, int, int]]) -> int:
    """How many rows are in flushes that ended before then. Where capture had more to read, a flush has no length, and
    rows of the time up to the end of the next that has one: they count as if they were of that."""
    ended = max((number for number, (begin, end, _) in enumerate(flushes, 1) if begin < end < start), default=0)
    return sum(count for *_, count in flushes[:ended])


def absent(columns: dict[str, Array], opened: Array, first: int, found: list[Listing]) -> tuple[Array, Array]:
    """Which of the rows `opened` had ended, and when each at the latest. The rows from `first` on are those of the
    flushes that the listings were found in. For `columns` see `columns_of`."""
    inode = columns["netns_inode"]
    chosen: list[Array] = []
    ends: list[Array] = []
    if not found or not len(opened):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    listed = np.flatnonzero((columns["kind"][first:] == DUMP) & (columns["end"][first:] == OPEN)) + first
    compared = np.concatenate((opened, listed))
    hashes = np.zeros(len(inode), np.uint64)
    hashes[compared] = flow_hash(rows_of(columns, compared), new_key())
    for listing in found:
        there = listed[(inode[listed] == listing.inode) & (listed >= first + listing.skipped)]
        old = opened[(inode[opened] == listing.inode) & (columns["start"][opened] < listing.start - TOLERANCE)]
        gone = old[~np.isin(hashes[old], hashes[there])]
        chosen.append(gone)
        ends.append(np.full(len(gone), listing.start))
    return np.concatenate(chosen), np.concatenate(ends)


def ended(table: pa.Table, rows: Array, ends: Array) -> pa.Table:
    """These rows of `table` once more, as ends for an unknown reason."""
    some = table.take(pa.array(rows))
    reasons = pa.array([label(EndReason.UNKNOWN)] * len(rows), pa.string())
    for name, values in (("end", pa.array(ends)), ("end_reason", reasons)):
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        encoded = values.dictionary_encode() if pa.types.is_dictionary(field.type) else values
        some = some.set_column(at, field, encoded.cast(field.type))
    return some
