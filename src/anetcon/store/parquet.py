"""How a table becomes a Parquet file that stays: encoded, written aside, synced, read back.

`writer` is the one door to a file's form: which columns, of which types, how encoded. All of it is from the field
table, and every reader of tests/e2e/test_readers.py takes it. Byte-stream-split of numbers would save 0.7 bytes a
connection, and DuckDB before 2.0 and Spark could not read a file (docs/decisions/0016).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anetcon import formats
from anetcon.errors import StoreError
from anetcon.identity.tuples import Array
from anetcon.record import DICTIONARY, arrow_schema, file_fields, file_schema, table_of
from anetcon.store import layout
from anetcon.store.entry import Entry
from anetcon.system import ondisk

ZSTD_LEVEL = 1
"""Higher levels cost time and gain under 1 % here."""

_FEW = 8
_STATISTICS = {"start", "end", "nat_src_ip", "class", "origin", "from", "to"}
"""What questions skip row groups by."""


def writer(sink: Any, kind: str) -> pq.ParquetWriter:
    """What writes the store's files of this kind (a table, or `open`) to a path or stream, a row group each `add`."""
    fields = file_fields(kind)
    return pq.ParquetWriter(
        sink,
        file_schema(kind),
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[field.name for field in fields if field.stored_as == DICTIONARY],
        column_encoding={field.name: field.stored_as for field in fields if field.stored_as != DICTIONARY},
        write_statistics=[field.name for field in fields if field.name in _STATISTICS],
    )


def add(file: pq.ParquetWriter, kind: str, rows: pa.Table) -> None:
    """One row group more, of rows as the journal has them."""
    file.write_table(formats.as_files(rows, kind), row_group_size=max(1, rows.num_rows))


def encode(kind: str, table: pa.Table, groups: Sequence[Array]) -> pa.Buffer:
    """The bytes of a file with these rows of `table`, one row group each.

    Raises MemoryError, also where it is zstd that has too little.
    """
    sink = pa.BufferOutputStream()
    try:
        with writer(sink, kind) as file:
            for group in groups:
                add(file, kind, fetch(table, group))
    except OSError as error:
        if _is_short(error):
            raise MemoryError(str(error)) from error
        raise
    return sink.getvalue()


def fetch(table: pa.Table, rows: Array) -> pa.Table:
    """These rows of a table in many chunks with the same dictionaries. Fetching is several times as fast from one
    chunk, so the stretch they are in is copied into one, unless they are few: a column at a time, which stays in the
    processor's cache and leaves its memory to the next."""
    first = int(rows.min()) if len(rows) else 0
    stretch = table.slice(first, int(rows.max()) - first + 1 if len(rows) else 0)
    if stretch.num_rows > _FEW * len(rows):
        return table.take(pa.array(rows))
    at = pa.array(rows - first)
    return pa.Table.from_arrays([column.combine_chunks().take(at) for column in stretch.columns], schema=table.schema)


def put(store: Path, file: str, data: pa.Buffer, rows: int) -> dict[str, Any]:
    """Write a file aside, sync it, read it back, give it its name; the folder is not synced yet.

    Returns what the manifest says of it. Raises OSError; StoreError when the disk does not give back what it got.
    """
    path = store / file
    layout.make_folder(path.parent)
    aside = ondisk.aside(path)
    digest = hashlib.sha256(data).hexdigest()
    descriptor = ondisk.create(aside, os.O_RDWR)
    try:
        ondisk.write_all(descriptor, memoryview(data))
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is asked, where it can be
    finally:
        os.close(descriptor)
    if _digest(aside) != digest or pq.read_metadata(aside).num_rows != rows:
        raise StoreError(f"{aside} does not read back as it was written; check the disk")
    layout.give_to_group(aside)
    aside.rename(path)
    return {"file": file, "sha256": digest, "bytes": data.size, "rows": rows}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sealed(store: Path, entry: Entry, columns: list[str] | None = None) -> pa.Table:
    """The rows of a file that the manifest names, and that is as it says. Raises StoreError."""
    try:
        require_as_sealed(store, [entry])
    except OSError as error:
        raise StoreError(f"cannot read {store / entry.file}: {error}; restore it from a backup") from error
    return read(store, entry.file, columns)


def read_whole(store: Path, entry: Entry) -> pa.Table:
    """All of them, in the schema of the record. Raises StoreError."""
    return read_sealed(store, entry).cast(arrow_schema(table_of(entry.kind)))


def read(store: Path, file: str, columns: list[str] | None = None) -> pa.Table:
    """A store file's rows, in the schema of the record. Raises StoreError, or MemoryError.

    Without threads: where memory does not do for one more, Arrow waits for it for ever.
    """
    alone = {"partitioning": None, "use_threads": False, "pre_buffer": False}
    try:
        there = None if columns is None else {*columns}.intersection(pq.read_schema(store / file).names)
        rows = pq.read_table(store / file, columns=there and [*there], **alone)
        return formats.as_now(rows, store / file, columns)
    except (OSError, pa.ArrowException) as error:
        if _is_short(error):
            raise MemoryError(str(error)) from error
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is not as it was written"
        raise StoreError(f"cannot read {store / file}: {why}; restore it from a backup") from error


def require_as_sealed(store: Path, entries: Sequence[Entry]) -> None:
    """Raise StoreError for a file that has not the size and the number of rows that the manifest says. (The digest
    would have to read all of it.) Raises FileNotFoundError for one that is not there."""
    for entry in entries:
        size = (store / entry.file).stat().st_size
        if size != entry.bytes:
            raise _changed(store, entry, f"{size} bytes, not {entry.bytes}")
    if len(entries) == 1:
        found = [_rows(store / entries[0].file)]
    else:
        with ThreadPoolExecutor(min(4, len(entries) or 1)) as pool:  # 0.3 ms a file
            found = [*pool.map(lambda entry: _rows(store / entry.file), entries)]
    for entry, rows in zip(entries, found, strict=True):
        if rows != entry.rows:
            raise _changed(store, entry, "damaged" if rows is None else f"{rows} rows, not {entry.rows}")


def _rows(path: Path) -> int | None:
    try:
        return int(pq.read_metadata(path).num_rows)
    except MemoryError:
        raise
    except pa.ArrowException:
        return None


def _is_short(error: Exception) -> bool:
    """Whether it is memory that is too little, and not the file that is bad: zstd's error has no class of its own."""
    return isinstance(error, MemoryError) or "not enough memory" in str(error)


def _changed(store: Path, entry: Entry, found: str) -> StoreError:
    said = layout.manifest_path(store)
    return StoreError(f"cannot read {store / entry.file}: {found}, as {said} says; restore it from a backup")
