"""Closed journal segments become the store: merged, written as Parquet, committed in the manifest, dropped.

A seal takes closed segments in order, about a million rows at most. Of the tables that others decide the number of rows
of (`layout.CUT_SHORT`) it holds a piece and a part at a time (`parts`). When memory does not do for that, it is told to
take less. Steps: write every file aside and name it
(`parquet`), sync the folders, append to the manifest (the commit), remove what it replaced, drop segments that nobody
needs. A crash before the commit leaves files that count for nothing, which the next seal writes again or removes; a
crash behind it leaves only things to remove. Nothing is ever dropped that is not committed.

ENDs can come again after their connection was sealed (copies, while another listener on the host is stuck), so the
latest sealed ends take part in the next merge, without being written again. One process seals, under the daemon's lock;
while an import writes (`store.lock`), it waits for its next turn.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from anetcon.errors import StoreError
from anetcon.gaps import Cause, Gap
from anetcon.identity import connections, merge_intervals
from anetcon.identity.reconcile import Settled
from anetcon.identity.tuples import IDENTITY, OPEN, SINGLE, Array, columns_of, numbers, one_piece, rows_of
from anetcon.journal.read import is_closed, last_written, read_segment
from anetcon.journal.segment import Lost, Segment, torn
from anetcon.journal.write import segment_path, segments
from anetcon.record import TABLES, arrow_schema
from anetcon.store import (
    followers as behind,
)
from anetcon.store import (
    layout,
    lock,
    manifest,
    missed_ends,
    parquet,
    parts,
    retain,
    spill,
)
from anetcon.store.damage import unexplained
from anetcon.store.limits import Limits
from anetcon.store.retain import Cut, Disk

ENOUGH_ROWS = 500_000
"""Events after which a seal takes no further segment. A segment has up to about a million and is never split."""

PIECE_ROWS = 50_000
"""Flushes smaller than this are put together when they are read."""

SAVED_SEALS = 100
"""After so many seals what counts is saved for readers. To read the lines of as many takes them 2 ms; to save a year's
files takes the sealer half a second."""

LEAST_ROWS = 5_000
"""A seal that takes fewer events would not take less memory: a segment is never split."""

REMEMBERED = 300_000_000
"""How many microseconds before the newest END the ends sealed last are still compared with what comes."""

REMEMBERED_ROWS = 100_000
"""And how many of them at most."""


@dataclass
class Statistics:
    """What was sealed since the start."""

    seals: int = 0
    events: int = 0
    connections: int = 0
    bytes: int = 0


class Sealer:
    """Seals one store. What it knows is read once; between its seals nobody else writes what it writes."""

    def __init__(
        self,
        store: Path,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        limits: Limits | None = None,
        node: str = "",
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self.node = node
        self.statistics = Statistics()
        self._clock = clock
        self._known: manifest.State | None = None
        self._remembered: dict[str, Array] = {}
        self._gaps: list[Gap] = []
        self._torn: list[Lost] = []
        self._given_up = 0
        self._alone = False
        self._most = ENOUGH_ROWS

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Whether it is our turn: nobody else changes what counts meanwhile, and what is known of it is so."""
        if self._alone or not self.store.is_dir():
            yield True
            return
        with lock.turn(self.store, wait=False) as turn:
            if turn is None:
                yield False
                return
            if self._known is not None and (turn.left_behind or manifest.size(self.store) != self._known.size):
                self._known = None
            if turn.left_behind:
                self._state()
                turn.end()
            self._alone = True
            try:
                yield True
            finally:
                self._alone = False

    def pending(self) -> bool:
        """Whether a closed segment waits to be sealed. Cheap. Raises StoreError when the manifest is damaged."""
        with self._turn() as ours:
            return ours and any(True for table in TABLES for _ in self._closed(self._state(), table))

    def seal(self) -> bool:
        """Seal what is closed, as much as one seal takes; returns whether there was anything.

        Raises StoreError or OSError: nothing is lost then, and the next call does it again.
        """
        with self._turn() as ours:
            return ours and self.pending() and self._seal(self._state())

    def take_less(self) -> int | None:
        """Take fewer rows at once from now on, for memory did not do; how many, None when fewer would not help."""
        if self._most <= LEAST_ROWS:
            return None
        self._most //= 4
        return self._most

    def _seal(self, state: manifest.State) -> bool:
        self._known = None  # until all went well: after a failure everything is read again
        replaced = {entry.file for entry in state.snapshots.values()}
        try:
            files, events = self._write(state)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                sweep(self.store, state)  # what was written for nothing is room for the journal
            raise
        self._known = state
        if state.seal - state.saved >= SAVED_SEALS:
            with contextlib.suppress(OSError, ValueError):  # readers take longer, that is all
                manifest.save(self.store, state)
        for file in replaced - {entry.file for entry in state.snapshots.values()}:
            (self.store / file).unlink(missing_ok=True)
        self.statistics.seals += 1
        self.statistics.events += events
        self.statistics.connections += sum(file["rows"] for file in files if file["kind"] == "connections")
        self.statistics.bytes += sum(file["bytes"] for file in files)
        self.drop()
        return True

    def _write(self, state: manifest.State) -> tuple[list[dict[str, Any]], int]:
        """Write and commit a seal; its files, and how many events are in them."""
        through = dict(state.through)
        self._gaps, self._torn = [], []
        files, remembered, events = self._connections(state, through)
        told = self._told(state)
        most = min(parts.PIECE_ROWS, self._most)
        for table in layout.CUT_SHORT:
            files += self.put_parts(state, table, self._pieces(state, table, through, most), told)
        taken = {table: self._take(state, table, through) for table in layout.MONTHLY}
        self._give_up(through.get("connections", 0))
        if self._torn:
            for lost in unexplained(self._torn, told):
                self._gap(Gap(None, lost.start, lost.end, Cause.JOURNAL_DAMAGED, lost.rows))
        taken["gaps"] = pa.concat_tables([taken["gaps"], rows_of_gaps(self._gaps)])
        for table, rows in taken.items():
            files += self.put_month(state, table, rows)
        self.sync_folders(files)
        manifest.append(self.store, state, files, through, self._clock())
        self._remembered = remembered
        return files, events

    def retain(self) -> Cut | None:
        """Remove what is too old or too much, if anything is: committed first, then unlinked. What was removed, None
        when nothing was. Raises StoreError or OSError: then nothing is lost that was not to go."""
        with self._turn() as ours:
            return self._retain(self._state()) if ours else None

    def _retain(self, state: manifest.State) -> Cut | None:
        cut = retain.cut(state, self.limits, self._disk(state), self._clock())
        if cut is None:
            return None
        gone = manifest.retire(self.store, state, cut.before, self._clock())
        for entry in gone:
            (self.store / entry.file).unlink(missing_ok=True)
        _remove_empty_days(self.store, gone)
        return cut

    def _disk(self, state: manifest.State) -> Disk:
        found = shutil.disk_usage(self.store)
        sealed = sum(entry.bytes for entry in (*state.connections, *state.snapshots.values()))
        journal = sum(behind.size(self.store, table, number) for table in TABLES for number in self._segments(table))
        return Disk(found.total, found.free, sealed + state.size + journal)

    def _segments(self, table: str) -> list[int]:
        return segments(layout.journal_folder(self.store, table))

    def _give_up(self, through: int) -> None:
        """Decide which sealed segments are kept no longer for followers that are behind, and note the gap."""
        found = shutil.disk_usage(self.store)
        pressed = found.free < self.limits.floor(found.total)
        limit = min(self.limits.journal, behind.PRESSED) if pressed else self.limits.journal
        given = behind.give_up(self.store, through, limit)
        if given is not None and given.segment > self._given_up:
            self._given_up = given.segment
            self._gap(Gap(None, given.start, given.end, Cause.SINK_BEHIND, given.rows))

    def _told(self, state: manifest.State) -> pa.Table:
        """Every gap of the last month and of the journal, also of segments that are still written to."""
        folder = layout.journal_folder(self.store, "gaps")
        behind = [number for number in segments(folder) if number > state.through.get("gaps", 0)]
        rows = [f.batch for number in behind for f in read_segment(folder, number) if f.batch is not None]
        sealed = [self.read(entry) for entry in state.of("gaps")[-1:]]
        return pa.concat_tables([*sealed, pa.Table.from_batches(rows, arrow_schema("gaps"))])

    def _gap(self, gap: Gap) -> None:
        self._gaps.append(gap._replace(node=self.node))

    def drop(self) -> None:
        """Remove the journal segments that are sealed, that every follower has passed or that are kept for it no
        longer, and that are not the last: also one that has no line yet is behind the one that says when it wrote."""
        with self._turn() as ours:
            if ours:
                self._drop(self._state().through)

    def _drop(self, through: dict[str, int]) -> None:
        for table in TABLES:
            folder = layout.journal_folder(self.store, table)
            passed = through.get(table, 0)
            if table == "connections":
                needed = min((number - 1 for number in behind.needed(self.store)), default=passed)
                passed = min(passed, max(needed, self._given_up))
            there = segments(folder)
            last = max(there, default=0)
            if table == "connections" and (written := last_written(folder)) is not None:
                last = min(last, written[0])
            for number in there:
                if number <= passed and number < last:
                    # The index first: without it the segment is not there.
                    segment_path(folder, number, "index").unlink(missing_ok=True)
                    segment_path(folder, number).unlink(missing_ok=True)

    def _state(self) -> manifest.State:
        """What counts now. Only in our turn, or where nobody else has one."""
        if self._known is None:
            state = manifest.replay(self.store)
            sweep(self.store, state)
            self._remembered = _remember_again(self.store, state)
            for table, number in state.through.items():
                # The last segment is never dropped: where it is older than what is sealed, somebody removed the
                # journal and it was begun again at 1. Taken for sealed, its segments would be dropped unread.
                if max(segments(layout.journal_folder(self.store, table)), default=number) < number:
                    state.through = state.through | {table: 0}
            self._known = state
        return self._known

    def _closed(self, state: manifest.State, table: str) -> Iterator[int]:
        """The segments that can be sealed, oldest first, up to the first that is still written to."""
        folder = layout.journal_folder(self.store, table)
        there = segments(folder)
        for number in there:
            if number > state.through.get(table, 0):
                if not is_closed(folder, number, there):
                    return
                yield number

    def _take(self, state: manifest.State, table: str, through: dict[str, int]) -> pa.Table:
        """The rows of the next closed segments; `through` is told the last of them."""
        return pa.concat_tables([*self._pieces(state, table, through, PIECE_ROWS)])

    def _pieces(self, state: manifest.State, table: str, through: dict[str, int], most: int) -> Iterator[pa.Table]:
        """The same, at most so many rows at a time; at least one piece."""
        schema = arrow_schema(table)
        small = list[pa.RecordBatch]()
        rows = 0
        folder, closed = layout.journal_folder(self.store, table), list(self._closed(state, table))
        these = [Segment(folder, number) for number in self._segments(table) if closed and number >= closed[0]]
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
                self._gap(Gap(None, lost.start, lost.end, Cause.JOURNAL_DAMAGED, rows_lost))
            elif lost := unfinished.get(segment.number):
                self._torn.append(lost)
            through[table] = segment.number
        yield from _slices(one_piece(small, schema), most)

    def _connections(
        self, state: manifest.State, through: dict[str, int]
    ) -> tuple[list[dict[str, Any]], dict[str, Array], int]:
        """Write what ended and what is open; returns the files, the ends to remember and the number of events."""
        tables = [*(self.read(entry) for entry in state.of("open")), self._take(state, "connections", through)]
        events = tables[-1].num_rows
        table, columns, settled = self._settle(tables)
        first = len(columns["start"]) - table.num_rows
        gone, ends = self._absent(state, through, columns, settled.open, events)
        if len(gone):
            table, columns, settled = self._settle([*tables, missed_ends.ended(table, gone - first, ends)])
        new = settled.ended[settled.ended >= first]
        remembered = _remember(columns, np.concatenate((np.arange(first), new)), self._clock())
        settled = _without(settled, first)
        table = connections.mend(table, settled)
        words = [columns[name][first:].view(np.uint64) for name in ("src_ip", "dst_ip")]
        times = numbers(table["start"]), columns["end"][first:]
        files = self.put_ended(state.seal + 1, table, settled.ended, words, times)
        if len(settled.open):
            files.append(self.put_open(state.seal + 1, table, settled.open, words, times))
        return files, remembered, events

    def _settle(self, tables: list[pa.Table]) -> tuple[pa.Table, dict[str, Array], Settled]:
        """These rows in one table, its identity columns behind those that are remembered, and which stand for what."""
        table = pa.concat_tables(tables).unify_dictionaries()
        columns = columns_of(table, self._remembered)
        rows = len(columns["start"])
        return table, columns, connections.settle({**columns, "sealed": np.arange(rows) < rows - table.num_rows})

    def _absent(
        self, state: manifest.State, through: dict[str, int], columns: dict[str, Array], opened: Array, events: int
    ) -> tuple[Array, Array]:
        """Which of the `opened` connections a listing of the kernel's table, taken after a loss, does not have any
        more, and since when. The last `events` rows are those of the segments taken."""
        folder, before = layout.journal_folder(self.store, "connections"), state.through.get("connections", 0)
        taken = [
            number for number in self._segments("connections") if before < number <= through.get("connections", before)
        ]
        known = self._listings(state)
        lines = [line for number in taken for line in Segment(folder, number).good] if len(known) else []
        written = [(line.start, line.end, line.rows) for line in lines]
        return missed_ends.absent(columns, opened, len(columns["start"]) - events, missed_ends.listings(known, written))

    def _listings(self, state: manifest.State) -> pa.Table:
        """Every listing that may be about what is sealed now: of the last two months, and those in the journal."""
        tables = [self.read(entry) for entry in state.of("listings")[-2:]]
        folder, schema = layout.journal_folder(self.store, "listings"), arrow_schema("listings")
        for number in self._segments("listings"):
            batches = [flush.batch for flush in read_segment(folder, number) if flush.batch is not None]
            tables.append(pa.Table.from_batches(batches, schema))
        return pa.concat_tables([schema.empty_table(), *tables])

    def put_ended(
        self, seal: int, table: pa.Table, rows: Array, words: list[Array], times: tuple[Array, Array]
    ) -> list[dict[str, Any]]:
        """Write the files of these ended rows. `words` are the source and destination addresses of all of `table`, as
        (n, 2) words, `times` their starts and ends; its chunks have the same dictionaries."""
        return [
            self.put(layout.connections_file(node, day, seal, long), table, some, words, times)
            for (node, day, long), some in _partitions(table, rows, times)
        ]

    def put(
        self, file: str, table: pa.Table, rows: Array, words: list[Array], times: tuple[Array, Array]
    ) -> dict[str, Any]:
        """Write one file of ended rows; for the rest see `put_ended`."""
        return self._put("connections", file, table, parquet.by_address(rows, *words), times)

    def put_open(
        self, seal: int, table: pa.Table, rows: Array, words: list[Array], times: tuple[Array, Array]
    ) -> dict[str, Any]:
        """Write the file of these open rows; for the rest see `put_ended`."""
        return self._put("open", layout.open_file(seal), table, parquet.by_address(rows, *words), times)

    def put_month(self, state: manifest.State, table: str, rows: pa.Table) -> list[dict[str, Any]]:
        """Write the month's file again with what is new. What is learnt in a month is in its file, and what lasted
        when it began: so the older months need not be read to know what lasts now."""
        if not rows.num_rows:
            return []
        month = layout.day_of(self._clock())[:7]
        entries = state.of(table)
        # The clock may have been a month ahead: then this month's file is not the latest.
        tables = [rows, *(self.read(entry) for entry in entries if layout.month_of_file(entry.file) == month)]
        if entries and layout.month_of_file(entries[-1].file) != month:
            tables.append(parts.lasting(self.read(entries[-1])))
        merged = merge_intervals(pa.concat_tables(tables))
        return [self._put_intervals(table, layout.interval_file(table, month, state.seal + 1), merged)]

    def put_parts(
        self, state: manifest.State, table: str, pieces: Iterable[pa.Table], gaps: pa.Table
    ) -> list[dict[str, Any]]:
        """Write the day's current part again with what is new, and as many parts behind it as that takes. `gaps` tell
        what did not last."""
        day = layout.day_of(self._clock())
        most = min(parts.PART_ROWS, self._most)
        first, known = self._current_part(state.of(table), day, most)
        known = arrow_schema(table).empty_table() if known is None else known
        return [
            self._put_intervals(table, layout.part_file(table, day, number, state.seal + 1), rows)
            for number, rows in enumerate(parts.divided(known, pieces, gaps, most), first)
        ]

    def _current_part(self, entries: list[manifest.Entry], day: str, most: int) -> tuple[int, pa.Table | None]:
        """The number of the part of a day that is to be written now, and the rows that it has already."""
        numbered = [layout.part_of_file(entry.file) for entry in entries]
        last = max((part[1] for part in numbered if part is not None and part[0] == day), default=0)
        if not entries:
            return 1, None
        latest = self.read(entries[-1])
        if numbered[-1] == (day, last) and not parts.is_full(latest, most):
            return last, latest
        return last + 1, parts.lasting(latest)

    def _put_intervals(self, table: str, file: str, rows: pa.Table) -> dict[str, Any]:
        """Write a file of one of `layout.INTERVALS`."""
        times = numbers(rows["from"], OPEN), numbers(rows["to"], OPEN)
        said = self._put(table, file, rows, parquet.pieces(np.arange(rows.num_rows)), times)
        if layout.part_of_file(file) is None:
            return said
        latest = max(int(time.max()) for time in times)
        return {**said, "latest": None if latest == OPEN else manifest.rfc3339(latest)}

    def read(self, entry: manifest.Entry) -> pa.Table:
        """The rows of a file. Raises StoreError."""
        return parquet.read_sealed(self.store, entry).cast(arrow_schema(TABLE_OF.get(entry.kind, entry.kind)))

    def _put(
        self, kind: str, file: str, table: pa.Table, groups: list[Array], times: tuple[Array, Array]
    ) -> dict[str, Any]:
        """Write these rows; `times` has the first and the last time of each row of `table`, OPEN where unknown."""
        rows = np.concatenate(groups)
        said = parquet.put(self.store, file, parquet.encode(table, groups), len(rows))
        starts, ends = (time[rows] for time in times)
        return {
            "kind": kind,
            **said,
            "start": None if (starts == OPEN).any() else manifest.rfc3339(int(starts.min())),
            "end": None if (ends == OPEN).any() else manifest.rfc3339(int(ends.max())),
        }

    def sync_folders(self, files: list[dict[str, Any]]) -> None:
        """Make the names of these files survive a power cut."""
        folders = {self.store / Path(file["file"]).parent for file in files}
        for folder in folders | {parent for f in folders for parent in f.parents if parent.is_relative_to(self.store)}:
            manifest.sync_folder(folder)


