"""Read a journal table up to its last good line. Never writes, never raises for damage, needs no daemon.

A line is good when its checksum holds and what it stands for can be unpacked to rows of the table: whoever may write a
journal can forge a checksum, so what Arrow would believe of a batch without looking is looked at, too.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from google_crc32c import extend

from anetcon import formats
from anetcon.journal.write import segment_path, segments
from anetcon.record import TABLES


class Position(NamedTuple):
    """A place in a journal table: everything before index line `line` of segment `segment` has been read."""

    segment: int
    line: int


BEGINNING = Position(0, 0)


BAD = (pa.ArrowException, MemoryError, OSError, StopIteration, UnicodeDecodeError, TypeError, ValueError, LookupError)
"""What Arrow raises for a batch that is none."""

MOST_UNPACKED = 255
"""How many bytes a byte of lz4 stands for at most."""

PAGE = 1 << 16
"""What Arrow asks for beside it, and more."""


class Line(NamedTuple):
    """One good line of an index: see the package docstring. Times in microseconds."""

    offset: int
    length: int
    rows: int
    start: int
    end: int
    crc: int
    text: bytes


@dataclass(frozen=True)
class Flush:
    """What one index line stands for: `batch` is None for a heartbeat; reading goes on at `after`."""

    after: Position
    start: int
    end: int
    batch: pa.RecordBatch | None


def parse_line(raw: bytes) -> Line | None:
    """An index line without its newline, or None if it is not one."""
    text, _, crc = raw.rpartition(b" ")
    numbers = text.split(b" ")
    if len(numbers) != 5 or len(crc) != 8 or not all(n.isdigit() for n in numbers):
        return None
    try:
        values = [int(n) for n in numbers]
        return Line(values[0], values[1], values[2], values[3], values[4], int(crc, 16), text + b" ")
    except ValueError:
        return None


def is_closed(folder: Path, number: int, there: list[int] | None = None) -> bool:
    """Whether nothing more will be written to a segment; `there` are the segments, if they have just been listed."""
    if ((segments(folder) if there is None else there) or [0])[-1] > number:
        return True
    try:
        with segment_path(folder, number, "index").open("rb") as index:
            index.seek(-min(64, os.fstat(index.fileno()).st_size), os.SEEK_END)
            return index.read().endswith(b"closed\n")
    except FileNotFoundError:
        return False


def ended_cleanly(folder: Path) -> bool:
    """Whether the last writer closed its last segment."""
    numbers = segments(folder)
    return bool(numbers) and is_closed(folder, numbers[-1])


def _index_lines(folder: Path, number: int) -> list[bytes]:
    """The lines of a segment's index as it is now, whole ones alone. Raises FileNotFoundError when it is gone."""
    with segment_path(folder, number, "index").open("rb") as index:
        return index.read().split(b"\n")[:-1]


def good_lines(
    folder: Path, number: int, first: int = 1, lines: list[bytes] | None = None
) -> Iterator[tuple[int, Line, bytes, bytes]]:
    """(number, line, its bytes, the segment's schema bytes) from line `first` on, up to the last one that holds now, or
    of `lines`, the index as it was read before. Looks at no batch.

    Raises FileNotFoundError when the segment is gone.
    """
    lines = _index_lines(folder, number) if lines is None else lines
    view = data(folder, number)
    head = _checked(view, lines[0]) if lines else None
    expected: int | None = None
    for number_of_line, raw in enumerate(lines[first:], first):
        line, payload = parse_line(raw), _checked(view, raw)
        if head is None or line is None or payload is None or (expected is not None and line.offset != expected):
            return
        expected = line.offset + line.length
        yield number_of_line, line, payload, head


def data(folder: Path, number: int) -> memoryview:
    """The bytes of a segment; none when its file alone is gone. Raises FileNotFoundError when its index is too."""
    try:
        with segment_path(folder, number).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return memoryview(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)) if size else memoryview(b"")
    except FileNotFoundError:
        if segment_path(folder, number, "index").exists():
            return memoryview(b"")
        raise


