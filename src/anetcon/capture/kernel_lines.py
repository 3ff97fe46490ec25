"""The kernel's log lines under a LOG engine: packets of `anetcon-kmsg` -> lines -> rows and gaps.

- A jump in the sequence numbers is that many messages lost (overwritten in the kernel's ring before they were read, or
  given up by the reader when capture was away for too long): a gap from the line before to the line after.
- Which line is written last survives a crash, in the shared counters: what the next capture does not get of the lines
  after it was read and lost by the one before. A crash between a flush and its count is seen by the journal, which ends
  elsewhere than the counters say.
- A line's namespace follows from the hash in its prefix. Lines of namespaces that are not audited are not ours.

Refuses to wait: packets are taken as they come and decoded when a flush is due or there are many.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from typing import Any

import numpy as np

from anetcon.capture.localclock import LocalClock
from anetcon.capture.pipeline import Pipeline
from anetcon.capture.writer import Journals
from anetcon.decode.logline import NOT_OURS, DecodedLines, LineDecoder, Prefix
from anetcon.gaps import Cause, Gap
from anetcon.kmsg import packets
from anetcon.kmsg.packets import Stamp
from anetcon.link import counters
from anetcon.record import UNKNOWN_NETNS
from anetcon.system.clock import Moment
from anetcon.system.printable import namespace_hash
from anetcon.system.report import WARNING, report

DEFAULT = "default"
BATCH = 256 << 10
"""Bytes of lines decoded at a time: about a thousand lines, whose texts fit into the processor's cache."""

PACKETS = 64
"""Packets taken at a turn; the rest waits for the next."""

NAMES = 8192
"""Namespaces remembered, those gone long ago first to go."""

STRANGERS = 20
"""So many hashes of namespaces that are not audited are told of."""

CLOSE = 100_000
"""Losses nearer to each other than this (us) are one gap."""

HEAD = re.compile(rb"^\d+,\d+,(\d{1,18}),", re.MULTILINE)
LONGEST = 8192
"""Bytes of the longest record."""


