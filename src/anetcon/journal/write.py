"""Append record batches to a journal table, one flush at a time. Refuses to decide when: the caller's clock does."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from google_crc32c import extend

from anetcon.errors import StoreError
from anetcon.record import arrow_schema
from anetcon.system import ondisk

if TYPE_CHECKING:
    from types import TracebackType

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The Arrow IPC stream's end marker (Arrow columnar format, "IPC Streaming Format")."""

COMPRESSION = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
"""Measured: 150 bytes a row become about 35, and 80 ns of compression save several hundred of writing them. Handing a
flush's buffers to threads costs more than it gains."""


def segment_path(folder: Path, number: int, kind: str = "arrows") -> Path:
    """Path of a segment (`kind` arrows) or of its index (`kind` index)."""
    return folder / f"{number:010d}.{kind}"


def segments(folder: Path) -> list[int]:
    """Numbers of the segments in a table's folder, oldest first; empty when the folder is not there yet."""
    try:
        return sorted(int(name[:-6]) for name in os.listdir(folder) if name.endswith(".index"))  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []


def schema_bytes(schema: pa.Schema) -> bytes:
    """What an Arrow stream of this schema starts with."""
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    return bytes(sink.getvalue())[: -len(END_OF_STREAM)]


def index_line(offset: int, payload: bytes | memoryview, rows: int, start: int, end: int) -> bytes:
    """One line of the index, its own text under the checksum too."""
    text = b"%d %d %d %d %d " % (offset, len(payload), rows, start, end)
    return b"%s%08x\n" % (text, extend(extend(0, payload), text))


class Writer:
    """Writes one table's segments under `folder`. Opens the first segment at once, behind whatever is there.

    Raises StoreError when the folder cannot be made or written; with `patient` it does not: the segment is then opened
    by the first flush for which the disk has room.
    """

    def __init__(self, folder: Path, table: str, mode: int = 0o640, patient: bool = False) -> None:
        self.folder = folder
        self.schema = arrow_schema(table)
        self.number = self.size = self.rows = self.lines = 0
        self._head = schema_bytes(self.schema)
        self._mode = mode
        self._data = self._index = -1
        try:
            if not patient:
                self.open()
        except OSError as error:
            raise StoreError(f"cannot write the journal in {folder}: {error.strerror}") from error

    def open(self) -> None:
        """Begin the next segment, if none is open. Raises OSError, and leaves nothing behind then."""
        if self._index >= 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.number = (segments(self.folder) or [0])[-1] + 1
        data, index = segment_path(self.folder, self.number), segment_path(self.folder, self.number, "index")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            # Without an index what is there counts for nothing.
            self._data = ondisk.open_file(data, flags | os.O_TRUNC, self._mode)
            _write(self._data, self._head)
            self._index = ondisk.open_file(index, flags | os.O_EXCL, self._mode)
            _write(self._index, index_line(0, self._head, 0, 0, 0))
        except OSError:
            self.abandon()
            for path in (index, data):
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        self.size = len(self._head)
        self.rows = self.lines = 0

    def append(self, batch: pa.RecordBatch, start: int, end: int) -> None:
        """Write one flush covering the wall clock from `start` to `end` (microseconds).

        Raises OSError (ENOSPC and the like) having changed nothing a reader would see; the same flush may be
        tried again.
        """
        self.put(self.encode(batch), batch.num_rows, start, end)

    def encode(self, batch: pa.RecordBatch) -> memoryview:
        """The bytes of a flush, for `put`."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.schema, options=COMPRESSION) as stream:
            stream.write_batch(batch)
        return memoryview(sink.getvalue())[len(self._head) : -len(END_OF_STREAM)]

    def heartbeat(self, start: int, end: int) -> None:
        """Say that nothing happened between `start` and `end` and the writer was alive."""
        self.put(b"", 0, start, end)

    def put(self, payload: bytes | memoryview, rows: int, start: int, end: int) -> None:
        """Write a flush that is encoded already; see `append`."""
        self.open()
        indexed = os.fstat(self._index).st_size
        try:
            _write(self._data, payload)
            _write(self._index, index_line(self.size, bytes(payload), rows, start, end))
        except OSError:
            self._undo(indexed)
            raise
        self.size += len(payload)
        self.rows += rows
        self.lines += 1

    def _undo(self, indexed: int) -> None:
        """Cut off what a failed write left. A disk that does not even do that gets no more of this segment: half a
        line at its end says nothing, and what was in it is written again into the next."""
        try:
            os.ftruncate(self._index, indexed)
            os.ftruncate(self._data, self.size)
        except OSError:
            self.abandon()

    def rotate(self) -> None:
        """Close this segment, so that it can be sealed, and go on in the next one.

        Raises OSError when the disk takes no more; then either this segment goes on or the next flush opens another.
        """
        if self._index >= 0:
            self._close_segment()
        self.open()

    def in_place(self) -> bool:
        """Whether the open segment is still to be found under its name. True when none is open."""
        try:
            return self._index < 0 or os.path.samestat(
                os.fstat(self._index), segment_path(self.folder, self.number, "index").stat()
            )
        except OSError:
            return False

    def descriptors(self) -> tuple[int, ...]:
        """The open files, for whoever syncs them elsewhere."""
        return (self._data, self._index) if self._index >= 0 else ()

    def sync(self) -> None:
        """fdatasync: what was appended before survives a power cut."""
        for descriptor in self.descriptors():
            os.fdatasync(descriptor)

    def close(self) -> None:
        """Close the last segment for good."""
        if self._index >= 0:
            self.sync()
            self._close_segment()

    def abandon(self) -> None:
        """Let go of the segment without saying that it is whole: whoever reads it next takes it for a crash."""
        for descriptor in (self._data, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._index = -1

    def _close_segment(self) -> None:
        indexed = os.fstat(self._index).st_size
        try:
            _write(self._data, END_OF_STREAM)
            _write(self._index, b"closed\n")
        except OSError:
            self._undo(indexed)
            raise
        self.abandon()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
