"""How a table becomes a Parquet file that stays: ordered, encoded, written aside, synced, read back.

Sizes and times measured on 500,000 realistic connections (bench/realistic.py). Each column has the encoding that is
smallest for little time: byte-stream-split where high bytes repeat and low ones do not (times, ports, counters), a
dictionary where values repeat, plain under zstd for addresses that the order already puts side by side. DuckDB and
format 2.11 of Parquet set the limits: byte-stream-split of 16-byte values is not read everywhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anetcon.errors import StoreError
from anetcon.identity.tuples import Array
from anetcon.store import layout

ROW_GROUP = 120_000
"""Rows: large enough for dictionaries, small enough that a question bounded in time reads little."""

ZSTD_LEVEL = 1
"""Higher levels cost time and gain under 1 % here."""

_SPLIT = (
    *("start", "end", "proto", "src_port", "nat_src_port", "packets_out", "bytes_out", "packets_in", "bytes_in"),
    *("zone", "mark", "ct_id"),
)
_PLAIN = ("src_ip", "nat_src_ip", "netns_inode")
_STATISTICS = ["start", "end", "from", "to"]

_MAPPED = np.uint64(0xFFFF0000)
_LOW = np.uint64(0xFFFFFFFF)


def encode(table: pa.Table, groups: Iterable[Array] | None = None) -> pa.Buffer:
    """The bytes of a file with these rows of `table`, one row group each; with all in their order by default.

    `table` may be in many chunks, as long as their dictionaries are the same: a row group is fetched out of them when
    it is written, so that there never is a second copy of everything.
    """
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
        for group in pieces(np.arange(table.num_rows)) if groups is None else groups:
            writer.write_table(table.take(pa.array(group)), row_group_size=ROW_GROUP)
    return sink.getvalue()


def pieces(rows: Array) -> list[Array]:
    """Row numbers, a row group at a time."""
    return [rows[at : at + ROW_GROUP] for at in range(0, len(rows), ROW_GROUP)]


def by_address(rows: Array, source: Array, destination: Array) -> list[Array]:
    """Row numbers, a row group at a time, inside of each by source and destination address, (n, 2) words for every
    row: a fifth smaller."""
    return [group[_by_address(source[group], destination[group])] for group in pieces(rows)]


def _by_address(source: Array, destination: Array) -> Array:
    """The order of these address pairs, (n, 2) words each: IPv4 first, and that by one sort of one word."""
    four = np.ones(len(source), np.bool_)
    for address in (source, destination):
        four &= (address[:, 0] == 0) & (address[:, 1] & _LOW == _MAPPED)
    others = np.flatnonzero(~four)
    at = np.flatnonzero(four) if len(others) else slice(None)
    low = [(address[at, 1] >> np.uint64(32)).astype(np.uint32).byteswap() for address in (source, destination)]
    order: Array = np.argsort(low[0].astype(np.uint64) << np.uint64(32) | low[1])
    if not len(others):
        return order
    keys = [address[others, word].byteswap() for address in (destination, source) for word in (1, 0)]
    return np.concatenate((np.flatnonzero(four)[order], others[np.lexsort(keys)]))


def put(store: Path, file: str, data: pa.Buffer, rows: int) -> dict[str, Any]:
    """Write a file aside, sync it, read it back, give it its name; the folder is not synced yet.

    Returns what the manifest says of it. Raises OSError; StoreError when the disk does not give back what it got.
    """
    path = store / file
    layout.make_folder(path.parent)
    aside = path.with_name(path.name + ".new")
    digest = hashlib.sha256(data).hexdigest()
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, layout.FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
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


def read(store: Path, file: str, columns: list[str] | None = None) -> pa.Table:
    """A store file's rows, in the schema of the record. Raises StoreError."""
    try:
        return pq.read_table(store / file, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {store / file}: {error}; restore it from a backup") from error
