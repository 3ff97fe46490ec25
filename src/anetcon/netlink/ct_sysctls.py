"""The three sysctls of conntrack that events, times and counters need, in the namespace we are in."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

from anetcon.netlink import conntrack
from anetcon.system import syscalls as sc

SYSCTLS = ("nf_conntrack_events", "nf_conntrack_timestamp", "nf_conntrack_acct")
_FOLDER = "/proc/sys/net/netfilter/"


def read_sysctls() -> dict[str, str]:
    """The three sysctls of the namespace we are in; loads conntrack when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return _values()
    _load_modules()
    try:
        return _values()
    except FileNotFoundError as error:
        raise OSError(
            errno.ENOENT, f"the kernel has no {error.filename}: run `modprobe nf_conntrack_netlink`"
        ) from None


def switch_on(found: dict[str, str]) -> None:
    """Set the sysctls that are not 1 yet, in the namespace we are in."""
    for name, value in found.items():
        if value != "1":
            Path(_FOLDER, name).write_text("1")


def _values() -> dict[str, str]:
    return {name: _value(name) for name in SYSCTLS}


def _value(name: str) -> str:
    opened = os.open(_FOLDER + name, os.O_RDONLY | os.O_CLOEXEC)  # a third of the cost of a Path and a file
    try:
        return os.read(opened, 16).decode().strip()
    finally:
        os.close(opened)


def _load_modules() -> None:
    """Have the kernel load conntrack and its netlink: it does when somebody asks for them. May not help."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER) as asking,
    ):
        asking.setblocking(False)
        conntrack.table(asking)
