"""The identity tuple of connections as columns of numbers, and its keyed hash. Pure; knows nothing of start and end."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anetcon.record import ALONE, Family, Origin, StartIs, label

Array = npt.NDArray[Any]

OPEN = -1
"""`end` of a connection that is open."""

_NUMBERS = ("netns_inode", "proto", "zone", "src_port", "dst_port", "ct_id", "start")

IDENTITY = [*_NUMBERS, "end", "src_ip", "dst_ip", "origin", "node", "family", "start_is"]
"""The columns of the record that `columns_of` reads."""

PLAIN, DUMP, SINGLE = range(3)
"""What a row's origin makes of it: an event, a dump, a connection by itself."""

_KINDS = {label(Origin.DUMP): DUMP, **dict.fromkeys(map(label, ALONE), SINGLE)}

_FAMILIES = {label(family): int(family) for family in Family}

_WORDS = 7
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def blocks(rows: int, size: int = 1 << 14) -> list[slice]:
    """Pieces small enough that what is computed of one is still in the processor's cache for the next step."""
    return [slice(at, min(at + size, rows)) for at in range(0, max(rows, 1), size)]


def new_key() -> Array:
    """A random key for `flow_hash`: who does not know it cannot choose tuples that collide."""
    return np.frombuffer(secrets.token_bytes(8 * (2 * _WORDS + 2)), np.uint64) | np.uint64(1)


