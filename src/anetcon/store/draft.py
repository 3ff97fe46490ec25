"""Connections to be written: which of them make a row group of a file, and their order in it.

- Rows are cut into row groups as they come, which is by their end. So a question about a moment reads few row groups.
- In a file of more than one, connections that lasted over SLOW are in row groups of their own: one of them makes the
  times of its whole row group reach back.
- In a row group they are by class, protocol, destination port, reason, namespace, destination, source, and end. So
  what is alike is side by side: a fifth smaller than by time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from anetcon.identity.tuples import Array, addresses, columns_of, numbers
from anetcon.record import EndReason

ROW_GROUP = 250_000
"""Rows: large enough to be small, small enough that a question bounded in time reads little (docs/decisions/0016)."""

SLOW = 150_000_000
"""Microseconds. It is above what TIME_WAIT adds to a short connection."""

_MAPPED = np.uint64(0xFFFF0000)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Draft(NamedTuple):
    """Connections to be written: a table whose chunks have the same dictionaries; of all its rows the source and
    destination addresses, as (n, 2) words, and the starts and ends."""

    table: pa.Table
    words: tuple[Array, Array]
    times: tuple[Array, Array]

    @classmethod
    def of(cls, table: pa.Table) -> Draft:
        """All that there is to know of a table."""
        table = table.unify_dictionaries().combine_chunks()
        source, destination = (addresses(table[name]).view(np.uint64) for name in ("src_ip", "dst_ip"))
        return cls(table, (source, destination), (numbers(table["start"]), columns_of(table)["end"]))

    def every(self) -> Array:
        """The number of each."""
        return np.arange(self.table.num_rows)

    def groups(self, these: Array) -> list[Array]:
        """The numbers of these rows, which come by their end, a row group at a time and each in its order."""
        parts = [these]
        if len(these) > ROW_GROUP:
            slow = (self.times[1][these] - self.times[0][these]) > SLOW
            parts = [part for part in (these[~slow], these[slow]) if len(part)]
        return [self.ordered(piece) for part in parts for piece in pieces(part)]

    def ordered(self, these: Array) -> Array:
        """The numbers of these rows in the order of a row group; their own decides between equal ones."""
        kind = np.zeros(len(these), np.uint64)
        reason = len(EndReason)
        for codes, bits in (
            (self._codes("class", these, 0), 2),
            (numbers(self.table["proto"])[these], 8),
            (numbers(self.table["dst_port"], 0)[these], 16),
            (self._codes("end_reason", these, reason), 4),
        ):
            kind = kind << np.uint64(bits) | codes.astype(np.uint64)
        source, destination = (_short(words.take(these, axis=0)) for words in self.words)
        return these[_sorted(kind, self._codes("netns", these, 0).astype(np.uint64), destination, source)]

    def _codes(self, name: str, these: Array, null: int) -> Array:
        """The codes of a column of texts."""
        chunks = self.table[name].chunks
        found = [(chunk.indices.fill_null(null) if chunk.null_count else chunk.indices).to_numpy() for chunk in chunks]
        codes: Array = np.concatenate(found)[these]
        return codes


def pieces(rows: Array) -> list[Array]:
    """Row numbers, a row group at a time."""
    return [rows[at : at + ROW_GROUP] for at in range(0, len(rows), ROW_GROUP)]


def _sorted(*keys: Array) -> Array:
    """The order by several keys of at most 32 bits, the last the least. Sorting words of a key above and a place below
    takes a third of np.lexsort."""
    order = np.arange(len(keys[0]))
    places = np.arange(len(order), dtype=np.uint64)
    for key in reversed(keys):
        packed = key[order] << _HALF | places
        packed.sort()
        order = order[(packed & _LOW).astype(np.int64)]
    return order


def _short(words: Array) -> Array:
    """32 bits of each address: IPv4 in their order, IPv6 so that equal ones are together."""
    short = (words[:, 1] >> _HALF).astype(np.uint32).byteswap().astype(np.uint64)
    six = np.flatnonzero((words[:, 0] != 0) | (words[:, 1] & _LOW != _MAPPED))
    if len(six):
        short[six] = (words[six, 0] ^ words[six, 1]) * _MIX >> _HALF
    found: Array = short
    return found
