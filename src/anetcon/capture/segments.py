"""The journal's segments that are being written, one a table: when they are synced, and when others are begun.

Nothing here waits for the disk but a write itself: `fdatasync` runs in a thread of its own.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from anetcon.journal.write import Writer
from anetcon.record import TABLES
from anetcon.system.clock import Moment

SEGMENT_ROWS = 1_000_000
"""Rows after which a segment of connections is closed: what the sealer takes in one piece."""

SMALL_SEGMENT_ROWS = 50_000
"""Rows after which a segment of another table is closed: others decide how many there are, and who reads the journal
reads whole segments."""

SEGMENT_LINES = 4096
"""Lines of an index after which a segment is closed: who looks for the last one reads them all."""

DAY = 86_400 * 1_000_000


class Segments:
    """Owns the writers. `lock` is there as long as the folder is the one the daemon owns, and not a mount's empty
    place."""

    def __init__(self, journal: Path, lock: Path | None, now: Moment) -> None:
        self._lock = lock
        self._writers = {table: Writer(journal / table, table, patient=True) for table in TABLES}
        self._begun = self._synced = now.steady
        self._syncer: threading.Thread | None = None
        self._unsynced: OSError | None = None

    @property
    def number(self) -> int:
        """The segment of connections that is being written."""
        return self._writers["connections"].number

    def size(self) -> int:
        """Bytes of those now being written."""
        return sum(writer.size for writer in self._writers.values())

    def encode(self, rows: pa.RecordBatch) -> memoryview | bytes:
        """Connections as they are written."""
        return self._writers["connections"].encode(rows)

    def put(self, payload: memoryview | bytes, rows: int, start: int, end: int) -> None:
        """Write encoded connections of that time. Raises OSError."""
        self._writers["connections"].put(payload, rows, start, end)

    def append(self, table: str, rows: pa.RecordBatch, start: int, end: int) -> None:
        """Write rows of another table. Raises OSError."""
        self._writers[table].append(rows, start, end)

    def open(self) -> None:
        """Begin segments where none is open. Raises OSError; also when the store's folder is not there any more."""
        if self._lock is not None and not self._lock.exists():
            raise OSError(errno.ENODEV, "its file system is not mounted any more", str(self._lock))
        for writer in self._writers.values():
            if not writer.in_place():
                writer.abandon()
            writer.open()

    def rotate(self, now: Moment, after: float) -> None:
        """Begin others in place of those that are full, or have rows and are `after` seconds old."""
        age = now.steady - self._begun
        old = age >= after * 1e6
        for table, writer in self._writers.items():
            full = writer.rows >= (SEGMENT_ROWS if table == "connections" else SMALL_SEGMENT_ROWS)
            if full or writer.lines >= SEGMENT_LINES or (old and writer.rows) or age >= DAY:
                with suppress(OSError):  # the next flush meets the same, and says so
                    writer.rotate()
        if old:
            self._begun = now.steady

    def sync(self, now: Moment, every: float) -> None:
        """Have the disk keep what was written, every so many seconds. Raises OSError when it goes to no file."""
        if now.steady - self._synced < every * 1e6:
            return
        if not all(writer.in_place() for writer in self._writers.values()):
            raise OSError(errno.ENOENT, "its files are not in their place any more")
        if self.syncing():
            return
        self._synced = now.steady
        copies = [os.dup(fd) for fd in self._descriptors()]
        self._syncer = threading.Thread(target=self._sync_all, args=(copies,), daemon=True)
        self._syncer.start()

    def syncing(self) -> bool:
        """Whether a sync is under way."""
        return self._syncer is not None and self._syncer.is_alive()

    def not_kept(self) -> OSError | None:
        """Why the disk did not keep what it took, where it has not; told once."""
        error, self._unsynced = self._unsynced, None
        return error

    def _descriptors(self) -> Iterator[int]:
        for writer in self._writers.values():
            yield from writer.descriptors()

    def _sync_all(self, descriptors: list[int]) -> None:
        """In a thread: the kernel tells of a failure once, so it is kept until the next flush says it."""
        for descriptor in descriptors:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                self._unsynced = error
            finally:
                os.close(descriptor)

    def close(self, *, whole: bool) -> None:
        """Close every one for good; those that are not whole without saying that they are."""
        for writer in self._writers.values():
            with suppress(OSError):
                if whole:
                    writer.close()
            writer.abandon()
