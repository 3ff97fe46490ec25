"""Journal-schema rows in, one row a connection out (the rules: package docstring). Refuses to loop over rows.

Nearly every connection is one START and one END, or a lone one of either: they are settled in a few passes over all
rows. What is left ("odd" rows: copies, reused tuples, missing times, hash collisions) is sorted and settled apart.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.identity.odd import TOLERANCE, Settled, settle_odd
from anetcon.identity.tuples import OPEN, Array, by_hash, columns_of, hash_words, new_key, words


def merge(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """One row a connection: (those that ended, those still open), each in the order of their rows in `table`.

    `table` has rows of the table `connections` in any order: a journal's events, open rows of an earlier merge, rows
    that ended already. Dictionaries may differ from chunk to chunk.
    """
    settled = settle(table)
    ended, still_open = (table.filter(_mask(table.num_rows, rows)) for rows in (settled.ended, settled.open))
    return mend(table, ended, settled), still_open


def mend(table: pa.Table, ended: pa.Table, settled: Settled) -> pa.Table:
    """Put the starts and origins that `settled` asks for into the ended rows (in the order of `settled.ended`)."""
    if not len(settled.mended):
        return ended
    where = _mask(ended.num_rows, np.searchsorted(settled.ended, settled.mended))
    for name in ("start", "origin"):
        column = ended[name].unify_dictionaries().combine_chunks()
        source = table[name].unify_dictionaries().take(pa.array(settled.source)).combine_chunks()
        number = ended.schema.get_field_index(name)
        ended = ended.set_column(number, ended.schema.field(number), pc.replace_with_mask(column, where, source))
    return ended


def settle(table: pa.Table) -> Settled:
    """Decide which row stands for which connection."""
    columns = columns_of(table)
    tuples = words(columns)
    rows = table.num_rows
    order, heads = by_hash(hash_words(tuples, rows, new_key()))
    start, end = columns["start"], columns["end"]
    lengths = np.diff(heads, append=rows)
    alone = order[heads[lengths == 1]]
    pair = heads[lengths == 2]
    one, other = order[pair], order[pair + 1]
    fine = (end[one] == OPEN) & (end[other] != OPEN)
    fine &= np.abs(start[one] - start[other]) <= TOLERANCE
    fine &= start[other] != end[other]
    for word in tuples:
        if len(word) == rows:
            fine &= word[one] == word[other]
    odd = lengths > 2
    odd[np.flatnonzero(lengths == 2)[~fine]] = True
    ended = [alone[end[alone] != OPEN], other[fine]]
    still_open = [alone[end[alone] == OPEN]]
    mended = source = np.empty(0, np.int64)
    if odd.any():
        runs = np.repeat(np.arange(np.count_nonzero(odd)), lengths[odd])
        some = settle_odd(columns, tuples, order[np.repeat(odd, lengths)], runs)
        ended.append(some.ended)
        still_open.append(some.open)
        mended, source = some.mended, some.source
    return Settled(np.sort(np.concatenate(ended)), np.sort(np.concatenate(still_open)), mended, source)


def _mask(rows: int, chosen: Array) -> pa.BooleanArray:
    mask = np.zeros(rows, np.bool_)
    mask[chosen] = True
    return pa.array(mask)


def merge_intervals(table: pa.Table) -> pa.Table:
    """One row an interval, for gaps, addresses and neighbours: of rows equal in all but `to` the latest `to` wins."""
    keys = [name for name in table.column_names if name != "to"]
    plain = pa.table({name: _plain(table[name]) for name in table.column_names})
    merged = plain.group_by(keys, use_threads=False).aggregate([("to", "max")]).rename_columns({"to_max": "to"})
    return merged.select(table.column_names).cast(table.schema)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
