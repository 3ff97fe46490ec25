"""Closed journal segments become the store: merged, written as Parquet, committed in the manifest, dropped.

A seal takes closed segments in order, about a million rows at most. Of the tables that others decide the number of rows
of (`layout.CUT_SHORT`) it holds a piece and a part at a time (`parts`). When memory does not do for that, it is told to
take less. Steps: write every file aside and name it (`writer`), sync the folders, append to the manifest (the commit),
remove what it replaced, drop segments that nobody needs. A crash before the commit leaves files that count for
nothing, which the next seal writes again or removes; a crash behind it leaves only things to remove. Nothing is ever
dropped that is not committed.

ENDs can come again after their connection was sealed (copies, while another listener on the host is stuck), so the
latest sealed ends take part in the next merge, without being written again. One process seals, under the daemon's lock;
while an import writes (`store.lock`), it waits for its next turn.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon.gaps import Cause, Gap
from anetcon.identity import connections
from anetcon.identity.reconcile import Settled
from anetcon.identity.tuples import IDENTITY, SINGLE, Array, columns_of, numbers, rows_of
from anetcon.journal.read import last_written
from anetcon.journal.write import segment_path, segments
from anetcon.record import TABLES
from anetcon.store import followers, layout, lock, manifest, missed_ends, parquet, parts, retain
from anetcon.store.damage import unexplained
from anetcon.store.draft import Draft
from anetcon.store.entry import Entry, Why, microseconds
from anetcon.store.intake import Intake, closed_segments
from anetcon.store.limits import Limits
from anetcon.store.retain import Cut, Disk
from anetcon.store.state import State
from anetcon.store.sweep import make_room, sweep
from anetcon.store.writer import FileWriter, rows_of_gaps
from anetcon.system.report import WARNING, report

ENOUGH_ROWS = 500_000
"""Events after which a seal takes no further segment. A segment has up to about a million and is never split."""

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
        self._known: State | None = None
        self._checked = False
        self._remembered: dict[str, Array] = {}
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
            return ours and any(True for table in TABLES for _ in closed_segments(self.store, self._state(), table))

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

    def _seal(self, state: State) -> bool:
        self._known = None  # until all went well: after a failure everything is read again
        try:
            files, removes, events = self._write(state)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                make_room(self.store, state)
                sweep(self.store, state)  # what was written for nothing is room for the journal
            raise
        self._known = state
        if state.seal - state.saved >= SAVED_SEALS:
            self._save(state)
        for file in removes:
            (self.store / file).unlink(missing_ok=True)
        self.statistics.seals += 1
        self.statistics.events += events
        self.statistics.connections += sum(entry.rows for entry in files if entry.kind == "connections")
        self.statistics.bytes += sum(entry.bytes for entry in files)
        self.drop()
        return True

    def _write(self, state: State) -> tuple[list[Entry], list[str], int]:
        """Write and commit a seal: the files that it adds, those that it removes, how many events it took."""
        now = self._clock()
        intake, writer = Intake(self.store, state, self._most), FileWriter(self.store, state, now, self._most)
        files, remembered, events = self._connections(state, intake, writer, now)
        told = intake.gaps()
        for table in layout.CUT_SHORT:
            files += writer.parts(table, intake.pieces(table, min(parts.PIECE_ROWS, self._most)), told)
        taken = {table: intake.table(table) for table in layout.MONTHLY}
        gaps = [*intake.damaged, *self._give_up(intake.through.get("connections", 0))]
        torn = unexplained(intake.torn, told)
        gaps += [Gap(None, lost.start, lost.end, Cause.JOURNAL_DAMAGED, lost.rows) for lost in torn]
        taken["gaps"] = pa.concat_tables([taken["gaps"], rows_of_gaps(gap._replace(node=self.node) for gap in gaps)])
        for table, rows in taken.items():
            files += writer.month(table, rows)
        writer.sync(files)
        removes = sorted({*state.in_place_of(files), *(entry.file for entry in state.of("open"))})
        manifest.commit(self.store, state, Why.SEAL, self._clock(), files, removes, through=intake.through)
        self._remembered = remembered
        return files, removes, events

    def _save(self, state: State) -> None:
        with contextlib.suppress(OSError, ValueError):  # readers take longer, that is all
            manifest.save(self.store, state)

    def retain(self) -> Cut | None:
        """Remove what is too old or too much, if anything is: committed first, then unlinked. What was removed, None
        when nothing was. Raises StoreError or OSError: then nothing is lost that was not to go."""
        with self._turn() as ours:
            return self._retain(self._state()) if ours else None

    def _retain(self, state: State) -> Cut | None:
        now = self._clock()
        disk = self._disk(state)
        if state.leaving and disk.free < self.limits.floor(disk.total):
            make_room(self.store, state)
            disk = self._disk(state)
        cut = retain.cut(state, self.limits, disk, now)
        if cut is None:
            return None
        make_room(self.store, state)  # rows that are to go are in there, too
        for removes in retain.steps(state, cut.before):
            manifest.commit(self.store, state, Why.RETENTION, now, removes=removes, before=cut.before)
            for file in removes:
                (self.store / file).unlink(missing_ok=True)
            _remove_empty_days(self.store, removes)
        return cut

    def _disk(self, state: State) -> Disk:
        found = shutil.disk_usage(self.store)
        sealed = state.connections.total().bytes + sum(entry.bytes for entry in state.snapshots.values())
        journal = sum(followers.size(self.store, table, number) for table in TABLES for number in self._segments(table))
        return Disk(found.total, found.free, sealed + state.size + manifest.size_of_state(self.store) + journal)

    def _segments(self, table: str) -> list[int]:
        return segments(layout.journal_folder(self.store, table))

    def _give_up(self, through: int) -> list[Gap]:
        """Decide which sealed segments are kept no longer for followers that are behind; the gap that makes."""
        found = shutil.disk_usage(self.store)
        pressed = found.free < self.limits.floor(found.total)
        limit = min(self.limits.journal, followers.PRESSED) if pressed else self.limits.journal
        given = followers.give_up(self.store, through, limit)
        if given is None or given.segment <= self._given_up:
            return []
        self._given_up = given.segment
        return [Gap(None, given.start, given.end, Cause.SINK_BEHIND, given.rows)]

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
                needed = min((number - 1 for number in followers.needed(self.store)), default=passed)
                passed = min(passed, max(needed, self._given_up))
            there = segments(folder)
            gone = [number for number in there[:-1] if number <= passed]
            # Only now: it reads the last segment whole.
            if gone and table == "connections" and (written := last_written(folder)) is not None:
                gone = [number for number in gone if number < written[0]]
            for number in gone:
                # The index first: without it the segment is not there.
                segment_path(folder, number, "index").unlink(missing_ok=True)
                segment_path(folder, number).unlink(missing_ok=True)

    def _state(self) -> State:
        """What counts now. Only in our turn, or where nobody else has one."""
        if self._known is None:
            state = self._replayed()
            sweep(self.store, state)
            self._remembered = _remember_again(self.store, state, self._clock())
            for table, number in state.through.items():
                # The last segment is never dropped: where it is older than what is sealed, somebody removed the
                # journal and it was begun again at 1. Taken for sealed, its segments would be dropped unread.
                if max(self._segments(table), default=number) < number:
                    state.through = state.through | {table: 0}
            self._known = state
        return self._known

    def _replayed(self) -> State:
        """Everything in the manifest. The first time the saved state, with which readers begin, is compared with it."""
        if self._checked:
            return manifest.replay(self.store)
        state, wrong = manifest.checked(self.store)
        self._checked = True
        if wrong:
            report(f"{WARNING}{wrong}; written again now")
            self._save(state)
        return state

    def _connections(
        self, state: State, intake: Intake, writer: FileWriter, now: int
    ) -> tuple[list[Entry], dict[str, Array], int]:
        """Write what ended and what is open; returns the files, the ends to remember and the number of events."""
        opened = [parquet.read_whole(self.store, entry) for entry in state.of("open")]
        tables = [*opened, intake.table("connections")]
        events = tables[-1].num_rows
        table, columns, settled = self._settle(tables)
        first = len(columns["start"]) - table.num_rows
        known = intake.listings()
        written = [(line.start, line.end, line.rows) for line in intake.flushed()] if len(known) else []
        listings = missed_ends.listings(known, written)
        gone, ends = missed_ends.absent(columns, settled.open, len(columns["start"]) - events, listings)
        if len(gone):
            table, columns, settled = self._settle([*tables, missed_ends.ended(table, gone - first, ends)])
        new = settled.ended[settled.ended >= first]
        remembered = _remember(columns, np.concatenate((np.arange(first), new)), now)
        settled = _without(settled, first)
        source, destination = (columns[name][first:].view(np.uint64) for name in ("src_ip", "dst_ip"))
        mended = connections.mend(table, settled)
        rows = Draft(mended, (source, destination), (numbers(mended["start"]), columns["end"][first:]))
        files = writer.closed(rows, settled.ended)
        if len(settled.open):
            files.append(writer.opened(rows, settled.open))
        return files, remembered, events

    def _settle(self, tables: list[pa.Table]) -> tuple[pa.Table, dict[str, Array], Settled]:
        """These rows in one table, its identity columns behind those that are remembered, and which stand for what."""
        table = pa.concat_tables(tables).unify_dictionaries()
        columns = columns_of(table, self._remembered)
        rows = len(columns["start"])
        return table, columns, connections.settle({**columns, "sealed": np.arange(rows) < rows - table.num_rows})


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


def _remember_again(store: Path, state: State, now: int) -> dict[str, Array]:
    """What the last seal with connections would have remembered, read from its files and from those of just before:
    after every compaction and every import all is read again. An end in the future, by a clock that was put back, hides
    none that is near."""
    last = state.last_seal()
    if last is None:
        return {}
    ends = [microseconds(entry.end) for entry in state.connections.of_seals([last]) if entry.end is not None]
    near = state.connections.covering(min(max(ends, default=0), now) - REMEMBERED, None)
    files = [entry for entry in near if entry.seal not in state.imports]
    columns = columns_of(pa.concat_tables([parquet.read_sealed(store, entry, IDENTITY) for entry in files]))
    by_end = np.argsort(columns["end"], kind="stable")
    return _remember(columns, by_end, now)


def _remove_empty_days(store: Path, gone: Sequence[str]) -> None:
    for folder in {(store / file).parent for file in gone if layout.kind_of_file(file) == "connections"}:
        with contextlib.suppress(OSError):  # something of a later day's seal, or of a stranger, is in it
            folder.rmdir()
