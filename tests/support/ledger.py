"""The outside count: which connections a flood made and when, against what the daemon's own commands say of them.

Refuses to ask conntrack or the daemon what was made: the flood's own frames and the world's link count.
"""

from __future__ import annotations

import io
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pyarrow import csv

from tests.load.flood import PORTS, Flood
from tests.load.packets import count_up
from tests.support.daemon import seconds

PIECE = 2000
SLACK = 5.0
"""Seconds that a gap's bounds may lie beside the fault: on a busy machine capture comes to its flush late."""

NEAR = 5.0
"""Seconds that what is missing may have been made before the gap: ends that came late (docs/explanation), to a capture
that a busy machine held up. What is made after a gap is never missing for it."""

FLOOD = ("--proto", "tcp", "--dport", "1-9000")
_NEVER = threading.Event()
Flags = NDArray[np.bool_]


class Auditor(Protocol):
    """Who is asked: a daemon with its store."""

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the program."""

    def gaps(self) -> list[dict[str, Any]]:
        """All that there are."""


class UnaccountedError(AssertionError):
    """Connections were made that are neither on record nor in a gap; or what is on record was not made."""


@dataclass(frozen=True)
class Recorded:
    """How often each connection of a flood is on record, by its number, and which of them with their end."""

    times: NDArray[np.int64]
    ended: Flags
    strangers: int

    @property
    def connections(self) -> int:
        """Connections on record."""
        return int(np.count_nonzero(self.times))


class Ledger:
    """A flood that is made a piece at a time, with the wall clock around each."""

    def __init__(self, flood: Flood) -> None:
        self.flood = flood
        self.began = np.full(len(flood), np.inf)
        self.ended = np.full(len(flood), -np.inf)
        self.sent = 0

    def send(
        self,
        count: int | None = None,
        piece: int = PIECE,
        rate: float = np.inf,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the next `count` connections (all that are left, or until it is `enough`), at most so many a second."""
        first, began = self.sent, time.monotonic()
        last = len(self.flood) if count is None else first + count
        assert last <= len(self.flood), f"{last} connections are wanted of a flood of {len(self.flood)}"
        while self.sent < last and not enough():
            _NEVER.wait(max(0.0, began + (self.sent - first) / rate - time.monotonic()))
            upto = min(self.sent + piece, last)
            self.began[self.sent : upto] = time.time()
            self.flood.send(self.sent, upto)
            self.ended[self.sent : upto] = time.time()
            self.sent = upto

    def since(self) -> str:
        """When the first was made, for `--since`: a gap of the daemon's start is none of the flood's."""
        return f"{self.began[0]:.6f}"

    def until(self) -> str:
        """When the last was made, for `--until`."""
        return f"{self.ended.max():.6f}"

    def recorded(self, auditor: Auditor) -> Recorded:
        """What `anetcon search` finds of it."""
        done = auditor.command("search", *FLOOD, "--limit", "0", "--format", "csv")
        if done.returncode not in (0, 1, 3):
            raise UnaccountedError(f"search failed: {done.stderr}")
        rows = csv.read_csv(io.BytesIO(done.stdout.encode()))
        base = count_up(f"10.{self.flood.router.number}.128.1", np.arange(-(-len(self.flood) // PORTS)))
        block = {".".join(map(str, address)): number for number, address in enumerate(base.tolist())}
        sources = rows["src_ip"].combine_chunks().dictionary_encode()
        blocks = np.array([block.get(str(ip), -1) for ip in sources.dictionary.to_pylist()], np.int64)
        blocks = blocks[sources.indices.to_numpy()]
        number = np.where(blocks < 0, -1, blocks * PORTS + rows["src_port"].to_numpy().astype(np.int64) - 1024)
        known = (number >= 0) & (number < self.sent)
        times = np.bincount(number[known], minlength=len(self.flood))
        ended = np.zeros(len(self.flood), np.bool_)
        has_end = ~rows["end"].is_null().to_numpy() & (rows["end_reason"].to_numpy(zero_copy_only=False) != "unknown")
        ended[number[known & has_end]] = True
        return Recorded(times, ended, int(np.count_nonzero(~known)))

    def each_once(self, auditor: Auditor) -> Recorded:
        """None twice, and none that was not made; what is on record. Raises UnaccountedError."""
        recorded = self.recorded(auditor)
        if recorded.strangers or recorded.times.max(initial=0) > 1:
            raise UnaccountedError(f"{recorded.strangers} strangers, one {recorded.times.max()} times")
        return recorded

    def whole(self, auditor: Auditor) -> None:
        """Every connection made is on record once, with its end. Raises UnaccountedError."""
        recorded, made = self.each_once(auditor), self.flood.made()
        if not made == self.sent == recorded.connections == np.count_nonzero(recorded.ended):
            raise UnaccountedError(
                f"{self.sent} sent, {made} made, {recorded.connections} recorded, {recorded.ended.sum()} with their end"
            )

    def counted(self, auditor: Auditor, slack: int = 0) -> None:
        """Made = recorded + counted lost; `slack` may be counted too many. Raises UnaccountedError."""
        recorded, made = self.each_once(auditor), self.flood.made()
        lost = sum(gap["lost"] or 0 for gap in auditor.gaps() if gap["cause"] == "overrun")
        if not 0 <= int(recorded.ended.sum()) + lost - made <= slack:
            raise UnaccountedError(f"{made} made, {recorded.ended.sum()} recorded with their end, {lost} counted lost")

    def explained(self, auditor: Auditor, gaps: Sequence[dict[str, Any]] | None = None, near: float = NEAR) -> Recorded:
        """Whatever is not on record was made inside a gap, or so near it as bounds may be. Raises UnaccountedError."""
        recorded = self.each_once(auditor)
        missing = (recorded.times == 0) & (np.arange(len(self.flood)) < self.sent)
        for gap in auditor.gaps() if gaps is None else gaps:
            begin = seconds(gap["from"]) if gap["from"] else -np.inf
            end = seconds(gap["to"]) if gap["to"] else np.inf
            missing &= (self.ended < begin - near) | (self.began > end)
        if missing.any():
            raise UnaccountedError(f"{missing.sum()} connections are neither on record nor in a gap")
        return recorded


def bounded(gap: dict[str, Any], begin: float, end: float) -> None:
    """A gap covers a fault from `begin` to `end`, and is wider by SLACK at most. Raises UnaccountedError."""
    first, last = seconds(gap["from"]), seconds(gap["to"])
    if not (begin - SLACK <= first <= begin and end <= last <= end + SLACK):
        raise UnaccountedError(f"the gap {first} to {last} is not that of a fault from {begin} to {end}")
