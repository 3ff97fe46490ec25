"""What is around a namespace's connections: addresses, neighbours and routes, asked for and heard on its route socket.

Refuses to understand them: `addresses` does.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque

from anetcon.capture.addresses import EVERYTHING, Context, KernelTable
from anetcon.netlink.dump import Exchange, heard
from anetcon.system import syscalls as sc

READS = 64
"""Datagrams of route messages taken at a turn; the rest waits for the next."""

ROUTES = (sc.RTNLGRP_IPV4_ROUTE, sc.RTNLGRP_IPV6_ROUTE, sc.RTNLGRP_NEXTHOP)
FOLLOWED = (sc.RTNLGRP_LINK, sc.RTNLGRP_NEIGH, sc.RTNLGRP_IPV4_IFADDR, sc.RTNLGRP_IPV6_IFADDR, *ROUTES)
"""Groups of the route socket: what the kernel tells unasked."""


class Surroundings:
    """One namespace's. `context` is what is known of them."""

    def __init__(self, route: socket.socket, context: Context) -> None:
        self.context = context
        self._socket = route
        self._to_list: deque[KernelTable] = deque()
        self._asked: tuple[KernelTable, Exchange] | None = None
        self._follows_routes = True

    def fileno(self) -> int:
        """Where the kernel tells of them."""
        return self._socket.fileno()

    def follow(self, now: int) -> None:
        """Have the kernel tell of links, addresses, neighbours and routes, and ask for those there are; the answers
        come between what it tells."""
        with contextlib.suppress(OSError):  # older than 4.20: answers have more in them than is asked for
            self._socket.setsockopt(sc.SOL_NETLINK, sc.NETLINK_GET_STRICT_CHK, 1)
        for group in FOLLOWED:
            self._socket.setsockopt(sc.SOL_NETLINK, sc.NETLINK_ADD_MEMBERSHIP, group)
        self.context.want(now, *EVERYTHING)
        self.ask(now)

    def ask(self, now: int) -> None:
        """Ask for what is wanted, unless it is being asked."""
        if self._asked is None and self.context.wanted:
            self._to_list.extend(self.context.wanted)
            self._ask_next(now)

    def read(self, now: int) -> None:
        """Take the route messages that wait."""
        for _ in range(READS):
            try:
                data = heard(self._socket)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: something that was told is lost
                self.context.want(now, *EVERYTHING)
                break
            self._take(data, now)
        if self.context.routes_unknown and self._follows_routes:
            self._follows_routes = False
            for group in ROUTES:
                self._socket.setsockopt(sc.SOL_NETLINK, sc.NETLINK_DROP_MEMBERSHIP, group)

    def _take(self, data: bytes, now: int) -> None:
        if self._asked is None or not self._asked[1].answers(data):
            self.context.feed(data, now)
            return
        listing, exchange = self._asked
        unwanted = listing.table == "routes" and self.context.routes_unknown
        if not (exchange.skip(data) if unwanted else exchange.feed(data)):
            return
        if exchange.failed == errno.EBUSY:  # the rest of a dump that the capture before this one asked for comes first
            exchange.failed = 0
            with contextlib.suppress(OSError):
                exchange.send(self._socket)
                return
        self.context.end(now, whole=not (exchange.failed or exchange.interrupted))
        self._ask_next(now)

    def _ask_next(self, now: int) -> None:
        self._asked = None
        while self._to_list and self._asked is None:
            listing = self._to_list.popleft()
            if listing in self.context.wanted:
                exchange = Exchange(listing.kind, listing.body, self.context.listed)
                self.context.begin(listing, now)
                try:
                    exchange.send(self._socket)
                    self._asked = listing, exchange
                except OSError:
                    self.context.end(now, whole=False)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
