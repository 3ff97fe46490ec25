"""Rows of every table but connections: which of them are one interval, and where one ends that was cut
short. Pure functions over columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from anetcon.gaps import Cause, Mark
from anetcon.identity.tuples import OPEN, numbers

SILENT = sorted(Cause.having(Mark.SILENT))


def merge_intervals(table: pa.Table) -> pa.Table:
    """One row an interval: of rows equal in all but `to` the latest `to` wins. How many a gap lost may be known at its
    end only, so that an open one is ended by a row with another count."""
    keys = [name for name in table.column_names if name != "to"]
    plain = pa.table({name: _plain(table[name]) for name in table.column_names})
    merged = plain.group_by(keys, use_threads=False).aggregate([("to", "max")]).rename_columns({"to_max": "to"})
    merged = merged.select(table.column_names)
    if "lost" in keys and len(merged):
        merged = merged.filter(_last(merged, [name for name in keys if name != "lost"]))
    return merged.cast(table.schema)


def _last(gaps: pa.Table, keys: list[str]) -> pa.Array:
    """Which of these rows is not open while another of the same gap has ended."""
    codes = [gaps[key].combine_chunks().dictionary_encode("encode").indices.to_numpy() for key in keys]
    _, gap = np.unique(np.stack(codes), axis=1, return_inverse=True)
    ended = gaps["to"].is_valid().to_numpy()
    return pa.array(ended | ~np.isin(gap, gap[ended]))


def cut_intervals(table: pa.Table, gaps: pa.Table) -> pa.Table:
    """Addresses, neighbours or routes, merged, of which none lasts beyond the moment its node's recording stopped
    without a word (rows of `gaps`): what is still so afterwards was found again then, and is another interval."""
    at = numbers(gaps["from"], OPEN)
    silent = np.isin(_plain(gaps["cause"]).to_numpy(), SILENT) & (at != OPEN)
    if not silent.any():
        return table
    start, end = numbers(table["from"], OPEN).copy(), numbers(table["to"], OPEN).copy()
    nodes, stopped = (_plain(each["node"]).to_numpy() for each in (table, gaps))
    for node in np.unique(stopped[silent]):
        stops = np.append(np.sort(at[silent & (stopped == node)]), np.iinfo(np.int64).max)
        rows = np.flatnonzero((nodes == node) & (end == OPEN))
        first = stops[np.searchsorted(stops, start[rows])]
        end[rows] = np.where(first == stops[-1], OPEN, first)
    ends = pa.array(end, mask=end == OPEN).cast(table.schema.field("to").type)
    return table.set_column(table.schema.get_field_index("to"), table.schema.field("to"), ends)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
