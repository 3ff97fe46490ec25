"""Entering a network namespace for the time it takes to open sockets in it.

Order matters: the three sysctls first (a connection created before them never reports its end), then the socket of
events, then the others. The daemon has one thread, so changing its namespace and back is safe; failing to come back
is fatal. Sockets stay usable from outside, and keep the namespace alive until they are closed; no other descriptor of
the namespace is kept.

Refuses to retry: what fails is an OSError, and nothing is left open.
"""

from __future__ import annotations

import contextlib
import socket

from anetcon.system import syscalls as sc

FLOOR_BYTES = 256 << 10
"""The smallest receive buffer that is asked for, however many namespaces there are."""


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


def _netlink(protocol: int) -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def _groups(*numbers: int) -> int:
    return sum(1 << (number - 1) for number in numbers)
