"""How a table becomes a Parquet file that stays: ordered, encoded, written aside, synced, read back.

Sizes and times measured on 500,000 realistic connections (bench/realistic.py). Each column has the encoding that is
smallest for little time: byte-stream-split where high bytes repeat and low ones do not (times, ports, counters), a
dictionary where values repeat, plain under zstd for addresses that the order already puts side by side. DuckDB and
format 2.11 of Parquet set the limits: byte-stream-split of 16-byte values is not read everywhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anetcon import formats
from anetcon.errors import StoreError
from anetcon.identity.tuples import Array
from anetcon.record import arrow_schema
from anetcon.store import layout
from anetcon.store.entry import Entry
from anetcon.system import ondisk

ROW_GROUP = 120_000
"""Rows: large enough for dictionaries, small enough that a question bounded in time reads little."""

ZSTD_LEVEL = 1
"""Higher levels cost time and gain under 1 % here."""

_SPLIT = (
    *("start", "end", "proto", "src_port", "nat_src_port", "packets_out", "bytes_out", "packets_in", "bytes_in"),
    *("zone", "mark", "ct_id"),
)
_PLAIN = ("src_ip", "nat_src_ip", "netns_inode")
_FEW = 8
_STATISTICS = ["start", "end", "from", "to"]

_MAPPED = np.uint64(0xFFFF0000)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROW = np.uint64((1 << ROW_GROUP.bit_length()) - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)


def encode(table: pa.Table, groups: Sequence[Array] | None = None) -> pa.Buffer:
    """The bytes of a file with these rows of `table`, one row group each; with all in their order by default.

    Raises MemoryError, also where it is zstd that has too little.
    """
    try:
        return _encode(table, pieces(np.arange(table.num_rows)) if groups is None else groups)
    except OSError as error:
        if _is_short(error):
            raise MemoryError(str(error)) from error
        raise


def _encode(table: pa.Table, groups: Sequence[Array]) -> pa.Buffer:
    names = table.column_names
    split = [name for name in _SPLIT if name in names and "src_ip" in names]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[name for name in names if name not in split and name not in _PLAIN],
        column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        write_statistics=[name for name in _STATISTICS if name in names],
    ) as writer:
        for group in groups:
            writer.write_table(fetch(table, group), row_group_size=ROW_GROUP)
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


def pieces(rows: Array) -> list[Array]:
    """Row numbers, a row group at a time."""
    return [rows[at : at + ROW_GROUP] for at in range(0, len(rows), ROW_GROUP)]


def by_address(rows: Array, source: Array, destination: Array) -> list[Array]:
    """Row numbers, a row group at a time, inside of each by source and destination address, (n, 2) words for every
    row: a fifth smaller."""
    return [group[_by_address(source.take(group, axis=0), destination.take(group, axis=0))] for group in pieces(rows)]


def _by_address(source: Array, destination: Array) -> Array:
    """The order of at most ROW_GROUP address pairs: IPv4 by source and as much of the destination as fits into a word
    beside the row number (sorting such words takes a third of an argsort); IPv6 so that equal ones are together."""
    key = _in_order(source[:, 1]) << _HALF | _in_order(destination[:, 1])
    six = np.flatnonzero((source[:, 0] != 0) | (source[:, 1] & _LOW != _MAPPED))
    if len(six):
        key[six] = ((source[six, 0] ^ source[six, 1]) * _MIX >> _HALF << _HALF) | (
            (destination[six, 0] ^ destination[six, 1]) * _MIX >> _HALF
        )
    key &= ~_ROW
    key |= np.arange(len(key), dtype=np.uint64)
    key.sort()
    return (key & _ROW).astype(np.int64)


def _in_order(word: Array) -> Array:
    """The IPv4 addresses in the second words of addresses, as numbers that sort as they do."""
    return (word >> _HALF).astype(np.uint32).byteswap().astype(np.uint64)


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
    return read_sealed(store, entry).cast(arrow_schema("connections" if entry.kind == "open" else entry.kind))


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
