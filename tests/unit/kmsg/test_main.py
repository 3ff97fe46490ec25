"""The reader passes records on whole and in order, and gives up the oldest when nobody takes them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from anetcon.kmsg import main
from anetcon.kmsg.main import Reader
from anetcon.kmsg.packets import LIMIT, unpack


class Kernel:
    """A stand-in for /dev/kmsg, a record a read, and capture's end of the pair."""

    def __init__(self) -> None:
        self.log, self._kmsg = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._out, self.capture = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.log, self._kmsg, self._out, self.capture):
            end.setblocking(False)
        self.log.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.reader = Reader(self._kmsg.fileno(), self._out)

    def print(self, *numbers: int, size: int = 0) -> None:
        """Messages with these numbers."""
        for number in numbers:
            self.log.send(record(number, size))

    def taken(self) -> list[bytes]:
        """The records of every packet that capture can take now."""
        packets = []
        try:
            while True:
                packets.append(unpack(self.capture.recv(1 << 20))[1])
        except BlockingIOError:
            return packets

    def close(self) -> None:
        """Close every end."""
        for end in (self.log, self._kmsg, self._out, self.capture):
            end.close()


def record(number: int, size: int = 0) -> bytes:
    """A message with this number."""
    return b"4,%d,1000,-;text %s\n" % (number, b"x" * size)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """A stand-in for the kernel, closed afterwards."""
    made = Kernel()
    yield made
    made.close()


def test_records_go_on_in_one_packet(kernel: Kernel) -> None:
    """What is there is read in one turn and passed on together, in order, once it is old enough."""
    kernel.print(1, 2, 3)
    kernel.reader.turn(0)
    kernel.reader.finish()
    assert b"".join(kernel.taken()) == record(1) + record(2) + record(3)


def test_a_packet_is_stamped_for_what_was_read_first(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stamp is of the first burst: of those records the last was read just then."""
    monkeypatch.setattr(main, "AGE", 1000.0)
    kernel.print(1, 2)
    kernel.reader.turn(0)
    kernel.print(3)
    kernel.reader.turn(0)
    kernel.reader.finish()
    stamp, records = unpack(kernel.capture.recv(1 << 20))
    assert stamp.size == len(record(1) + record(2))
    assert records == record(1) + record(2) + record(3)


def test_a_full_piece_goes_on_at_once(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that are large enough do not wait for their age."""
    monkeypatch.setattr(main, "PIECE", 100)
    monkeypatch.setattr(main, "AGE", 1000.0)
    kernel.print(1)
    kernel.reader.turn(0)
    assert kernel.taken() == []
    kernel.print(*range(2, 10))
    monkeypatch.setattr(main, "AGE", 0.0)
    kernel.reader.turn(0)
    assert b"".join(kernel.taken()) == b"".join(map(record, range(1, 10)))


def test_packets_are_never_too_large(kernel: Kernel) -> None:
    """Long records are split over packets between records, never within one."""
    kernel.reader._records = [record(number, 6000) for number in range(200)]
    kernel.reader.finish()
    pieces = kernel.taken()
    assert b"".join(pieces) == b"".join(record(number, 6000) for number in range(200))
    assert all(len(piece) <= LIMIT and piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) > 1


def test_what_nobody_takes_is_held_and_passed_on_later(kernel: Kernel) -> None:
    """While capture takes nothing records wait in memory; then all of them come, in order."""
    kernel.reader._out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    seen = []
    for number in range(50):
        kernel.print(number, size=2000)
        kernel.reader._burst()
        kernel.reader._pass_on(whatever=True)
    assert kernel.reader.held > 0
    for _ in range(60):
        seen += kernel.taken()
        kernel.reader.turn(0)
    assert b"".join([*seen, *kernel.taken()]) == b"".join(record(number, 2000) for number in range(50))
    assert kernel.reader.held == 0


def test_the_oldest_is_given_up_when_memory_is_full(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound whole packets go, oldest first: the newest arrives, and its number tells what is missing."""
    monkeypatch.setattr(main, "HELD", 10_000)
    kernel.reader._out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for number in range(50):
        kernel.print(number, size=2000)
        kernel.reader._burst()
        kernel.reader._pass_on(whatever=True)
        assert kernel.reader.held <= 10_000
    seen = []
    for _ in range(60):
        seen += kernel.taken()
        kernel.reader.turn(0)
    numbers = [int(piece.split(b",")[1]) for piece in [*seen, *kernel.taken()]]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 49
    assert len(numbers) < 50


def test_overwritten_records_do_not_end_it(kernel: Kernel) -> None:
    """The kernel says EPIPE once where messages were overwritten; reading goes on behind them."""
    answers: Iterator[bytes | OSError] = iter(
        [record(1), BrokenPipeError(errno.EPIPE, "overwritten"), record(7), BlockingIOError()]
    )

    def read() -> bytes:
        answer = next(answers, None) or BlockingIOError()
        if isinstance(answer, OSError):
            raise answer
        return answer

    kernel.reader._read = read
    kernel.reader.finish()
    assert b"".join(kernel.taken()) == record(1) + record(7)


def test_the_process_ends_when_told_with_everything_passed_on(kernel: Kernel) -> None:
    """The real process reads, and at SIGTERM passes on what it has before it ends with 0."""
    import subprocess
    import sys

    ends = (kernel._kmsg.fileno(), kernel._out.fileno())
    command = [sys.executable, "-m", "anetcon.kmsg.main", "--kmsg", str(ends[0]), "--out", str(ends[1])]
    child = subprocess.Popen(command, pass_fds=ends, stderr=subprocess.DEVNULL)
    os.set_blocking(kernel.capture.fileno(), True)
    kernel.capture.settimeout(40)
    kernel.print(1)
    assert unpack(kernel.capture.recv(1 << 20))[1] == record(1)
    kernel.print(2, 3)
    child.terminate()
    assert child.wait(40) == 0
    kernel.capture.setblocking(False)
    assert b"".join(kernel.taken()) == record(2) + record(3)
