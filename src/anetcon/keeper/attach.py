"""Entering a network namespace for the time it takes to open sockets in it.

Order matters: the three sysctls first (a connection created before them never reports its end), then the socket of
events, then the others. The daemon has one thread, so changing its namespace and back is safe; failing to come back
is fatal. Sockets stay usable from outside, and keep the namespace alive until they are closed; no other descriptor of
the namespace is kept.

Refuses to retry: what fails is an OSError, and nothing is left open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

from anetcon.keeper import stats
from anetcon.keeper import syscalls as sc

SYSCTLS = ("nf_conntrack_events", "nf_conntrack_timestamp", "nf_conntrack_acct")
FLOOR_BYTES = 256 << 10
"""The smallest receive buffer that is asked for, however many namespaces there are."""

EACH_FILES = 10
"""Descriptors that the keeper has open for a namespace: its sockets, and what `inside` has; with `sampling` one
more."""

KEPT_FILES = 64
"""Descriptors that namespaces never take: those of the keeper itself, and of the children that it starts."""

_FOLDER = "/proc/sys/net/netfilter/"


class Sockets:
    """What is open in one namespace: the keeper's copies. `stats` stays here, the others are handed to capture."""

    __slots__ = ("events", "granted", "requests", "route", "sample", "stats")

    def __init__(self, events: socket.socket, requests: socket.socket, route: socket.socket, stats: socket.socket):
        self.events = events
        self.requests = requests
        self.route = route
        self.stats = stats
        self.sample: socket.socket | None = None
        """Where the kernel logs packets that it calls invalid (`sampling`)."""
        self.granted = events.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def all(self) -> tuple[socket.socket, ...]:
        """Every socket, those that are handed over first."""
        return self.events, self.requests, self.route, self.stats

    def handed(self) -> list[int]:
        """The descriptors for capture, in the order of the channel's `attach`."""
        return [each.fileno() for each in self.all()[:3]]

    def close(self) -> None:
        """Let go of the namespace."""
        for each in (*self.all(), self.sample):
            if each is not None:
                each.close()


class Home:
    """The namespace the daemon was started in: where `entered` comes back to."""

    def __init__(self) -> None:
        self._descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self._descriptor).st_ino

    def fileno(self) -> int:
        """What a child needs to come home."""
        return self._descriptor

    def enter(self, path: Path | None) -> int:
        """Go to the namespace at `path` (None: home), for good; its inode."""
        if path is None:
            sc.setns(self._descriptor, sc.CLONE_NEWNET)
            return self.inode
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            sc.setns(descriptor, sc.CLONE_NEWNET)
            return os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def entered(self, path: Path | None) -> Iterator[int]:
        """Be in the namespace at `path` (None: at home) inside the block; gives its inode."""
        inode = self.enter(path)
        try:
            yield inode
        finally:
            if path is not None:
                self._come_back(path)

    def _come_back(self, path: Path) -> None:
        try:
            sc.setns(self._descriptor, sc.CLONE_NEWNET)
        except OSError as error:
            raise SystemExit(f"anetcon-keeper: cannot leave the namespace {path}: {error.strerror}") from error


def read_sysctls() -> dict[str, str]:
    """The three sysctls of the namespace we are in; loads conntrack when it is not there."""
    if not Path(_FOLDER, SYSCTLS[0]).exists():
        _load_modules()
    try:
        return {name: Path(_FOLDER, name).read_text().strip() for name in SYSCTLS}
    except FileNotFoundError as error:
        raise OSError(
            errno.ENOENT, f"the kernel has no {error.filename}: run `modprobe nf_conntrack_netlink`"
        ) from None


def switch_on(found: dict[str, str]) -> None:
    """Set the sysctls that are not 1 yet, in the namespace we are in."""
    for name, value in found.items():
        if value != "1":
            Path(_FOLDER, name).write_text("1")


def open_sockets(buffer: int, starts: bool, ends: bool = True) -> Sockets:
    """All sockets in the namespace we are in. Events count from here on, those that are wanted."""
    with contextlib.ExitStack() as opened:
        events = opened.enter_context(_netlink(sc.NETLINK_NETFILTER))
        set_buffer(events, buffer)
        events.setsockopt(sc.SOL_NETLINK, sc.NETLINK_NO_ENOBUFS, 1)
        events.setblocking(False)
        wanted = {sc.NFNLGRP_CONNTRACK_NEW: starts, sc.NFNLGRP_CONNTRACK_DESTROY: ends}
        events.bind((0, _groups(*(group for group, listen in wanted.items() if listen))))
        requests = opened.enter_context(_netlink(sc.NETLINK_NETFILTER))
        route = opened.enter_context(_netlink(socket.NETLINK_ROUTE))
        route.setblocking(False)
        route.bind((0, 0))  # capture joins what it follows
        stats = opened.enter_context(_netlink(sc.NETLINK_NETFILTER))
        stats.setblocking(False)
        for asking in (requests, stats):
            asking.connect((0, 0))  # the kernel refuses what another program sends there: an answer cannot be forged
        opened.pop_all()
        return Sockets(events, requests, route, stats)


def set_buffer(events: socket.socket, size: int) -> None:
    """Ask for a receive buffer of `size` bytes, beyond the limit of the machine; the kernel grants twice that."""
    events.setsockopt(socket.SOL_SOCKET, sc.SO_RCVBUFFORCE, size)


def set_starts(events: socket.socket, starts: bool) -> None:
    """Whether starts are delivered, or ends alone."""
    option = sc.NETLINK_ADD_MEMBERSHIP if starts else sc.NETLINK_DROP_MEMBERSHIP
    events.setsockopt(sc.SOL_NETLINK, option, sc.NFNLGRP_CONNTRACK_NEW)


def buffer_to_ask(wanted: int, total: int, used: int) -> int:
    """Bytes to ask for when `used` of `total` are granted already (the kernel grants twice what is asked).

    A 128th of what is left: the first 128 namespaces get 2 MiB of a total of 1 GiB, later ones less and less.
    """
    return min(wanted, max(FLOOR_BYTES, (total - used) // 256))


def most_namespaces(samples: bool) -> int:
    """How many namespaces the limit of open files leaves room for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, limit - KEPT_FILES) // (EACH_FILES + samples)


def _load_modules() -> None:
    """Have the kernel load conntrack and its netlink: it does when somebody asks for them. May not help."""
    with contextlib.suppress(OSError), _netlink(sc.NETLINK_NETFILTER) as asking:
        asking.setblocking(False)
        stats.table(asking)


def _netlink(protocol: int) -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def _groups(*numbers: int) -> int:
    return sum(1 << (number - 1) for number in numbers)
