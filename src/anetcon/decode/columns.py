"""The capture columns: one preallocated numpy array a field, filled by the decoder, handed whole to the journal.

Nothing is allocated after construction. A value the kernel did not give is held apart from the values: `end`,
`end_reason` and `reply` are NONE, and the others have a mask in `given`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from anetcon.record import CONNECTIONS

NONE = -1
"""`end` and `end_reason` of a connection that is open; `reply` that is not known."""

Array = npt.NDArray[Any]

ADDRESSES = tuple(f.name for f in CONNECTIONS if f.kind == "address")
COUNTERS = ("packets_out", "bytes_out", "packets_in", "bytes_in")
SOURCED = tuple(f for f in CONNECTIONS if f.source)
"""The fields that a message of ctnetlink has as they are."""


class Columns:
    """Room for `capacity` rows; the first `rows` are filled. Arrays by field name in `of`; addresses are (n, 16) bytes.

    `words` has the addresses again as two uint64 each, for arithmetic; `given` tells which rows have a value of each
    field of SOURCED that may be null.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        self.of: dict[str, Array] = {
            f.name: np.zeros((capacity, *f.dtype.shape), f.dtype.base) for f in CONNECTIONS if f.name != "node"
        }
        self.words = {name: self.of[name].view(np.uint64) for name in ADDRESSES}
        self.given = {f.name: np.zeros(capacity, np.bool_) for f in SOURCED if f.nullable}

    def room(self) -> int:
        """How many rows still fit."""
        return self.capacity - self.rows

    def append(self, other: Columns) -> None:
        """Copy another's rows behind these; there must be room."""
        here = slice(self.rows, self.rows + other.rows)
        for arrays, others in ((self.of, other.of), (self.given, other.given)):
            for name, column in arrays.items():
                column[here] = others[name][: other.rows]
        self.rows = here.stop

    def give_nothing(self, here: slice) -> None:
        """Make null in these rows what may be."""
        for mask in self.given.values():
            mask[here] = False

    def row_bytes(self, row: int) -> bytes:
        """One row as bytes, to be kept elsewhere in little room."""
        return b"".join(column[row].tobytes() for column in self.of.values())

    def append_bytes(self, data: bytes) -> None:
        """Append a row that `row_bytes` gave; without what may be null."""
        at = 0
        for column in self.of.values():
            size = column[0].nbytes
            column[self.rows] = np.frombuffer(data[at : at + size], column.dtype).reshape(column.shape[1:])
            at += size
        self.give_nothing(slice(self.rows, self.rows + 1))
        self.rows += 1

    def keep(self, start: int, chosen: Array) -> None:
        """Of the rows from `start` on keep those chosen (a mask), closing the gaps."""
        kept = start + int(np.count_nonzero(chosen))
        if kept == self.rows:
            return
        for column in (*self.of.values(), *self.given.values()):
            column[start:kept] = column[start : self.rows][chosen]
        self.rows = kept
