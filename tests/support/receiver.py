"""A sink that is none of ours."""

from __future__ import annotations

import os
from collections.abc import Collection

import pyarrow as pa

from anetcon.follow.position import Places
from anetcon.identity import Verdict
from anetcon.identity.tuples import Array

Taken = list[tuple[int, Verdict]]
"""Source ports, by which tests number their connections, and what the rows were."""


class Receiver:
    """A sink that is no file: `taken` is what is at the other end, and outlives whoever sent it."""

    columns: Collection[str] = ("src_port",)

    def __init__(self, taken: Taken) -> None:
        self.taken, self.closed, self.is_ready = taken, False, True
        self._step = os.open("/dev/null", os.O_WRONLY)

    def open(self, saved: Places) -> None:
        """Take back what is behind."""
        if saved:
            del self.taken[saved["taken"][1] :]

    def ready(self) -> bool:
        """As it is told."""
        return self.is_ready

    def take(self, rows: pa.RecordBatch, verdicts: Array) -> int:
        """Row by row: it may be cut off behind each."""
        for port, verdict in zip(rows["src_port"].to_pylist(), verdicts.tolist(), strict=True):
            os.write(self._step, b"x")
            self.taken.append((port, Verdict(verdict)))
        return len(rows)

    def where(self) -> Places:
        """How much there is."""
        return {"taken": (0, len(self.taken))}

    def sync(self) -> None:
        """A step of its own."""
        os.fdatasync(self._step)

    def close(self) -> None:
        """Noted."""
        if not self.closed:
            os.close(self._step)
        self.closed = True
