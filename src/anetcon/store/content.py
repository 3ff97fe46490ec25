"""A sum over rows of connections that is the same however they are ordered, encoded and spread over files. Pure.

Compaction compares it, so that no row is lost, doubled or changed by mistake. It proves nothing against somebody who
wants to deceive: he can make rows with any sum. It must be the same for ever and on every machine, so nothing in it
comes from a library that may change its mind (docs/reference/store.md has the rule).

A field that is null adds nothing: so a field of a later format changes no sum of rows that do not have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from anetcon.identity.tuples import Array, blocks
from anetcon.record import CONNECTIONS, Field

PIECE = 50_000
"""Rows that are looked at at once."""

_FIELDS = tuple(field for field in CONNECTIONS if field.sealed)
_MOST = (1 << 63) - 1
"""Of a number: what is larger is written as this to files of format 3."""
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT = np.uint64(33)


class Content(NamedTuple):
    """Two sums of 64 bits."""

    first: int = 0
    second: int = 0

    @classmethod
    def of(cls, table: pa.Table) -> Content:
        """Of these rows, in the schema of the record."""
        total = cls()
        for batch in table.to_batches(PIECE):
            total = total.plus(_of_batch(batch))
        return total

    @classmethod
    def read(cls, text: str) -> Content:
        """As the manifest has it."""
        return cls(int(text[:16], 16), int(text[16:], 16))

    @classmethod
    def sum(cls, some: Iterable[Content]) -> Content:
        """Of all of them."""
        total = cls()
        for each in some:
            total = total.plus(each)
        return total

    def plus(self, other: Content) -> Content:
        """Of the rows of both."""
        return Content(*((one + two) % (1 << 64) for one, two in zip(self, other, strict=True)))

    def __str__(self) -> str:
        return f"{self.first:016x}{self.second:016x}"


def _of_batch(batch: pa.RecordBatch) -> Content:
    columns = [(_words(batch[field.name], field), _present(batch[field.name]), _keys(field.name)) for field in _FIELDS]
    sums = [0, 0]
    for block in blocks(batch.num_rows):
        for lane in range(2):
            total = np.zeros(len(range(*block.indices(batch.num_rows))), np.uint64)
            for words, present, keys in columns:
                *factors, there = keys[lane][-1 - len(words) :]
                for word, factor in zip(words, factors, strict=True):
                    total += (word[block] if present is None else word[block] * present[block]) * factor
                total += there if present is None else present[block] * there
            sums[lane] += int(_mixed(total).sum())
    return Content(*(each % (1 << 64) for each in sums))


def _mixed(words: Array) -> Array:
    """Murmur3's finalizer: one bit in changes half of the bits out."""
    for factor in _MIX:
        words ^= words >> _SHIFT
        words *= factor
    words ^= words >> _SHIFT
    return words


def _present(column: pa.Array) -> Array | None:
    """One where there is a value, zero where it is null; None where there is always one."""
    if not column.null_count:
        return None
    return np.asarray(column.is_valid()).astype(np.uint64)


def _words(column: pa.Array, field: Field) -> list[Array]:
    """A column as numbers of 64 bits; an address is two. Whatever where it is null."""
    if field.kind == "address":
        data = np.frombuffer(column.buffers()[1] or b"", ">u8").reshape(-1, 2)[column.offset :][: len(column)]
        return [data[:, number].astype(np.uint64) for number in range(2)]
    if field.kind in ("text", "enum"):
        names = np.array([_named(name) for name in column.dictionary.to_pylist()] or [0], np.uint64)
        return [names[np.asarray(column.indices.fill_null(0))]]
    plain = column.cast(pa.int64()) if field.kind == "time" else column
    numbers = np.asarray(plain.fill_null(0)).astype(np.uint64)
    return [np.minimum(numbers, np.uint64(_MOST)) if field.kind == "u64" else numbers]


@cache
def _keys(name: str) -> tuple[Array, Array]:
    """The factors of a field's words for each of both sums, all odd; the last is added for there being a value."""
    lanes = [np.frombuffer(_digest(f"{name} {lane}", 24), "<u8").astype(np.uint64) for lane in range(2)]
    return lanes[0] | np.uint64(1), lanes[1] | np.uint64(1)


def _named(text: str | None) -> int:
    """The number that stands for a text."""
    return int.from_bytes(_digest(text or "", 8), "little")


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
