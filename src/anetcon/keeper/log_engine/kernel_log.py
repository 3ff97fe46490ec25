"""The kernel's log under a LOG engine: the open /dev/kmsg, the pair of sockets to capture, and the child that reads.

All three descriptors stay open here, whoever dies: the position in the kernel's log belongs to the open file, and what
was passed on and not taken stays in the socket. Refuses to read a line, but for those that were there before the start:
their number tells which is the first of ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence

from anetcon.errors import PermissionMissingError
from anetcon.keeper.children import Child, Reaper
from anetcon.keeper.handover import KeptChild
from anetcon.keeper.loop import Loop
from anetcon.link.messages import Kmsg, Message
from anetcon.system.process import WITHHELD, hasten, python, spawn

KMSG = "/dev/kmsg"
RECORD = 8192
SEND_BUFFER = 8 << 20
"""Bytes that wait in the socket for capture; the kernel doubles it."""

REAL_TIME, PRIORITY = 1, -20
"""Real-time priority, the lowest there is, and the niceness where that is refused. Measured beside a flood and another
reader on two busy processors: 0.02 % of lines lost with the first, 4 % with the second. A reader cannot starve others:
it reads faster than the kernel prints, and the kernel leaves them a twentieth of each second whatever happens."""

SO_SNDBUFFORCE = 32  # asm-generic/socket.h


class KernelLog:
    """One while a LOG engine runs. `keep` is a descriptor that every child inherits, `module` the child's program."""

    def __init__(
        self,
        loop: Loop,
        reaper: Reaper,
        module: str,
        keep: int,
        state: KeptChild | None = None,
    ) -> None:
        self._module = module
        self._keep = keep
        self.reader = Child(loop, reaper, "anetcon-kmsg", self._launch, state.restarts if state else 0)
        self._adopted: int | None = None
        self._started = False
        self.first = 0
        """The sequence number of the first message that is read; 0 when that was said before."""
        if state is None:
            self._kmsg, self.first = _open()
            self._ends = _pair()
        else:
            self._kmsg, *ends = state.descriptors
            self._ends = [socket.socket(fileno=descriptor) for descriptor in ends]
            self._adopted = state.pid
            for descriptor in self.descriptors():
                os.set_inheritable(descriptor, False)

    def descriptors(self) -> list[int]:
        """The log, the reader's end, capture's end."""
        return [self._kmsg, *(end.fileno() for end in self._ends)]

    def state(self) -> KeptChild:
        """What the program that replaces this one needs to know."""
        return KeptChild(self.descriptors(), self.reader.pid, self.reader.restarts)

    def start(self) -> None:
        """Start the reader, if it does not run; one that ran before this program was re-executed is replaced."""
        if self._adopted is not None:
            self.reader.adopt(self._adopted)
            self._adopted = None
        elif not self._started:
            self.reader.start()
        self._started = True

    def hand_over(self, send: Callable[[Message, Sequence[int]], None]) -> None:
        """Give a new capture its end."""
        send(Kmsg(), self.descriptors()[2:])

    def close(self, ended: Callable[[], None] = lambda: None) -> None:
        """End the reader, which passes on what it has; then close everything and call `ended`."""

        def close() -> None:
            os.close(self._kmsg)
            for end in self._ends:
                end.close()
            ended()

        if self._adopted is not None:
            self.start()
        self.reader.stop(close)

    def _launch(self) -> int:
        kmsg, out, _ = self.descriptors()
        arguments = python(self._module, "--kmsg", str(kmsg), "--out", str(out))
        return spawn(arguments, keep=[self._keep, kmsg, out], before=_hurry, held=WITHHELD)


def _hurry() -> None:
    """In the child: come before whatever else wants a processor."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME))
    except PermissionError:
        hasten("anetcon-kmsg", PRIORITY, "LimitRTPRIO=1")


def _open() -> tuple[int, int]:
    """The kernel's log, at its end, and the number of the next message. Raises AnetconError."""
    try:
        descriptor = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PermissionMissingError(
            f"cannot read {KMSG}: {error.strerror}; the LOG engines read the kernel's log: give CAP_SYSLOG to the "
            "daemon (and the device to its container), or use the engine `conntrack`"
        ) from None
    following = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            with contextlib.suppress(BrokenPipeError):  # overwritten meanwhile
                following = int(os.read(descriptor, RECORD).split(b",", 2)[1]) + 1
    return descriptor, following


def _pair() -> list[socket.socket]:
    """The reader's end and capture's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends[0].setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
    for end in ends:
        end.setblocking(False)
    return list(ends)