def read_segment(folder: Path, number: int, first: int = 0, columns: Collection[str] | None = None) -> Iterator[Flush]:
    """The good flushes of one segment from index line `first` on, up to the last good line there is now.

    With `columns` only those are unpacked. Raises FileNotFoundError when the segment is gone (sealed and dropped
    meanwhile).
    """
    return unpacked(good_lines(folder, number, max(first, 1)), folder, number, columns)


def unpacked(
    lines: Iterable[tuple[int, Line, bytes, bytes]], folder: Path, number: int, columns: Collection[str] | None = None
) -> Iterator[Flush]:
    """What these lines of a segment (`good_lines`) stand for, up to the first whose batch is none."""
    options = pa.ipc.IpcReadOptions(use_threads=False)
    for number_of_line, line, payload, head in lines:
        try:
            if columns is not None and not options.included_fields:
                names = pa.ipc.read_schema(pa.py_buffer(head)).names
                options.included_fields = [at for at, name in enumerate(names) if name in columns]
            batch = _batch(line, head + payload, options) if line.length else None
            if batch is not None:
                batch = formats.as_now(batch, segment_path(folder, number), columns)
        except BAD as error:
            if isinstance(error, MemoryError) and _is_short(error, line):
                raise
            return
        yield Flush(Position(number, number_of_line + 1), line.start, line.end, batch)


def _is_short(error: MemoryError, line: Line) -> bool:
    """Whether it is memory that is too little, and not a line that asks for more than its bytes can stand for."""
    asked = re.search(r"size (\d+)", str(error))
    return asked is None or int(asked[1]) <= MOST_UNPACKED * line.length + PAGE


def _batch(line: Line, stream: bytes, options: pa.ipc.IpcReadOptions) -> pa.RecordBatch:
    """The rows of a line. Raises one of BAD, also where they are not what the line says."""
    batch = pa.ipc.open_stream(pa.py_buffer(stream), options=options).read_next_batch()
    batch.validate(full=True)
    table = (batch.schema.metadata or {}).get(b"anetcon.table", b"").decode()
    listed = {field.name: field.values for field in TABLES.get(table, ()) if field.kind == "enum"}
    strange = (set(batch[n].dictionary.to_pylist()) - set(listed[n]) for n in batch.schema.names if n in listed)
    if batch.num_rows != line.rows or any(strange):
        raise ValueError
    return batch


def _checked(view: memoryview, raw: bytes) -> bytes | None:
    """The bytes an index line stands for, if the line and they hold."""
    line = parse_line(raw)
    if line is None or line.offset + line.length > len(view):
        return None
    payload = bytes(view[line.offset : line.offset + line.length])
    return payload if extend(extend(0, payload), line.text) == line.crc else None


def read(folder: Path, after: Position = BEGINNING) -> Iterator[Flush]:
    """Every good flush of a table behind `after`, oldest first, up to what is there now.

    A damaged line ends its own segment only: the next segments are read.
    """
    for number in segments(folder):
        if number < after.segment:
            continue
        try:
            yield from read_segment(folder, number, after.line if number == after.segment else 0)
        except FileNotFoundError:
            continue


def last_flush(folder: Path) -> int | None:
    """Until which microsecond the table can be read back; None if nothing can.

    What is damaged does not count: also after a power cut, everything up to here is there. Where a segment was sealed
    and dropped while the others were looked at, those are looked at again: what followed it has lines by now.
    """
    last = last_written(folder)
    return None if last is None else last[1]


def last_written(folder: Path) -> tuple[int, int] | None:
    """The last segment that can be read back, and until when."""
    while True:
        for number in reversed(segments(folder)):
            try:
                ends = [line.end for _, line, _, _ in good_lines(folder, number)]
            except FileNotFoundError:
                break
            if ends:
                return number, ends[-1]
        else:
            return None
