"""Sysctls of a namespace, read and written from outside it.

The kernel is odd here, to our good: /proc/sys/net shows the namespace of whoever looks a name up, and an open file
stays with the namespace it was opened in, without keeping it alive (Linux 6.18: the namespace dies, the file reads on
or fails). A read costs 0.8 us; entering the namespace for it would cost a hundred times that.

Refuses to load modules: conntrack is there when these are opened.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from anetcon.keeper.attach import SYSCTLS, Home

COUNT = "nf_conntrack_count"
MAX = "nf_conntrack_max"
_FOLDER = "/proc/sys/net/netfilter/"


class Inside:
    """Open sysctls of one namespace. OSError when it cannot be entered, or is another by now."""

    __slots__ = ("_count", "_max", "_switches")

    def __init__(self, home: Home, path: Path | None, inode: int) -> None:
        with contextlib.ExitStack() as opened, home.entered(path) as found:
            if found != inode:
                raise OSError("it is another namespace by now")
            self._switches = [_open(opened, name, os.O_RDWR) for name in SYSCTLS]
            self._count, self._max = (_open(opened, name, os.O_RDONLY) for name in (COUNT, MAX))
            opened.pop_all()

    def switches(self) -> list[bytes]:
        """What the sysctls that matter are set to, in the order of SYSCTLS."""
        return [os.pread(descriptor, 8, 0).strip() for descriptor in self._switches]

    def switch_on(self, number: int) -> None:
        """Set one of them to 1."""
        os.pwrite(self._switches[number], b"1", 0)

    def connections(self) -> int:
        """How many the table holds."""
        return int(os.pread(self._count, 16, 0))

    def limit(self) -> int:
        """How many it may hold; 0: any number."""
        return int(os.pread(self._max, 16, 0))

    def close(self) -> None:
        """Close the files."""
        for descriptor in (*self._switches, self._count, self._max):
            os.close(descriptor)


def _open(opened: contextlib.ExitStack, name: str, flags: int) -> int:
    descriptor = os.open(_FOLDER + name, flags | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor
