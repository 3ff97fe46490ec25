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

from anetcon.keeper.invalid_packets import InvalidPackets
from anetcon.link.settings import Settings
from anetcon.system import syscalls as sc
from anetcon.system.report import WARNING, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from anetcon.keeper.hold import Held
    from anetcon.keeper.watched import Watched

FLOOR_BYTES = 256 << 10
"""The smallest receive buffer that is asked for, however many namespaces there are."""


class Attachment:
    """What is open in one namespace: the keeper's copies of its sockets, of which `stats` stays here and the others are
    handed to capture; and what the keeper knows of it while they are open."""

    __slots__ = ("events", "granted", "held", "invalid", "requests", "route", "sample", "stats", "watched")

    def __init__(self, events: socket.socket, requests: socket.socket, route: socket.socket, stats: socket.socket):
        self.events = events
        self.requests = requests
        self.route = route
        self.stats = stats
        self.sample: socket.socket | None = None
        """Where the kernel logs packets that it calls invalid (`sampling`)."""
        self.held: Held | None = None
        """Its place in hold mode."""
        self.watched: Watched | None = None
        """What is watched in it."""
        self.invalid = InvalidPackets()
        self.granted = events.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def all(self) -> tuple[socket.socket, ...]:
        """Every socket, those that are handed over first."""
        return self.events, self.requests, self.route, self.stats

    def handed(self) -> list[int]:
        """The descriptors for capture, in the order of the channel's `attach`."""
        return [each.fileno() for each in self.all()[:3]]

    def hold(self, held: Held | None) -> None:
        """It is guarded in hold mode from now on; None: no more."""
        self.held = held

    def watch(self, watched: Watched | None) -> None:
        """This is watched in it from now on; None: nothing more."""
        self.watched = watched

    def log_invalid(self, sample: socket.socket | None) -> None:
        """The kernel logs packets that it calls invalid here; None: no more."""
        if self.sample is not None:
            self.sample.close()
        self.sample = sample

    def close(self) -> None:
        """Let go of the namespace."""
        self.log_invalid(None)
        for each in self.all():
            each.close()


def open_sockets(buffer: int, starts: bool, ends: bool = True) -> Attachment:
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
        return Attachment(events, requests, route, stats)


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


class Buffers:
    """The receive buffers of all namespaces together."""

    def __init__(self) -> None:
        self._granted = 0
        self._floor_told = False

    def ask(self, settings: Settings) -> int:
        """Bytes to ask for in the next namespace."""
        return buffer_to_ask(settings.buffer_bytes, settings.buffers_total_bytes, self._granted)

    def add(self, attachment: Attachment) -> None:
        """That namespace has its own."""
        self._granted += attachment.granted

    def remove(self, attachment: Attachment) -> None:
        """It has it no more."""
        self._granted -= attachment.granted

    def complain(self, netns: str, granted: int, asked: int, settings: Settings) -> None:
        """Say what is less than it was to be."""
        if granted < 2 * asked:
            report(f"{WARNING}{netns}: the kernel grants a receive buffer of {granted // 2} bytes only")
        if asked == FLOOR_BYTES < settings.buffer_bytes and not self._floor_told:
            self._floor_told = True
            report(
                f"{WARNING}the receive buffers reach {settings.buffers_total_bytes} bytes: from here on a "
                f"namespace gets {asked}; raise audit.buffers_total_bytes if the machine has the memory"
            )


def _netlink(protocol: int) -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def _groups(*numbers: int) -> int:
    return sum(1 << (number - 1) for number in numbers)