class KernelLines:
    """What capture knows of the kernel's lines. `header` is that of the shared counters; `flushed`: up to when the
    journal was written at the start; `after_crash`: what is missing before the first line was read, and lost, by the
    capture before this one."""

    def __init__(
        self,
        prefix: Prefix,
        pipeline: Pipeline,
        header: counters.Header,
        *,
        after_crash: bool,
        flushed: int | None = None,
    ) -> None:
        self._decoder = LineDecoder(prefix)
        self._hashed = prefix.hashed
        self._pipeline = pipeline
        self._header = header
        self._clock = LocalClock()
        if header.line_to_be and flushed is not None and flushed != header.flushed:
            header.next_line = header.line_to_be
        header.line_to_be = 0
        self._next, self._time = header.next_line, header.line_time
        self._down = after_crash
        self._socket: socket.socket | None = None
        self._names: dict[bytes, tuple[str, int]] = {}
        self._strangers: set[bytes] = set()
        self._waiting: list[bytes] = []
        self._size = 0
        self._losses: list[list[int]] = []

    @property
    def journals(self) -> Journals:
        """Where gaps go."""
        return self._pipeline.journals

    def listen(self, end: socket.socket) -> int:
        """Take packets from here; its descriptor, for poll."""
        self._socket = end
        return end.fileno()

    def name(self, netns: str, inode: int) -> None:
        """A namespace is audited: lines with its hash are its own, also when it is gone."""
        text = b"" if netns == DEFAULT else namespace_hash(netns).encode()
        self._names.pop(text, None)
        self._names[text] = netns, inode
        if len(self._names) > NAMES:
            del self._names[next(iter(self._names))]

    def waiting(self) -> bool:
        """Whether a flush would write something."""
        return bool(self._waiting)

    def read(self, now: Moment) -> int:
        """Take the packets that wait, up to PACKETS; how many there were."""
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None and taken < PACKETS:
                packet = self._socket.recv(packets.LIMIT + (64 << 10), socket.MSG_DONTWAIT)
                if not packet:
                    break
                stamp, records = packets.unpack(packet)
                self._sample(stamp, records)
                self._waiting.append(records)
                self._size += len(records)
                taken += 1
                if self._size >= BATCH:
                    self.process(now)
        return taken

    def _sample(self, stamp: Stamp, records: bytes) -> None:
        """Learn from the last record of those that were stamped."""
        if 0 < stamp.size <= len(records):
            times = HEAD.findall(records, max(0, stamp.size - LONGEST), stamp.size)
            if times:
                self._clock.sample(int(times[-1]), stamp)

    def process(self, now: Moment) -> None:
        """Decode what was read into the columns."""
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        pipeline = self._pipeline
        if pipeline.columns.room() < data.count(b"\n"):
            self._write(now)
        codes = _Codes(self._code)
        first = pipeline.columns.rows
        lines = self._decoder.decode(data, codes, pipeline.columns)
        if len(lines.sequence):
            offset = self._clock.offset
            pipeline.columns.of["start"][first : pipeline.columns.rows] += offset
            self._count_lost(lines, offset)
        pipeline.take_lines(first, [codes[text] for text in lines.undecodable])

    def flush(self, now: Moment) -> None:
        """Decode and write whatever there is."""
        self.process(now)
        self._write(now)

    def read_all(self, now: Moment) -> None:
        """Take everything that waits."""
        while self.read(now):
            pass

    def _write(self, now: Moment) -> None:
        """Flush, and note what is written for the next capture."""
        for begin, end, lost, down in self._losses:
            self.journals.gap(Gap(None, begin, end, Cause.CAPTURE_DOWN if down else Cause.OVERRUN, lost))
        self._losses.clear()
        header = self._header
        if not self.journals.trouble.failing and header.next_line != self._next:
            header.line_to_be = self._next
        self._pipeline.flush(now)
        if not self.journals.trouble.failing:
            header.next_line, header.line_time = self._next, self._time
        header.flushed = self.journals.flushed.wall
        header.line_to_be = 0

    def _count_lost(self, lines: DecodedLines, offset: int) -> None:
        sequence, times = lines.sequence, lines.time + offset
        before = self._next - 1 if self._next else int(sequence[0]) - 1
        steps = np.diff(sequence, prepend=before) - 1
        for at in np.flatnonzero(steps > 0).tolist():
            begin = int(times[at - 1]) if at else self._time or int(times[0])
            end = int(times[at])  # before `begin` when the wall clock was set back in between
            self._lose(min(begin, end), end, int(steps[at]), down=self._down and at == 0)
        self._down = False
        self._next, self._time = int(sequence[-1]) + 1, int(times[-1])

    def _lose(self, begin: int, end: int, lost: int, *, down: bool) -> None:
        last = self._losses[-1] if self._losses else None
        if last is not None and last[3] == down and begin - last[1] < CLOSE:
            last[1], last[2] = end, last[2] + lost
        else:
            self._losses.append([begin, end, lost, down])

    def _code(self, text: bytes) -> int:
        """The code of the namespace that a hash stands for."""
        if not self._hashed:
            only = self._pipeline.codes.only()
            return self._pipeline.codes.of_name(UNKNOWN_NETNS, 0) if only is None else only
        known = self._names.get(text)
        if known is not None:
            return self._pipeline.codes.of_name(*known)
        if text and text not in self._strangers and len(self._strangers) < STRANGERS:
            self._strangers.add(text)
            report(
                f"{WARNING}there are lines of a namespace that is not audited, hash {text.decode()}: left out. "
                "Somebody else's rules print our prefix"
            )
        return NOT_OURS


class _Codes(dict[bytes, int]):
    """Codes by hash, each asked for once in a batch."""

    def __init__(self, ask: Callable[[bytes], int]) -> None:
        super().__init__()
        self._ask = ask

    def __missing__(self, text: bytes) -> int:
        code = self[text] = self._ask(text)
        return code


def prefix_of(logs: dict[str, Any]) -> Prefix:
    """What our rules print, from the resolved configuration."""
    return Prefix(logs["prefix"], logs["prefix_dnat"], logs["prefix_other"], logs["namespace_hash"])
