"""The files of one commit: which rows are in which file, and what the manifest says of each.

Whoever adds files to a store (the sealer, an import) gives its rows to a FileWriter, and commits the entries that it
returns. A file that was written counts for nothing until then. Refuses to commit and to remove.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon.gaps import Gap
from anetcon.identity import merge_intervals
from anetcon.identity.tuples import OPEN, Array, numbers
from anetcon.record import arrow_schema
from anetcon.store import layout, parquet, parts
from anetcon.store.content import Content
from anetcon.store.draft import Draft, pieces
from anetcon.store.entry import Entry, rfc3339
from anetcon.store.state import State
from anetcon.system import ondisk


class FileWriter:
    """Writes the files of the commit behind `state`, at a time; at most so many rows of a part that have ended."""

    def __init__(self, store: Path, state: State, now: int, most: int = parts.PART_ROWS) -> None:
        self._store, self._state, self._most = store, state, min(parts.PART_ROWS, most)
        self._day = layout.day_of(now)
        self.seal = state.seal + 1

    def closed(self, rows: Draft, these: Array) -> list[Entry]:
        """Connections that ended, those of each node and day in files of their own."""
        return [
            self.kept(layout.connections_file(node, day, self.seal, long), rows, some)
            for (node, day, long), some in _partitions(rows, these)
        ]

    def kept(self, file: str, rows: Draft, these: Array) -> Entry:
        """Connections that ended, in one file."""
        return self._put("connections", file, rows.table, rows.groups(these), rows.times)

    def opened(self, rows: Draft, these: Array) -> Entry:
        """Connections that are open."""
        groups = rows.groups(these)
        return self._put("open", layout.open_file(self.seal), rows.table, groups, rows.times)

    def month(self, table: str, rows: pa.Table) -> list[Entry]:
        """The month's file of one of `layout.MONTHLY` again, with what is new. What is learnt in a month is in its
        file, and what lasted when it began: so the older months need not be read to know what lasts now."""
        if not rows.num_rows:
            return []
        month = self._day[:7]
        entries = self._state.of(table)
        # The clock may have been a month ahead: then this month's file is not the latest.
        tables = [rows, *(self._rows(entry) for entry in entries if layout.month_of_file(entry.file) == month)]
        if entries and layout.month_of_file(entries[-1].file) != month:
            tables.append(parts.lasting(self._rows(entries[-1])))
        merged = merge_intervals(pa.concat_tables(tables))
        return [self._interval(table, layout.interval_file(table, month, self.seal), merged)]

    def parts(self, table: str, pieces: Iterable[pa.Table], gaps: pa.Table) -> list[Entry]:
        """The day's current part of one of `layout.CUT_SHORT` again, with what is new, and as many parts behind it as
        that takes. `gaps` tell what did not last."""
        first, known = self._current_part(table)
        return [
            self._interval(table, layout.part_file(table, self._day, number, self.seal), rows)
            for number, rows in enumerate(parts.divided(known, pieces, gaps, self._most), first)
        ]

    def sync(self, entries: Sequence[Entry]) -> None:
        """Make the names of these files survive a power cut."""
        folders = {self._store / Path(entry.file).parent for entry in entries}
        for folder in folders | {up for f in folders for up in f.parents if up.is_relative_to(self._store)}:
            ondisk.sync_folder(folder)

    def _rows(self, entry: Entry) -> pa.Table:
        return parquet.read_whole(self._store, entry)

    def _current_part(self, table: str) -> tuple[int, pa.Table]:
        """The number of the part of the day that is to be written now, and the rows that it has already."""
        entries = self._state.of(table)
        numbered = [layout.part_of_file(entry.file) for entry in entries]
        last = max((part[1] for part in numbered if part is not None and part[0] == self._day), default=0)
        if not entries:
            return 1, arrow_schema(table).empty_table()
        latest = self._rows(entries[-1])
        if numbered[-1] == (self._day, last) and not parts.is_full(latest, self._most):
            return last, latest
        return last + 1, parts.lasting(latest)

    def _interval(self, table: str, file: str, rows: pa.Table) -> Entry:
        """Write a file of one of `layout.INTERVALS`."""
        times = numbers(rows["from"], OPEN), numbers(rows["to"], OPEN)
        return self._put(table, file, rows, pieces(np.arange(rows.num_rows)), times)

    def _put(self, kind: str, file: str, table: pa.Table, groups: list[Array], times: tuple[Array, Array]) -> Entry:
        """Write these rows; `times` has the first and the last time of each row of `table`, OPEN where unknown."""
        rows = np.concatenate(groups)
        starts, ends = (time[rows] for time in times)
        latest = max(int(starts.max()), int(ends.max()))
        return Entry(
            prev="",
            kind=kind,
            seal=self.seal,
            start=None if (starts == OPEN).any() else rfc3339(int(starts.min())),
            end=None if (ends == OPEN).any() else rfc3339(int(ends.max())),
            latest=None if layout.part_of_file(file) is None or latest == OPEN else rfc3339(latest),
            content=content_of(table, groups) if kind == "connections" else "",
            **parquet.put(self._store, file, parquet.encode(kind, table, groups), len(rows)),
        )


def content_of(table: pa.Table, groups: Iterable[Array]) -> str:
    """The sum of these rows of connections, as the manifest has it."""
    return str(Content.sum(Content.of(parquet.fetch(table, group)) for group in groups))


def rows_of_gaps(gaps: Iterable[Gap]) -> pa.Table:
    """Gaps as rows of their table."""
    rows, schema = [gap.row() for gap in gaps], arrow_schema("gaps")
    return pa.table([pa.array([row[field.name] for row in rows], field.type) for field in schema], schema=schema)


def _partitions(rows: Draft, these: Array) -> Iterator[tuple[tuple[str, str, bool], Array]]:
    """These rows by the file they belong in: (node, UTC day of the end, whether they lasted long). Where the end of a
    line of text is not known, its start stands for it."""
    if not len(these):
        return
    start, end = (time[these] for time in rows.times)
    nodes = rows.table["node"].chunk(0).dictionary.to_pylist()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in rows.table["node"].chunks])[these]
    key = (end // layout.DAY * 2 + (end - start > layout.LONG)) * len(nodes) + codes
    ordered = np.sort(key)  # np.unique takes ten times as long
    for value in ordered[np.flatnonzero(np.diff(ordered, prepend=-1))].tolist():
        day, long = divmod(value // len(nodes), 2)
        yield (nodes[value % len(nodes)], layout.day_of(day * layout.DAY), bool(long)), these[key == value]
