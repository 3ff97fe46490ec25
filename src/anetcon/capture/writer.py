"""The journal's tables as capture writes them: when to flush, sync and start a new segment.

Nothing here may make capture wait: a flush is a write, and `fdatasync` runs in a thread of its own. What a full or
failing disk does not take waits in memory, as much as is configured, and is written in order when there is room; what
no longer fits meanwhile is dropped, counted, and becomes one gap record. A disk that is fine costs nothing.

`Journals.flush` is the one door: whoever flushes, small files that tell what lasts (`Beside`) are saved around it.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anetcon.capture import batch
from anetcon.capture.backlog import Flush, Shed, Starts, Waiting, latest_start
from anetcon.decode.columns import Columns
from anetcon.gaps import Cause, Gap
from anetcon.journal.write import Writer
from anetcon.record import PUBLIC, TABLES
from anetcon.system.clock import Moment
from anetcon.system.report import ERROR, NOTICE, report

SEGMENT_ROWS = 1_000_000
"""Rows after which a segment of connections is closed: what the sealer takes in one piece."""

SMALL_SEGMENT_ROWS = 50_000
"""Rows after which a segment of another table is closed: others decide how many there are, and who reads the journal
reads whole segments."""

SMALL_ROWS = 10_000
"""Rows of each of the other tables that wait at most: some 10 MB."""

SAID_EVERY = 60_000_000
"""Microseconds between two lines about the same trouble."""

SEGMENT_LINES = 4096
"""Lines of an index after which a segment is closed: who looks for the last one reads them all."""

HEARTBEAT = 1.0
"""Seconds between two flushes when nothing happens: how early the gap after a crash may seem to begin."""

DAY = 86_400 * 1_000_000


@dataclass(frozen=True)
class Settings:
    """How the journal is written; times in seconds."""

    store: Path
    node: str
    flush_seconds: float
    sync_seconds: float
    seal_minutes: float
    memory: int = 64 << 20
    """Bytes of flushes that wait while the disk takes none."""
    starts: bool = True
    """Whether the starts of connections are recorded too."""
    lock: Path | None = None
    """A file that is there as long as the folder `store` is the one the daemon owns, and not a mount's empty place."""


class Beside(Protocol):
    """A small file beside the journal that tells the next capture what lasted when this one crashed."""

    def before_flush(self) -> None:
        """Save what begins, before the journal tells of it: whatever is on record can be ended by the next capture."""

    def after_flush(self) -> None:
        """Forget what ended, once the journal has told of it."""


