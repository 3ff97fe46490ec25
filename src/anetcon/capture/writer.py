"""The journal's tables as capture writes them: when to flush, sync and start a new segment.

Nothing here may make capture wait: a flush is a write, and `fdatasync` runs in a thread of its own. What a full or
failing disk does not take waits in memory, as much as is configured, and is written in order when there is room; what
no longer fits meanwhile is dropped, counted, and becomes one gap record. A disk that is fine costs nothing.

`Journals.flush` is the one door: whoever flushes, small files that tell what lasts (`Beside`) are saved around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anetcon.capture import batch
from anetcon.capture.backlog import Backlog, PackedFlush
from anetcon.capture.segments import Segments
from anetcon.capture.trouble import Trouble
from anetcon.decode.columns import Columns
from anetcon.gaps import Cause, Gap
from anetcon.record import PUBLIC, TABLES
from anetcon.system.clock import Moment

SMALL_ROWS = 10_000
"""Rows of each of the other tables that wait at most: some 10 MB."""

HEARTBEAT = 1.0
"""Seconds between two flushes when nothing happens: how early the gap after a crash may seem to begin."""


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
    """Owns the segments. Times are given by the caller: what is due is so by the steady clock."""

    def __init__(self, settings: Settings, now: Moment) -> None:
        self.settings = settings
        self.beside: list[Beside] = []
        self.small: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES if table != "connections"}
        self.flushed, self.taken = now, now.wall
        """`flushed`: up to when the journal is on disk; `taken`: or waits to be."""
        self.steps = 0
        """How often the wall clock was set."""
        self.behind = False
        """Whether something waits that came before the last flush: no flush is whole."""
        self._tried = now.steady
        self.flushes = self.rows = 0
        self.trouble = Trouble()
        self.backlog = Backlog(settings.memory, now.wall, starts=settings.starts)
        self._unkept: Gap | None = None
        self.segments = Segments(settings.store / "journal", settings.lock, now)
        try:
            self.segments.open()
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
        after = self.settings.flush_seconds
        if not (pending or self.trouble.failing or any(self.small.values())):
            after = max(after, min(self.settings.sync_seconds, HEARTBEAT))
        return now.steady - self._tried >= after * 1e6

    def stepped(self, by: int) -> None:
        """The wall clock was set: what is recorded until now is so until now on the clock as it is now."""
        self.flushed = self.flushed._replace(wall=self.flushed.wall + by)
        self.taken += by
        self.steps += 1

    def flush(self, columns: Columns, names: list[str], now: Moment, *, whole: bool = True) -> None:
        """Write what there is, and empty the columns. Never raises for a full or failing disk. `whole`: whether all
        that came until `now` was taken; if not, the gap after a crash begins no later than it would have before."""
        if whole:
            self._tried = now.steady
        for file in self.beside:
            file.before_flush()
        self._flush(columns, names, now, whole and not self.behind)
        if not self.trouble.failing:
            for file in self.beside:
                file.after_flush()

    def _flush(self, columns: Columns, names: list[str], now: Moment, whole: bool) -> None:
        flush = PackedFlush(b"", columns.rows, min(self.taken, now.wall), now, whole)
        if columns.rows:
            flush.payload = self.segments.encode(batch.connections(columns, self.settings.node, names))
        try:
            if self.trouble.failing:
                self._catch_up(now)
            self._write_small(flush.start, now.wall)
            self._put(flush)
        except OSError as error:
            self._failed(error, now)
            self._keep(flush, columns)
        else:
            self.backlog.written(columns)
            self.trouble.over()
            self._tend(now, whole)
        self.taken = flush.until

    def _tend(self, now: Moment, whole: bool) -> None:
        """See to segments, and to what the disk did with them. A flush that is not whole is no segment's last: if it
        cannot be read back, the time that it covers is told by those behind it."""
        if whole:
            self.segments.rotate(now, self.settings.seal_minutes * 60)
        if (error := self.segments.not_kept()) is not None:
            self.trouble.say("unsynced", now, f"what was written may not be on the disk: {error.strerror}; check it")
        try:
            self.segments.sync(now, self.settings.sync_seconds)
        except OSError as error:
            self._failed(error, now)

    def _put(self, flush: PackedFlush) -> None:
        self.segments.put(flush.payload, flush.rows, flush.start, flush.until)
        if flush.whole:
            self.flushed = flush.end
        self.rows += flush.rows
        self.flushes += 1

    def _write_small(self, start: int, end: int) -> None:
        for table, waiting in self.small.items():
            if waiting:
                self.segments.append(table, batch.rows(table, waiting), start, end)
                waiting.clear()

    # What the disk does not take

    def _catch_up(self, now: Moment) -> None:
        """Write everything that waits, oldest first. The gap comes before what is younger than it: a crash in between
        leaves a journal that ends where the gap begins."""
        self.segments.open()
        for flush in self.backlog.each():
            self._put(flush)
        gaps = [self.backlog.gap(), self._unkept and self._unkept._replace(end=now.wall)]
        if any(gaps):
            rows = [gap._replace(node=self.settings.node).row() for gap in gaps if gap]
            self.segments.append("gaps", batch.rows("gaps", rows), self.taken, now.wall)
        self.backlog.over()
        self._unkept = None

    def _keep(self, flush: PackedFlush, columns: Columns) -> None:
        """Let a flush wait, or drop it when memory is full too."""
        if self.backlog.keep(flush, columns):
            what = "memory is full as well: records are being lost, and counted; make room"
            self.trouble.say("shed", flush.end, what)
        for waiting in self.small.values():
            if len(waiting) > SMALL_ROWS:
                del waiting[SMALL_ROWS:]
                self._unkept = self._unkept or Gap(None, flush.start, None, Cause.DISK_FULL)

    def _failed(self, error: OSError, now: Moment) -> None:
        self.trouble.failed(error, now, self.taken, self.backlog.waiting.rows)

    def close(self) -> None:
        """Close every segment for good; when something still waits, without saying that they are whole: the gap that
        the next start records begins where they end."""
        lost = self.backlog or self._unkept or any(self.small.values())
        self.segments.close(whole=not lost)
