"""Append record batches to a journal table, one flush at a time. Refuses to decide when: the caller's clock does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from google_crc32c import extend

from anetcon.errors import StoreError
from anetcon.record import arrow_schema

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

    Raises StoreError when the folder cannot be made or written.
    """

    def __init__(self, folder: Path, table: str, mode: int = 0o640) -> None:
        self.folder = folder
        self.schema = arrow_schema(table)
        self._head = schema_bytes(self.schema)
        self._mode = mode
        self._data = self._index = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.number = (segments(folder) or [0])[-1]
            self._open_next()
        except OSError as error:
            raise StoreError(f"cannot write the journal in {folder}: {error.strerror}") from error

    def _open_next(self) -> None:
        self.number += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND
        self._data = os.open(segment_path(self.folder, self.number), flags, self._mode)
        _write(self._data, self._head)
        self._index = os.open(segment_path(self.folder, self.number, "index"), flags, self._mode)
        _write(self._index, index_line(0, self._head, 0, 0, 0))
        self.size = len(self._head)
        self.rows = 0

    def append(self, batch: pa.RecordBatch, start: int, end: int) -> None:
        """Write one flush covering the wall clock from `start` to `end` (microseconds).

        Raises OSError (ENOSPC and the like) having changed nothing a reader would see; the same flush may be
        tried again.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.schema, options=COMPRESSION) as stream:
            stream.write_batch(batch)
        payload = memoryview(sink.getvalue())[len(self._head) : -len(END_OF_STREAM)]
        self._append(payload, batch.num_rows, start, end)

    def heartbeat(self, start: int, end: int) -> None:
        """Say that nothing happened between `start` and `end` and the writer was alive."""
        self._append(b"", 0, start, end)

    def _append(self, payload: bytes | memoryview, rows: int, start: int, end: int) -> None:
        indexed = os.fstat(self._index).st_size
        try:
            _write(self._data, payload)
            _write(self._index, index_line(self.size, bytes(payload), rows, start, end))
        except OSError:
            os.ftruncate(self._index, indexed)
            os.ftruncate(self._data, self.size)
            raise
        self.size += len(payload)
        self.rows += rows

    def rotate(self) -> None:
        """Close this segment, so that it can be sealed, and go on in the next one."""
        self._close_segment()
        self._open_next()

    def descriptors(self) -> tuple[int, int]:
        """The open files, for whoever syncs them elsewhere."""
        return self._data, self._index

    def sync(self) -> None:
        """fdatasync: what was appended before survives a power cut."""
        os.fdatasync(self._data)
        os.fdatasync(self._index)

    def close(self) -> None:
        """Close the last segment for good."""
        if self._data >= 0:
            self.sync()
            self._close_segment()

    def _close_segment(self) -> None:
        _write(self._data, END_OF_STREAM)
        _write(self._index, b"closed\n")
        os.close(self._data)
        os.close(self._index)
        self._data = self._index = -1

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