class Journals:
    """Owns the writers. Times are given by the caller: what is due is so by the steady clock."""

    def __init__(self, settings: Settings, now: Moment) -> None:
        self.settings = settings
        self.beside: list[Beside] = []
        self.small: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES if table != "connections"}
        self.flushed, self.taken = now, now.wall
        """`flushed`: up to when the journal is on disk; `taken`: or waits to be."""
        self.steps = 0
        """How often the wall clock was set."""
        self._tried = self._begun = self._synced = now.steady
        self._started = now.wall
        """When the last connection began of which the start is on disk."""
        self.flushes = self.rows = self.failing = self.error = 0
        self.failing_since = 0
        self.waiting = Waiting(settings.memory)
        self.sheds = self.shed_at = 0
        """Goes up when records begin to be dropped because memory is full too, and when that is over; when the last
        that were dropped began."""
        self._heartbeat = max(settings.flush_seconds, min(settings.sync_seconds, HEARTBEAT))
        self._said: dict[str, int] = {}
        self._complained = False
        self._shed: Shed | None = None
        self._unkept: Gap | None = None
        folder = settings.store / "journal"
        self._writers = {table: Writer(folder / table, table, patient=True) for table in TABLES}
        self._syncer: threading.Thread | None = None
        self._unsynced: OSError | None = None
        try:
            self._open()
        except OSError as error:
            self._failed(error, now)

    def gap(self, gap: Gap) -> None:
        """Record that something may be missing on this node."""
        self.small["gaps"].append(gap._replace(node=self.settings.node).row())

    def listed(self, netns: str, inode: int, start: int, end: int) -> None:
        """Record that whatever is open in a namespace at `start` has a row of origin dump before `end`."""
        row = {"node": self.settings.node, "netns": netns, "netns_inode": inode, "from": start, "to": end}
        self.small["listings"].append(row)

    def public(self, network: dict[str, Any], start: int, end: int | None) -> None:
        """Record that the configuration says of a network that it is here."""
        row = {"node": self.settings.node, "netns": "", "netns_inode": 0, "interface": PUBLIC, **network}
        self.small["routes"].append({**row, "from": start, "to": end})

    def due(self, now: Moment, pending: bool) -> bool:
        """Whether it is time to flush, given whether anything waits to be."""
        waiting = pending or self.failing or any(self.small.values())
        return now.steady - self._tried >= (self.settings.flush_seconds if waiting else self._heartbeat) * 1e6

    def stepped(self, by: int) -> None:
        """The wall clock was set: what is recorded until now is so until now on the clock as it is now."""
        self.flushed = self.flushed._replace(wall=self.flushed.wall + by)
        self.taken += by
        self.steps += 1

    @property
    def segment(self) -> int:
        """The segment of connections that is being written."""
        return self._writers["connections"].number

    def bytes_written(self) -> int:
        """Size of the segments now being written."""
        return sum(writer.size for writer in self._writers.values())

    def flush(self, columns: Columns, names: list[str], now: Moment) -> None:
        """Write what there is, and empty the columns. Never raises for a full or failing disk."""
        self._tried = now.steady
        for file in self.beside:
            file.before_flush()
        self._flush(columns, names, now)
        if not self.failing:
            for file in self.beside:
                file.after_flush()

    def _flush(self, columns: Columns, names: list[str], now: Moment) -> None:
        flush = Flush(b"", columns.rows, min(self.taken, now.wall), now)
        if columns.rows:
            flush.payload = self._writers["connections"].encode(batch.connections(columns, self.settings.node, names))
        try:
            if self.failing:
                self._catch_up(now)
            self._write_small(flush.start, now.wall)
            self._put(flush)
        except OSError as error:
            self._failed(error, now)
            self._keep(flush, columns)
        else:
            self._started = latest_start(columns, self._started)
            columns.rows = 0
            if self.failing:
                self._works_again()
            self._rotate(now)
            if self._unsynced is not None:
                what = f"what was written may not be on the disk: {self._unsynced.strerror}; check it"
                self._say("unsynced", now, what)
                self._unsynced = None
            if now.steady - self._synced >= self.settings.sync_seconds * 1e6:
                self._sync(now)
        self.taken = now.wall

    def _put(self, flush: Flush) -> None:
        self._writers["connections"].put(flush.payload, flush.rows, flush.start, flush.end.wall)
        self.flushed = flush.end
        self.rows += flush.rows
        self.flushes += 1

    def _write_small(self, start: int, end: int) -> None:
        for table, waiting in self.small.items():
            if waiting:
                self._writers[table].append(batch.rows(table, waiting), start, end)
                waiting.clear()

    # What the disk does not take

    def _open(self) -> None:
        """Begin segments where none is open. Raises OSError; also when the store's folder is not there any more."""
        lock = self.settings.lock
        if lock is not None and not lock.exists():
            raise OSError(errno.ENODEV, "its file system is not mounted any more", str(lock))
        for writer in self._writers.values():
            if not writer.in_place():
                writer.abandon()
            writer.open()

    def _catch_up(self, now: Moment) -> None:
        """Write everything that waits, oldest first. The gap comes before what is younger than it: a crash in between
        leaves a journal that ends where the gap begins."""
        self._open()
        while self.waiting:
            self._started = max(self._started, self.waiting.starts.latest if self.waiting.starts else 0)
            self._put(self.waiting.flushes[0])
            self.waiting.written()
        if self._shed is not None or self._unkept is not None:
            shed = self._shed and Gap(None, self._shed.since, self._shed.until, Cause.DISK_FULL, self._shed.lost)
            gaps = [shed, self._unkept and self._unkept._replace(end=now.wall)]
            rows = [gap._replace(node=self.settings.node).row() for gap in gaps if gap]
            self._writers["gaps"].append(batch.rows("gaps", rows), self.taken, now.wall)
            self.sheds += self._shed is not None
            self._shed = self._unkept = None

    def _keep(self, flush: Flush, columns: Columns) -> None:
        """Let a flush wait, or drop it when memory is full too."""
        if self._shed is None and not columns.rows:
            self.waiting.idle(flush.start, flush.end)
        elif self._shed is None and self.waiting.fits(flush.payload):
            self.waiting.add(flush, columns, self._started)
        elif columns.rows:
            if self._shed is None:
                kept = self.waiting.starts or Starts(self._started, flush.start)
                self._shed = Shed(flush.start, kept if self.settings.starts else None)
                self.sheds, self.shed_at = self.sheds + 1, flush.start
                self._say("shed", flush.end, "memory is full as well: records are being lost, and counted; make room")
            self._shed.drop(columns, flush.end.wall)
        columns.rows = 0
        for waiting in self.small.values():
            if len(waiting) > SMALL_ROWS:
                del waiting[SMALL_ROWS:]
                self._unkept = self._unkept or Gap(None, flush.start, None, Cause.DISK_FULL)

    def _failed(self, error: OSError, now: Moment) -> None:
        self.failing += 1
        self.error = error.errno or errno.EIO
        if self.failing == 1:
            self.failing_since = self.taken
        what = f"cannot write the journal: {error.strerror}; make room or repair the disk"
        self._say("failed", now, f"{what}. What comes waits in memory ({self.waiting.rows} records now)")

    def _works_again(self) -> None:
        if self._complained:
            report(f"{NOTICE}the journal is written again after {self.failing} failed flushes")
        self._complained = False
        self.failing = self.error = self.failing_since = 0

    def _say(self, what: str, now: Moment, line: str) -> None:
        if now.steady - self._said.get(what, -SAID_EVERY) >= SAID_EVERY:
            self._said[what] = now.steady
            self._complained = True
            report(ERROR + line)

    # Segments

    def _rotate(self, now: Moment) -> None:
        age = now.steady - self._begun
        old = age >= self.settings.seal_minutes * 60e6
        for table, writer in self._writers.items():
            full = writer.rows >= (SEGMENT_ROWS if table == "connections" else SMALL_SEGMENT_ROWS)
            if full or writer.lines >= SEGMENT_LINES or (old and writer.rows) or age >= DAY:
                with suppress(OSError):  # the next flush meets the same, and says so
                    writer.rotate()
        if old:
            self._begun = now.steady

    def syncing(self) -> bool:
        """Whether a sync is under way."""
        return self._syncer is not None and self._syncer.is_alive()

    def _sync(self, now: Moment) -> None:
        if not all(writer.in_place() for writer in self._writers.values()):
            self._failed(OSError(errno.ENOENT, "its files are not in their place any more"), now)
            return
        if self.syncing():
            return
        self._synced = now.steady
        copies = [os.dup(fd) for writer in self._writers.values() for fd in writer.descriptors()]
        self._syncer = threading.Thread(target=self._sync_all, args=(copies,), daemon=True)
        self._syncer.start()

    def _sync_all(self, descriptors: list[int]) -> None:
        """In a thread: the kernel tells of a failure once, so it is kept until the next flush says it."""
        for descriptor in descriptors:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                self._unsynced = error
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close every segment for good; when something still waits, without saying that they are whole: the gap that
        the next start records begins where they end."""
        lost = self.waiting or self._shed or self._unkept or any(self.small.values())
        for writer in self._writers.values():
            with suppress(OSError):
                if not lost:
                    writer.close()
            writer.abandon()
