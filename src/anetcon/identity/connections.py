"""Journal-schema rows in, one row a connection out (the rules: package docstring). Refuses to loop over rows.

Nearly every connection is one START and one END, or a lone one of either: they are settled in a few passes over all
rows. What is left ("odd" rows: copies, reused tuples, missing times, hash collisions) is sorted and settled apart.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from anetcon.identity.reconcile import TOLERANCE, Settled, settle_odd
from anetcon.identity.tuples import (
    OPEN,
    SINGLE,
    Array,
    blocks,
    by_hash,
    columns_of,
    hash_words,
    new_key,
    rows_of,
    words,
)


def merge(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """One row a connection: (those that are over, those still open), each in the order of their rows in `table`.

    `table` has rows of the table `connections` in any order: a journal's events, open rows of an earlier merge, rows
    that ended already. Dictionaries may differ from chunk to chunk.
    """
    table = table.unify_dictionaries().combine_chunks()
    settled = settle(columns_of(table))
    table = mend(table, settled)
    return table.take(pa.array(settled.ended)), table.take(pa.array(settled.open))


def mend(table: pa.Table, settled: Settled) -> pa.Table:
    """Put the starts and origins in that `settled` asks for. The chunks of `table` have the same dictionaries."""
    if not len(settled.mended):
        return table
    rows = np.arange(table.num_rows)
    rows[settled.mended] = settled.source
    for number, name in enumerate(table.column_names):
        if name in ("start", "origin", "start_is"):
            table = table.set_column(number, table.schema.field(number), table[name].take(pa.array(rows)))
    return table


def settle(columns: dict[str, Array]) -> Settled:
    """Decide which row stands for which connection. For `columns` see `columns_of`.

    With a column `sealed`, of the copies of an END one that is sealed stands for the others.
    """
    single = columns["kind"] == SINGLE
    if not single.any():
        return _settle(columns)
    rows = np.flatnonzero(~single)
    some = _settle(rows_of(columns, rows))
    ended = np.sort(np.concatenate((rows[some.ended], np.flatnonzero(single))))
    return Settled(ended, rows[some.open], rows[some.mended], rows[some.source])


def _settle(columns: dict[str, Array]) -> Settled:
    """The same where no row is a connection by itself."""
    tuples, start, end = words(columns), columns["start"], columns["end"]
    rows = len(start)
    order, heads = by_hash(hash_words(tuples, rows, new_key()))
    lengths = np.diff(heads, append=rows)
    alone = order[heads[lengths == 1]]
    pairs = np.flatnonzero(lengths == 2)
    one, other = _by_row(order, heads[pairs])
    fine = np.concatenate([_are_one(one[block], other[block], tuples, start, end) for block in blocks(len(pairs))])
    odd = lengths != 1
    odd[pairs] = False
    ended = [alone[end[alone] != OPEN], other[fine]]
    still_open = [alone[end[alone] == OPEN]]
    mended = source = np.empty(0, np.int64)
    if odd.any() or not fine.all():
        row = np.concatenate((order[np.repeat(odd, lengths)], one[~fine], other[~fine]))
        run = np.concatenate(
            (np.repeat(np.arange(len(odd))[odd], lengths[odd]), *[len(odd) + np.flatnonzero(~fine)] * 2)
        )
        by_run = np.argsort(run, kind="stable")
        some = settle_odd(columns, tuples, row[by_run], run[by_run])
        ended.append(some.ended)
        still_open.append(some.open)
        mended, source = some.mended, some.source
    return Settled(np.sort(np.concatenate(ended)), np.sort(np.concatenate(still_open)), mended, source)


def _by_row(order: Array, at: Array) -> tuple[Array, Array]:
    """The rows at these places of `order` and the rows behind those, sorted by the latter: so that fetching values of
    them goes through memory in order. (Row numbers fit 32 bits: nobody merges four billion rows at once.)"""
    packed = order[at + 1].astype(np.uint64) << np.uint64(32) | order[at].astype(np.uint64)
    packed.sort()
    return (packed & np.uint64(0xFFFFFFFF)).astype(np.int64), (packed >> np.uint64(32)).astype(np.int64)


def _are_one(one: Array, other: Array, tuples: list[Array], start: Array, end: Array) -> Array:
    """Whether each two rows are a START and its END."""
    fine: Array = np.abs(start[one] - start[other]) <= TOLERANCE
    fine &= end[one] == OPEN
    fine &= end[other] != OPEN
    fine &= start[other] != end[other]
    for word in tuples:
        if len(word) > 1:
            fine &= word[one] == word[other]
    return fine
