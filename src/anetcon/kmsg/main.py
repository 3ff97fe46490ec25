"""`anetcon-kmsg`: reads the kernel's log and passes it on, whole and in large pieces. It does nothing else.

`python -m anetcon.kmsg.main --kmsg FD --out FD`; started by the keeper only, under the LOG engines.

The kernel keeps its log in a ring (128 KiB are about 500 lines of LOG rules), so whoever reads it must never be
away for more than a millisecond or two: no line is looked at here, reading one costs what the system call costs. The
position in the log belongs to the open file, which the keeper keeps: a reader started again goes on where the last
one read. What capture does not take in time is held in memory up to a bound, then the oldest is dropped. Whatever is
lost, here or in the ring, shows as a jump in the records' sequence numbers, which capture counts.

Refuses to look into records, and to wait for anybody. Standard library only.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from anetcon.kmsg import packets
from anetcon.kmsg.packets import Stamp
from anetcon.system.process import WITHHELD
from anetcon.system.report import reporter
from anetcon.system.syscalls import set_name

RECORD = 8192
"""The largest record there can be (CONSOLE_EXT_LOG_MAX); the kernel refuses a read that is too small for the next."""

BURST = 256
"""Records read between two looks at the clock."""

NAP = 0.001
"""Seconds between two bursts: waking up costs more than reading a dozen lines."""

PIECE, AGE = 128 << 10, 0.020
"""A piece is passed on when it has that many bytes or its first record was read so many seconds ago."""

HELD = 64 << 20
"""Bytes held while capture takes nothing."""

LAST_WORDS = 2.0
"""Seconds that a reader told to end goes on trying to pass on what it holds."""


class Reader:
    """Moves records from `kmsg` to `out`. `turn` is one round of the loop."""

    def __init__(self, kmsg: int, out: socket.socket) -> None:
        self._read: Callable[[], bytes] = partial(os.read, kmsg, RECORD)
        self._out = out
        self._records: list[bytes] = []
        self._first = 0.0
        self._size = 0
        self._stamp = Stamp(0, 0, 0)
        self._held: deque[bytes] = deque()
        self.held = 0
        self._poll = select.poll()
        self._poll.register(kmsg, select.POLLIN)
        self._kmsg = kmsg

    def turn(self, patience: float | None) -> None:
        """Wait at most so long (s) for something to do, and do it."""
        pause = AGE if self._records else patience
        if self._held:
            self._poll.register(self._out, select.POLLOUT)
        self._poll.poll(None if pause is None else pause * 1000)
        while self._burst():
            self._pass_on()
        self._pass_on()
        if self._held:
            self._poll.unregister(self._out)
            self.send()

    def _burst(self) -> bool:
        """Read what is there, up to BURST records; whether there may be more."""
        had = len(self._records)
        more = True
        try:
            self._records.extend(itertools.islice(iter(self._read, b""), BURST))
        except BlockingIOError:
            more = False
        except BrokenPipeError:
            pass  # records were overwritten before they were read: the next has another number than expected
        new = self._records[had:]
        if new:
            self._size += sum(map(len, new))
            if not had:  # mostly one that woke us: nobody knows better how late a line is read
                self._stamp, self._first = Stamp.now(self._size), time.monotonic()
        return more

    def _pass_on(self, whatever: bool = False) -> None:
        if self._records and (whatever or self._size >= PIECE or time.monotonic() - self._first >= AGE):
            for records in _pieces(self._records):
                self._hold(packets.pack(self._stamp, records))
                self._stamp = self._stamp._replace(size=0)
            self._records, self._size = [], 0
            self.send()

    def _hold(self, packet: bytes) -> None:
        self._held.append(packet)
        self.held += len(packet)
        while self.held > HELD:
            self.held -= len(self._held.popleft())

    def send(self) -> None:
        """Pass on what is held, as far as it is taken."""
        with contextlib.suppress(BlockingIOError):
            while self._held:
                self._out.send(self._held[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                self.held -= len(self._held.popleft())

    def finish(self) -> None:
        """Pass on everything there is, within LAST_WORDS."""
        deadline = time.monotonic() + LAST_WORDS
        while self._burst():
            pass
        self._pass_on(whatever=True)
        while self._held and time.monotonic() < deadline:
            self.turn(0.05)


def _pieces(records: list[bytes]) -> list[bytes]:
    """The records joined, in as many pieces as packets need."""
    joined = b"".join(records)
    if len(joined) <= packets.LIMIT or len(records) == 1:
        return [joined]
    half = len(records) // 2
    return [*_pieces(records[:half]), *_pieces(records[half:])]


def main(arguments: list[str]) -> int:
    """Read until told to end; the exit status."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    set_name("anetcon-kmsg")
    reporter.introduce("anetcon-kmsg")
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WITHHELD)
    gc.disable()
    reader = Reader(int(given["--kmsg"]), socket.socket(fileno=int(given["--out"])))
    while not stopping:
        reader.turn(1.0)
        time.sleep(NAP)
    reader.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
