"""Sysctls of a namespace, read and written from outside it; and a socket that is told when its ruleset changes.

The kernel is odd here, to our good: /proc/sys/net shows the namespace of whoever looks a name up, and an open file
stays with the namespace it was opened in, without keeping it alive (Linux 6.18: the namespace dies, the file reads on
or fails). A read costs 0.8 us; entering the namespace for it would cost a hundred times that.

The socket does keep the namespace alive, as every socket does: close it as soon as the namespace is let go.

Refuses to load modules: conntrack is there when these are opened.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from anetcon.netlink.ct_sysctls import SYSCTLS
from anetcon.system import syscalls as sc
from anetcon.system.netns import Home

ON = b"1\n"

COUNT = "nf_conntrack_count"
MAX = "nf_conntrack_max"
NEARLY_FULL = 0.9
READS = 64
"""Messages about a ruleset that are read at a time."""

_FOLDER = "/proc/sys/net/netfilter/"


class Inside:
    """What is open in one namespace. OSError when it cannot be entered, or is another by now."""

    __slots__ = ("_count", "_first", "_max", "_switches", "ruleset")

    def __init__(self, home: Home, path: Path | None, inode: int) -> None:
        with contextlib.ExitStack() as opened, home.entered(path) as found:
            if found != inode:
                raise OSError("it is another namespace by now")
            self._switches = [_open(opened, name, os.O_RDWR) for name in SYSCTLS]
            self._first = self._switches[0]
            self._count, self._max = (_open(opened, name, os.O_RDONLY) for name in (COUNT, MAX))
            self.ruleset = opened.enter_context(_ruleset())
            opened.pop_all()

    def switches(self) -> list[bytes]:
        """What the sysctls that matter are set to, each with its newline, in the order of SYSCTLS."""
        return [os.pread(descriptor, 8, 0) for descriptor in self._switches]

    def is_on(self) -> bool:
        """Whether the first of them is 1."""
        return os.pread(self._first, 8, 0) == ON

    def are_on(self) -> bool:
        """Whether all of them are 1."""
        for descriptor in self._switches:  # noqa: SIM110  (all() costs a third more, a thousand times a second)
            if os.pread(descriptor, 8, 0) != ON:
                return False
        return True

    def switch_on(self, number: int) -> None:
        """Set one of them to 1."""
        os.pwrite(self._switches[number], b"1", 0)

    def is_nearly_full(self) -> bool:
        """Whether the table holds nearly as many connections as it may."""
        count = int(os.pread(self._count, 16, 0))
        limit = int(os.pread(self._max, 16, 0)) if count else 0
        return 0 < limit * NEARLY_FULL <= count  # a limit of 0: any number

    def changed(self) -> bool:
        """Whether something was told of the ruleset since the last time; what it was is thrown away."""
        told = False
        for _ in range(READS):
            try:
                self.ruleset.recv(1, socket.MSG_DONTWAIT)
            except OSError:
                break
            told = True
        return told

    def close(self) -> None:
        """Close everything."""
        self.ruleset.close()
        for descriptor in (*self._switches, self._count, self._max):
            os.close(descriptor)


def _open(opened: contextlib.ExitStack, name: str, flags: int) -> int:
    descriptor = os.open(_FOLDER + name, flags | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor


def _ruleset() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER)
    made.setsockopt(sc.SOL_NETLINK, sc.NETLINK_NO_ENOBUFS, 1)
    made.bind((0, 1 << (sc.NFNLGRP_NFTABLES - 1)))
    return made