TABLE_OF = {"open": "connections"}
"""The table of a manifest kind, where it has another name."""


def _partitions(
    table: pa.Table, rows: Array, times: tuple[Array, Array]
) -> Iterator[tuple[tuple[str, str, bool], Array]]:
    """These rows by the file they belong in: (node, UTC day of the end, whether they lasted long). Where the end of a
    line of text is not known, its start stands for it."""
    if not len(rows):
        return
    start, end = times[0][rows], times[1][rows]
    nodes = table["node"].chunk(0).dictionary.to_pylist()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in table["node"].chunks])[rows]
    key = (end // layout.DAY * 2 + (end - start > layout.LONG)) * len(nodes) + codes
    ordered = np.sort(key)  # np.unique takes ten times as long
    for value in ordered[np.flatnonzero(np.diff(ordered, prepend=-1))].tolist():
        day, long = divmod(value // len(nodes), 2)
        yield (nodes[value % len(nodes)], layout.day_of(day * layout.DAY), bool(long)), rows[key == value]


def _slices(table: pa.Table, most: int) -> Iterator[pa.Table]:
    for at in range(0, max(len(table), 1), most):
        yield table.slice(at, most)


def _without(settled: Settled, first: int) -> Settled:
    """Without the rows before `first`, which are sealed; the others counted from there."""
    new = settled.mended >= first
    ended = settled.ended[settled.ended >= first]
    return Settled(ended - first, settled.open - first, settled.mended[new] - first, settled.source[new] - first)


def _remember(columns: dict[str, Array], rows: Array, now: int) -> dict[str, Array]:
    """The latest of these ended rows, as identity columns; but those that are compared with nothing."""
    rows = rows[columns["kind"][rows] != SINGLE]
    if not len(rows):
        return {}
    end = columns["end"][rows]
    rows = rows[end >= min(end.max(), now) - REMEMBERED][-REMEMBERED_ROWS:]
    return rows_of(columns, rows)


def _remember_again(store: Path, state: manifest.State) -> dict[str, Array]:
    """What the last seal with connections would have remembered, read from its files."""
    last = state.last_seal()
    if last is None:
        return {}
    files = [entry for entry in state.of("connections") if entry.seal == last]
    columns = columns_of(pa.concat_tables([parquet.read_sealed(store, entry, IDENTITY) for entry in files]))
    by_end = np.argsort(columns["end"], kind="stable")
    return _remember(columns, by_end, int(columns["end"].max()))


def sweep(store: Path, state: manifest.State) -> None:
    """Remove what a crashed seal left. Raises StoreError when the store has more than its manifest can explain."""
    counted = {entry.file for entry in (*state.snapshots.values(), *state.connections)}
    folders = [store / "open", *(store / table for table in layout.INTERVALS), *store.glob("node=*/date=*")]
    left = []
    for path in (path for folder in folders for path in folder.glob("*.parquet*")):
        number = layout.seal_of_file(path.name)
        if number is None:
            continue
        if number > state.seal:
            _explain(store, state, path, number)
        name = str(path.relative_to(store))
        gone = name in state.replaced or path.parent.parent == store or _is_removed(state, name)
        replaced = name not in counted and gone
        if number > state.seal or path.suffix == ".new" or replaced:
            left.append(path)
    for path in left:
        path.unlink(missing_ok=True)
    spill.sweep(store)
    for table in TABLES:
        folder = layout.journal_folder(store, table)
        oldest = min(segments(folder), default=0)
        for path in folder.glob("*.arrows"):
            if path.stem.isdigit() and int(path.stem) < oldest:
                path.unlink(missing_ok=True)


def rows_of_gaps(gaps: Iterable[Gap]) -> pa.Table:
    """Gaps as rows of their table."""
    rows, schema = [gap.row() for gap in gaps], arrow_schema("gaps")
    return pa.table([pa.array([row[field.name] for row in rows], field.type) for field in schema], schema=schema)


def _remove_empty_days(store: Path, gone: list[manifest.Entry]) -> None:
    for folder in {(store / entry.file).parent for entry in gone if entry.kind == "connections"}:
        with contextlib.suppress(OSError):  # something of a later day's seal, or of a stranger, is in it
            folder.rmdir()


def _is_removed(state: manifest.State, file: str) -> bool:
    """Whether a file of connections that does not count is of the days that retention took away from."""
    return state.removed is not None and layout.day_of_file(file) <= layout.day_of(state.removed.before)


def _explain(store: Path, state: manifest.State, path: Path, number: int) -> None:
    """Raise StoreError unless a file that no seal committed is one that can be made again."""
    journal = segments(layout.journal_folder(store, "connections"))
    if number > state.seal + 1 or (journal and journal[0] > state.through.get("connections", 0) + 1):
        raise StoreError(
            f"{path} is of seal {number}, but {layout.manifest_path(store)} ends at seal {state.seal}; "
            "restore the manifest from a backup, nothing is sealed until then"
        )
