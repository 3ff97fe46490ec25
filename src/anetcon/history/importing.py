"""An import: file after file, the oldest first, block after block; what the store does not have yet is added to it.

Rows are committed a quarter of a million at a time, and at the end of each file. Whatever ends it in between, all that
was committed is whole, and the next run adds the rest. What retention would take away at once is not added. Files
are written as the store's owner, whoever runs this, so that the daemon can remove them again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import NoReturn

import numpy as np

from anetcon.decode.columns import NONE, Array
from anetcon.decode.logline import Prefix
from anetcon.errors import InputError, StoreError
from anetcon.gaps import Cause
from anetcon.history import events, years
from anetcon.history.events import Events
from anetcon.history.import_report import Counts, Rejects, Report
from anetcon.history.known import Matched, known
from anetcon.history.line_batch import LineBatch, table
from anetcon.history.names import NamespaceCodes, Nodes
from anetcon.history.source import STDIN, Source
from anetcon.history.stamps import Stamps
from anetcon.history.stretches import Stretches
from anetcon.history.syslog import SyslogReader
from anetcon.history.turns import Turns
from anetcon.history.years import Years
from anetcon.store import layout, lock
from anetcon.store.entry import Read
from anetcon.store.imports import add
from anetcon.store.layout import DAY
from anetcon.store.limits import Limits
from anetcon.store.owner import as_owner
from anetcon.store.reader import Store
from anetcon.system.printable import recorded

ROWS = 250_000
"""Rows of a commit."""

SPARE = 100_000
"""Room for more rows than one block can have."""

Progress = Callable[[int], None]
"""Told how many bytes more were read: of a file twice its size in all, since it is looked at for its year first."""


@dataclass(frozen=True)
class Settings:
    """What an import is told. Times in microseconds; `events_netns` is the namespace of conntrack's text."""

    store: Path
    nodes: Nodes
    namespaces: NamespaceCodes
    zone: tzinfo
    prefix: Prefix
    limits: Limits
    events_netns: str
    until: date | None = None
    rejects: Path | None = None
    now: int = field(default_factory=lambda: time.time_ns() // 1000)

    @property
    def oldest(self) -> int:
        """What ended before that is not kept."""
        return 0 if self.limits.age is None else (self.now - self.limits.age) // DAY * DAY


class Import:
    """One run."""

    def __init__(self, settings: Settings, progress: Progress = lambda _: None) -> None:
        self.settings = settings
        self.report = Report()
        self._progress = progress
        self._reader = SyslogReader(settings.prefix, settings.namespaces, settings.nodes, settings.now + DAY)
        self._events = Events(settings.zone, settings.now + DAY)
        self._batch = LineBatch(ROWS + SPARE)
        self._view: Store | None = None
        self._mine: set[str] = set()
        self._sources: list[Read] = []
        self._brought = False
        self._stretches = Stretches()
        self._by_namespace: Counter[int] = Counter()
        said = datetime.now(settings.zone).strftime("%Y%m%dT%H%M%S")
        self._rejects = Rejects(settings.rejects or layout.unreadable_path(settings.store, said))

    def run(self, sources: Sequence[Source]) -> Report:
        """Import these files. Raises StoreError, InputError, OSError."""
        store = self.settings.store
        with ExitStack() as held:
            with as_owner(store):
                layout.make_folder(store)
                turn = held.enter_context(lock.turn(store, wait=False, name=layout.IMPORTING_LOCK))
            if turn is None:
                raise StoreError(f"another import into {store} is running: run this one when that has come to its end")
            return self._run(sources)

    def _run(self, sources: Sequence[Source]) -> Report:
        began = time.monotonic()
        settings = self.settings
        self._today = today = datetime.fromtimestamp(settings.now / 1e6, settings.zone).date()
        known_years = years.settle(sources, settings.until, today, settings.zone, self._progress)
        latest = {source.path: years.bounds(source, settings.until, today, settings.zone) for source in sources}
        try:
            for source in sorted(
                sources, key=lambda s: (latest[s.path][0], s.modified or 0, -years.rotated(s.path)[1])
            ):
                self._file(source, known_years[source.path], *latest[source.path])
            self._rest()
        finally:
            self._rejects.close()
        self.report.strangers = self.settings.namespaces.strangers(self._by_namespace)
        self.report.untimed = self._events.untimed
        self.report.rejects = self._rejects.path if self._rejects.used else None
        self.report.seconds = time.monotonic() - began
        return self.report

    def _file(self, source: Source, of_file: Years | None, latest: date, why: str) -> None:
        counts = Counts(source.name)
        self.report.files.append(counts)
        self._mine, self._brought = set(), False
        self._stretches = Stretches()
        said = self._events.zoneless, self._events.folded
        times, turns = Stamps(self.settings.zone), Turns()
        begun = of_file.first if of_file else None
        before = 0
        for block in source.blocks():
            pieces = turns.pieces(block)
            if begun is None and turns.first:
                begun = years.year_of(turns.first, latest)
            if of_file is None and begun is not None and years.beyond(begun, turns, self._today):
                self._refuse(counts, begun)
            for piece, turned in pieces:
                times.year = None if begun is None else begun + turned
                self._block(piece, times, counts)
            self._progress(source.consumed - before)
            before = source.consumed
        counts.bytes, counts.sha256 = source.consumed, source.digest.hexdigest()
        name = "-" if source.path == STDIN else recorded(str(source.path.absolute()))
        self._commit(counts, Read(name=name, bytes=counts.bytes, sha256=counts.sha256))
        counts.damage = source.damage
        if source.misnamed and not (counts.found or counts.unreadable):
            counts.damage = f"not the compressed file that it is called, but {source.size} bytes without a line of ours"
        counts.zoneless = times.zoneless + self._events.zoneless - said[0]
        counts.folded = times.folded + self._events.folded - said[1]
        counts.back = turns.back
        if of_file is not None:
            span = f"{of_file.first}" if of_file.first == of_file.last else f"{of_file.first} to {of_file.last}"
            counts.years = f"{span} (not after {of_file.why})"
        elif times.year is not None:
            counts.years = f"{times.year} for the last line (its first not after {latest}, {why})"

    def _refuse(self, counts: Counts, begun: int) -> NoReturn:
        """The year of its first line, which a pipe had to be given before its last was seen, cannot be right."""
        self._batch.rows = 0
        taken = (
            f"{counts.added} connections of it are in the store, years too late"
            if counts.added
            else "nothing of it was imported"
        )
        raise InputError(
            f"cannot tell the years of {counts.name}: from a first line of {begun} its days reach beyond today; say by "
            f"--until which day its first line is not later than; {taken}"
        )

    def _block(self, block: bytes, times: Stamps, counts: Counts) -> None:
        batch = self._batch
        if batch.room() < SPARE:
            self._commit(counts)
        first = batch.rows
        begin = counts.lines
        read = self._reader.read(block, times, batch)
        counts.lines, counts.others = begin + read.lines, counts.others + read.others
        counts.repeated += read.repeated
        unreadable = read.unreadable
        if batch.rows > first:
            self._stretches.add_rows(batch, first)
            self._count(counts, first)
        if any(marker in block for marker in events.MARKERS):
            found = self._events.read(block)
            counts.others -= found.rows + len(found.unreadable)
            counts.events += found.rows
            unreadable = sorted([*unreadable, *found.unreadable])
            here = (self.settings.nodes.here, self.settings.events_netns, Cause.IMPORTED_EVENTS)
            self._stretches.add(here, self._events.times)
            self._take_events(counts)
        counts.unreadable += len(unreadable)
        with nullcontext() if self.settings.rejects else as_owner(self.settings.store):
            for number, line in unreadable:
                self._rejects.write(counts.name, begin + number + 1, line)

    def _take_events(self, counts: Counts) -> None:
        """The connections that are whole now."""
        while self._events.waiting:
            if self._batch.room() < SPARE:
                self._commit(counts)
            first = self._batch.rows
            self._events.take(
                self._batch, self.settings.nodes.here, self.settings.namespaces.code(self.settings.events_netns)
            )
            self._count(counts, first)

    def _count(self, counts: Counts, first: int) -> None:
        rows = slice(first, self._batch.rows)
        start = self._batch.of["start"][rows]
        if len(start):
            counts.between(int(start.min()), int(start.max()))
            codes, numbers = np.unique(self._batch.of["netns"][rows], return_counts=True)
            self._by_namespace.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))

    def _rest(self) -> None:
        """What no end was found for in any file."""
        if self.report.files:
            self._stretches = Stretches()
            while self._events.finish(SPARE):
                self._take_events(self.report.files[-1])
            self._commit(self.report.files[-1])

    def _commit(self, counts: Counts, source: Read | None = None) -> None:
        """Add what the store does not have. `source`, which has been read to its end, is named with the rows that it
        brought: with the last ones, here or when the events in it have found their ends."""
        batch, settings = self._batch, self.settings
        view = self._store()
        found = Matched.nothing(batch.rows)
        if view is not None:
            found = known(view, batch, self.settings.nodes.names, self.settings.namespaces, self._mine)
        old = _old(batch, settings.oldest)
        fresh, better = ~found.have & ~old, found.better & ~old
        gaps = self._stretches.gaps(self.settings.nodes.names, view, settings.oldest)
        adds = bool(fresh.any() or gaps)
        self._brought |= adds
        if source is not None and (self._brought or counts.events):
            self._sources.append(source)
        if adds or (self._brought and source is not None):
            rows = table(batch, np.flatnonzero(fresh), self.settings.nodes.names, self.settings.namespaces.names)
            with as_owner(settings.store):
                self._mine |= add(
                    settings.store, rows, gaps, settings.limits, gone=found.gone(better), sources=self._sources
                )
            self._sources = []
        counts.added += int(np.count_nonzero(fresh & ~better))
        counts.completed += int(np.count_nonzero(better))
        counts.too_old += int(np.count_nonzero(old & ~found.have & ~found.better))
        counts.already += int(np.count_nonzero(found.have | (found.better & old)))
        batch.rows = 0

    def _store(self) -> Store | None:
        """What is asked for what is there already; None while there is nothing."""
        if self._view is None:
            try:
                self._view = Store(self.settings.store)
            except StoreError:
                return None
        return self._view


def _old(batch: LineBatch, oldest: int) -> Array:
    start, end = batch.of["start"][: batch.rows], batch.of["end"][: batch.rows]
    found: Array = np.where(end == NONE, start, end) < oldest
    return found
