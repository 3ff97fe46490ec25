"""Rows of the table `connections` for tests of identity: few tuples, every other column by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from anetcon.record import arrow_schema

SECOND = 1_000_000


class Row(NamedTuple):
    """One row: `tuple` numbers its original tuple, `end` None is an opener, `dump` its origin; with `line` it is a line
    of text of that origin, which does not know its source after translation, nor, if its tuple is odd, its destination
    before."""

    start: int
    end: int | None = None
    dump: bool = False
    tuple: int = 0
    ct_id: int = 1
    node: str = "n"
    inode: int = 7
    line: str = ""
    family: str = "ipv4"
    found: bool = False
    reply: str | None = None

    @property
    def identity(self) -> Sequence[object]:
        """What two rows of one tuple share."""
        return self.tuple, self.node, self.inode, self.family


def table(rows: Sequence[Row], pieces: int = 1) -> pa.Table:
    """The rows as a journal has them, each with its number in `mark`, in so many chunks with their own dictionaries."""
    size = max(1, -(-len(rows) // pieces))
    batches = [_batch(rows[at : at + size], at) for at in range(0, len(rows), size)]
    return pa.Table.from_batches(batches, arrow_schema("connections"))


def _batch(rows: Sequence[Row], first: int) -> pa.RecordBatch:
    records = [
        {
            "start": row.start,
            "end": row.end,
            "node": row.node,
            "netns": "default",
            "class": "float" if _unseen(row) else "nat",
            "proto": 6,
            "src_ip": bytes(10) + b"\xff\xff\x0a\0\0" + bytes([row.tuple]),
            "src_port": 40000,
            "dst_ip": None if _unseen(row) else bytes(10) + b"\xff\xff\x08\x08\x08\x08",
            "dst_port": None if _unseen(row) else 443,
            "nat_src_ip": None if row.line else bytes(16),
            "nat_src_port": None if row.line else 1,
            "nat_dst_ip": bytes(16),
            "nat_dst_port": 443,
            "end_reason": "unknown" if row.line else None if row.end is None else "closed",
            "zone": 0,
            "mark": first + number,
            "ct_id": row.ct_id,
            "origin": row.line or ("dump" if row.dump else "event"),
            "family": row.family,
            "start_is": "found" if row.found else "begin",
            "reply": row.reply,
            "netns_inode": row.inode,
        }
        for number, row in enumerate(rows)
    ]
    return pa.RecordBatch.from_pylist(records, arrow_schema("connections"))


def _unseen(row: Row) -> bool:
    """Whether the destination before translation is not known."""
    return bool(row.line) and row.tuple % 2 == 1
