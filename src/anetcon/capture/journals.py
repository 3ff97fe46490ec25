"""The journal's four tables as capture writes them: when to flush, sync and start a new segment.

Nothing here may make capture wait: a flush is a write, and `fdatasync` runs in a thread of its own. A flush that fails
is tried again; what no longer fits meanwhile is dropped, counted, and becomes a gap record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anetcon.capture import batch
from anetcon.decode.columns import Columns
from anetcon.journal.write import Writer
from anetcon.record import TABLES

SEGMENT_ROWS = 1_000_000
"""Rows after which a segment is closed: what the sealer takes in one piece."""

DAY = 86_400 * 1_000_000


@dataclass(frozen=True)
class Settings:
    """How the journal is written; times in seconds."""

    store: Path
    node: str
    flush_seconds: float
    sync_seconds: float
    seal_minutes: float


class Journals:
    """Owns the writers. All times are microseconds of wall clock, given by the caller."""

    def __init__(self, settings: Settings, now: int, log: Callable[[str], None]) -> None:
        self.settings = settings
        self.small: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES if table != "connections"}
        self.flushed = self._begun = self._synced = now
        self.flushes = self.rows = self.failing = 0
        self._log = log
        self._lost = 0
        self._lost_since = 0
        folder = settings.store / "journal"
        self._writers = {table: Writer(folder / table, table) for table in TABLES}
        self._syncer: threading.Thread | None = None

    def gap(self, netns: str | None, start: int | None, end: int | None, cause: str, lost: int | None = None) -> None:
        """Record that something may be missing; open ended without `end`."""
        row = {"node": self.settings.node, "netns": netns, "from": start, "to": end, "cause": cause, "lost": lost}
        self.small["gaps"].append(row)

    def due(self, now: int, pending: bool) -> bool:
        """Whether it is time to flush, given whether anything waits to be."""
        waiting = pending or any(self.small.values())
        return now - self.flushed >= (self.settings.flush_seconds if waiting else self.settings.sync_seconds) * 1e6

    def bytes_written(self) -> int:
        """Size of the segments now being written."""
        return sum(writer.size for writer in self._writers.values())

    def flush(self, columns: Columns, names: list[str], now: int) -> None:
        """Write what there is, and empty the columns. Never raises for a full or failing disk."""
        try:
            self._write(columns, names, now)
        except OSError as error:
            self.failing += 1
            if self.failing == 1:
                self._log(f"cannot write the journal: {error.strerror}; make room or repair the disk, trying again")
            self._shed(columns, now)
            return
        if self.failing:
            self._log(f"the journal is written again after {self.failing} failed flushes")
            self.failing = 0
        if now - self._synced >= self.settings.sync_seconds * 1e6:
            self._sync(now)

    def _write(self, columns: Columns, names: list[str], now: int) -> None:
        if self._lost:
            self.gap(None, self._lost_since, now, "disk-full", self._lost)
            self._lost = 0
        for table, waiting in self.small.items():
            if waiting:
                self._writers[table].append(batch.rows(table, waiting), self.flushed, now)
                waiting.clear()
        writer = self._writers["connections"]
        if columns.rows:
            writer.append(batch.connections(columns, self.settings.node, names), self.flushed, now)
            self.rows += columns.rows
            columns.rows = 0
        else:
            writer.heartbeat(self.flushed, now)
        self.flushed = now
        self.flushes += 1
        self._rotate(now)

    def _shed(self, columns: Columns, now: int) -> None:
        """Make room when the disk takes nothing and the columns are all but full."""
        if columns.rows * 2 < columns.capacity:
            return
        if not self._lost:
            self._lost_since = self.flushed
            self._log(f"the journal cannot be written since {now - self.flushed} us: records are being lost")
        self._lost += columns.rows
        columns.rows = 0

    def _rotate(self, now: int) -> None:
        age = now - self._begun
        old = age >= self.settings.seal_minutes * 60e6
        for writer in self._writers.values():
            if writer.rows >= SEGMENT_ROWS or (old and writer.rows) or age >= DAY:
                writer.rotate()
        if old:
            self._begun = now

    def _sync(self, now: int) -> None:
        if self._syncer is not None and self._syncer.is_alive():
            return
        self._synced = now
        copies = [os.dup(fd) for writer in self._writers.values() for fd in writer.descriptors()]
        self._syncer = threading.Thread(target=_sync_all, args=(copies,), daemon=True)
        self._syncer.start()

    def close(self) -> None:
        """Close every segment for good."""
        for writer in self._writers.values():
            writer.close()


def _sync_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        try:
            os.fdatasync(descriptor)
        except OSError:
            pass  # the next flush meets the same error and reports it
        finally:
            os.close(descriptor)