def node_number(name: str) -> int:
    """A number that stands for a node's name in `words`."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def words(columns: Mapping[str, Array]) -> list[Array]:
    """The identity tuple as uint64 columns; a column whose values are all equal may have length 1.

    `columns` has netns_inode, family, proto, zone, src_port, dst_port, src_ip, dst_ip (n, 16 bytes), node
    (`node_number`).
    """
    source, destination = (columns[name].view(np.uint64) for name in ("src_ip", "dst_ip"))
    small = columns["family"].astype(np.uint64)
    for block in blocks(len(small)):
        for name, bits in (("dst_port", 16), ("src_port", 16), ("zone", 16), ("proto", 8)):
            small[block] <<= np.uint64(bits)
            small[block] |= columns[name][block]
    often_constant = (source[:, 0], destination[:, 0], columns["netns_inode"], columns["node"])
    return [source[:, 1], destination[:, 1], small, *(w[:1] if (w == w[:1]).all() else w for w in often_constant)]


def hash_words(tuples: list[Array], rows: int, key: Array) -> Array:
    """64 bits a row: multilinear hashing of 32-bit halves, then mixed so that every bit is fit for use.

    Two different tuples collide for one key in 2**32 at most, whoever chose them (Lemire, Kaser: "Strongly universal
    string hashing is fast"); those nobody chose, for one in 2**64.
    """
    hashes = np.full(rows, key[-1])
    for block in blocks(rows):
        total = hashes[block]
        for number, word in enumerate(tuples):
            part = word if len(word) == 1 else word[block]
            low = (part & _LOW) + key[2 * number : 2 * number + 1]
            low *= (part >> _HALF) + key[2 * number + 1 : 2 * number + 2]
            total += low
        total ^= total >> _HALF
        total *= key[-2:-1]
        total ^= total >> np.uint64(29)
    return hashes


def flow_hash(columns: Mapping[str, Array], key: Array) -> Array:
    """A keyed 64-bit hash of each row's identity tuple, the start not included. For `columns` see `words`."""
    return hash_words(words(columns), len(columns["proto"]), key)


def by_hash(hashes: Array) -> tuple[Array, Array]:
    """Row numbers sorted by hash, then row, and where each run of equal hashes begins.

    Sorting one word a row, hash above and row number below, is six times as fast as an argsort. The bits of the hash
    that fall off make for a few runs with more than one hash in them.
    """
    rows = len(hashes)
    bits = np.uint64(max(rows - 1, 1).bit_length())
    packed = hashes >> bits << bits
    packed |= np.arange(rows, dtype=np.uint64)
    packed.sort()
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    packed >>= bits
    first = np.ones(rows, np.bool_)
    np.not_equal(packed[1:], packed[:-1], out=first[1:])
    return order, np.flatnonzero(first)


def columns_of(table: pa.Table | pa.RecordBatch, before: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """What identity needs of journal-schema rows: `end` is OPEN where null, `kind` is PLAIN, DUMP or SINGLE, `found`
    whether `start` is when it was found. Where the `end` of a SINGLE is not known, it is its start. A `ct_id`
    that is not kept is 0: it is that of no other row.

    The rows of `before`, columns of the same kind, come first.
    """
    readers: dict[str, Callable[[pa.Array], Array]] = dict.fromkeys(_NUMBERS, _numbers)
    readers["end"] = lambda chunk: _numbers(chunk, OPEN)
    readers["dst_port"] = readers["ct_id"] = lambda chunk: _numbers(chunk, 0)
    readers["src_ip"] = readers["dst_ip"] = _addresses
    readers["node"] = lambda chunk: _per_value(chunk, node_number, np.uint64)
    readers["family"] = lambda chunk: _per_value(chunk, _FAMILIES.__getitem__, np.uint8)
    readers["origin"] = lambda chunk: _per_value(chunk, lambda origin: _KINDS.get(origin, PLAIN), np.uint8)
    readers["start_is"] = lambda chunk: _per_value(chunk, label(StartIs.FOUND).__eq__, np.bool_)
    columns = {}
    for name, reader in readers.items():
        column = {"origin": "kind", "start_is": "found"}.get(name, name)
        columns[column] = _joined([*([before[column]] if before else []), *map(reader, _chunks(table[name]))])
    single = columns["kind"] == SINGLE
    if single.any():
        columns["end"] = np.where(single & (columns["end"] == OPEN), columns["start"], columns["end"])
    return columns


def rows_of(columns: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    """These rows of all columns. (An index would take ten times as long for addresses.)"""
    return {name: column.take(rows, axis=0) for name, column in columns.items()}


def numbers(column: pa.Array | pa.ChunkedArray, null: int | None = None) -> Array:
    """A column of numbers or times as numpy, `null` in place of nulls; not copied when it is in one piece."""
    return _joined([_numbers(chunk, null) for chunk in _chunks(column)])


def addresses(column: pa.Array | pa.ChunkedArray) -> Array:
    """A column of 16-byte addresses as (n, 16) bytes; not copied when it is in one piece."""
    return _joined([_addresses(chunk) for chunk in _chunks(column)])


def one_piece(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Small batches in one: a thousand of them cost several times as much at every step."""
    table = pa.Table.from_batches(batches, schema)
    return table if len(batches) == 1 else table.unify_dictionaries().combine_chunks()


def _chunks(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    """The column's pieces, at least one."""
    if not isinstance(column, pa.ChunkedArray):
        return [column]
    return column.chunks or [pa.nulls(0, column.type)]


def _numbers(chunk: pa.Array, null: int | None = None) -> Array:
    plain = chunk.view(pa.int64()) if pa.types.is_timestamp(chunk.type) else chunk
    found: Array = (plain if null is None or not plain.null_count else plain.fill_null(null)).to_numpy()
    return found


def _addresses(chunk: pa.Array) -> Array:
    if not len(chunk):
        return np.empty((0, 16), np.uint8)
    return np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * 16 :][: len(chunk) * 16].reshape(-1, 16)


def _per_value(chunk: pa.DictionaryArray, function: Callable[[str], Any], dtype: Any) -> Array:
    """A function of text, called once for each entry of the chunk's dictionary; zero where null."""
    known = np.array([*(function(value) for value in chunk.dictionary.to_pylist()), 0], dtype)
    indices = chunk.indices.fill_null(len(known) - 1) if chunk.null_count else chunk.indices
    found: Array = known[indices.to_numpy()]
    return found


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
