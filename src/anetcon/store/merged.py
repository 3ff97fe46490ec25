"""The rows of some files of connections as the rows of one, a row group at a time: so that a day fits into the memory
of a small router. Reads only.

Row groups are read in the order of their earliest time, as few at once as keep the rows about sorted. What is written
first is what came first, but nobody may rely on it: an old file may be in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anetcon import formats
from anetcon.identity.tuples import OPEN, Array, numbers
from anetcon.store import layout, parquet
from anetcon.store.draft import ROW_GROUP, SLOW, Draft
from anetcon.store.entry import Entry, microseconds

LONG_ROWS = 16_000
"""Rows of a row group of connections that lasted long: they are by their start, and each has times of its own."""

SLOW_ROWS = ROW_GROUP // 2
"""Rows of a row group of those that were slow: they are few, and wait for long until there are so many."""

PIECE = 50_000
"""Rows that are read at once."""

SPARE = 0.3
"""More than a row group is kept before one is written, for what is read next may have to be before its last rows."""


def merged(store: Path, entries: Sequence[Entry]) -> Iterator[pa.Table]:
    """The rows of files that have all short connections, or all long ones, a row group at a time in their order."""
    long = layout.is_long(entries[0].file)
    if long:
        lanes = [_Lane("start", LONG_ROWS, ROW_GROUP)]
    else:
        lanes = [_Lane("end", ROW_GROUP, round(ROW_GROUP * (1 + SPARE))), _Lane("end", SLOW_ROWS, SLOW_ROWS)]
    few = sum(entry.rows for entry in entries) <= ROW_GROUP
    for rows in _read(store, entries, "start" if long else "end"):
        if long or few:
            yield from lanes[0].add(rows)
            continue
        slow = _ends(rows) - numbers(rows["start"]) > SLOW
        for lane, chosen in zip(lanes, (~slow, slow), strict=True):
            yield from lane.add(rows.filter(pa.array(chosen)))
    for lane in lanes:
        yield from lane.rest()


class _Lane:
    """Rows that wait to be written, the earliest first, `size` at a time, once there are more than `most`."""

    def __init__(self, by: str, size: int, most: int) -> None:
        self._by, self._size, self._most = by, size, most
        self._waiting = list[pa.Table]()
        self._rows = 0

    def add(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Some rows more; the row groups that are full then."""
        if rows.num_rows:
            self._waiting.append(rows)
            self._rows += rows.num_rows
        while self._rows > self._most:
            yield self._next()

    def rest(self) -> Iterator[pa.Table]:
        """What is left."""
        while self._rows:
            yield self._next()

    def _next(self) -> pa.Table:
        draft = Draft.of(self._earliest())
        return parquet.fetch(draft.table, draft.ordered(draft.every()))

    def _earliest(self) -> pa.Table:
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        times = numbers(table["start"]) if self._by == "start" else _ends(table)
        first = np.zeros(len(times), np.bool_)
        first[np.argsort(times, kind="stable")[: self._size]] = True
        chosen = table.filter(pa.array(first))
        self._waiting = [table.filter(pa.array(~first)).combine_chunks()]
        self._rows -= chosen.num_rows
        return chosen


class _Piece(NamedTuple):
    """A row group of a file, by its earliest time."""

    begin: int
    file: str
    number: int


def _read(store: Path, entries: Sequence[Entry], by: str) -> Iterator[pa.Table]:
    """The row groups of these files."""
    for piece in sorted(piece for entry in entries for piece in _pieces(store, entry, by)):
        yield from row_group(store / piece.file, piece.number)


def row_group(path: Path, number: int) -> Iterator[pa.Table]:
    """The rows of one row group of a file, in the schema of the record, a piece at a time."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        metadata = file.schema_arrow.metadata
        for batch in file.iter_batches(PIECE, row_groups=[number], use_threads=False):
            yield formats.as_now(pa.Table.from_batches([batch]).replace_schema_metadata(metadata), path)


def _pieces(store: Path, entry: Entry, by: str) -> Iterator[_Piece]:
    said = pq.read_metadata(store / entry.file)
    column = said.schema.names.index(by)
    for number in range(said.num_row_groups):
        found = said.row_group(number).column(column).statistics
        known = found is not None and found.has_min_max
        yield _Piece(found.min_raw if known else microseconds(entry.start or entry.end or ""), entry.file, number)


def _ends(table: pa.Table) -> Array:
    """When each ended; where nobody knows, when it began."""
    ends = numbers(table["end"], OPEN)
    found: Array = np.where(ends == OPEN, numbers(table["start"]), ends)
    return found
