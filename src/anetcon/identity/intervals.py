"""Rows of every table but connections: which of them are one interval, and where one ends that was cut
short. Pure functions over columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from anetcon.identity.tuples import OPEN, numbers

SILENT = ("daemon-down", "capture-down")
"""Causes of gaps at whose beginning everything that lasted was lost sight of."""


def merge_intervals(table: pa.Table) -> pa.Table:
    """One row an interval: of rows equal in all but `to` the latest `to` wins."""
    keys = [name for name in table.column_names if name != "to"]
    plain = pa.table({name: _plain(table[name]) for name in table.column_names})
    merged = plain.group_by(keys, use_threads=False).aggregate([("to", "max")]).rename_columns({"to_max": "to"})
    return merged.select(table.column_names).cast(table.schema)


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
