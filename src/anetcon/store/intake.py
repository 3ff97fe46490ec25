"""What one seal takes of the journal: whole closed segments in order, up to a number of rows.

Reads only. What it came upon is in `through`, `damaged` and `torn` once its rows were taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from anetcon.gaps import Cause, Gap
from anetcon.identity.tuples import one_piece
from anetcon.journal.read import Line, is_closed, read_segment
from anetcon.journal.segment import Lost, Segment, torn
from anetcon.journal.write import segments
from anetcon.record import arrow_schema
from anetcon.store import layout, parquet
from anetcon.store.state import State

PIECE_ROWS = 50_000
"""Flushes smaller than this are put together when they are read."""


class Intake:
    """The segments behind those that a state has sealed; none further once `most` rows of a table are taken.

    `through` is the last segment of each table that is sealed or was taken, `damaged` what cannot be read back of these
    segments, `torn` what may be missing behind one that a crash ended.
    """

    def __init__(self, store: Path, state: State, most: int) -> None:
        self.through = dict(state.through)
        self.damaged: list[Gap] = []
        self.torn: list[Lost] = []
        self._store, self._state, self._most = store, state, most

    def table(self, table: str) -> pa.Table:
        """The rows of the next closed segments."""
        return pa.concat_tables([*self.pieces(table, PIECE_ROWS)])

    def pieces(self, table: str, most: int) -> Iterator[pa.Table]:
        """The same, at most so many rows at a time; at least one piece."""
        schema = arrow_schema(table)
        small = list[pa.RecordBatch]()
        rows = 0
        folder = layout.journal_folder(self._store, table)
        closed = list(closed_segments(self._store, self._state, table))
        these = [Segment(folder, number) for number in segments(folder) if closed and number >= closed[0]]
        unfinished = torn(these) if table == "connections" else {}
        for segment in these[: len(closed)]:
            if rows >= self._most:
                break
            for flush in segment.flushes():
                if flush.batch is None:
                    continue
                rows += flush.batch.num_rows
                small.append(flush.batch)
                if sum(batch.num_rows for batch in small) >= most:
                    yield from _slices(one_piece(small, schema), most)
                    small = []
            if lost := segment.lost():
                rows_lost = lost.rows if table == "connections" else None
                self.damaged.append(Gap(None, lost.start, lost.end, Cause.JOURNAL_DAMAGED, rows_lost))
            elif lost := unfinished.get(segment.number):
                self.torn.append(lost)
            self.through[table] = segment.number
        yield from _slices(one_piece(small, schema), most)

    def flushed(self) -> list[Line]:
        """The flushes of connections that were taken."""
        folder, before = layout.journal_folder(self._store, "connections"), self._state.through.get("connections", 0)
        taken = [number for number in segments(folder) if before < number <= self.through.get("connections", before)]
        return [line for number in taken for line in Segment(folder, number).good]

    def gaps(self) -> pa.Table:
        """Every gap of the last month and of the journal, also of segments that are still written to."""
        behind = self._state.through.get("gaps", 0)
        return self._known("gaps", 1, behind)

    def listings(self) -> pa.Table:
        """Every listing that may be about what is taken: of the last two months, and those in the journal."""
        return self._known("listings", 2, 0)

    def _known(self, table: str, months: int, behind: int) -> pa.Table:
        """The rows of the last months, and of the journal behind a segment."""
        folder, schema = layout.journal_folder(self._store, table), arrow_schema(table)
        sealed = [parquet.read_whole(self._store, entry) for entry in self._state.of(table)[-months:]]
        numbers = [number for number in segments(folder) if number > behind]
        batches = [f.batch for number in numbers for f in read_segment(folder, number) if f.batch is not None]
        return pa.concat_tables([*sealed, pa.Table.from_batches(batches, schema)])


def closed_segments(store: Path, state: State, table: str) -> Iterator[int]:
    """The segments that can be sealed, oldest first, up to the first that is still written to."""
    folder = layout.journal_folder(store, table)
    there = segments(folder)
    for number in there:
        if number > state.through.get(table, 0):
            if not is_closed(folder, number, there):
                return
            yield number


def _slices(table: pa.Table, most: int) -> Iterator[pa.Table]:
    for at in range(0, max(len(table), 1), most):
        yield table.slice(at, most)
