"""One audited namespace as capture knows it: its sockets, its place in the counters, and what is open in it."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque
from dataclasses import dataclass, field

from anetcon.capture.addresses import EVERYTHING, Context, Listing
from anetcon.netlink.dump import Exchange, heard
from anetcon.system import syscalls as sc

READS = 64
"""Datagrams of route messages taken at a turn; the rest waits for the next."""

ROUTES = (sc.RTNLGRP_IPV4_ROUTE, sc.RTNLGRP_IPV6_ROUTE, sc.RTNLGRP_NEXTHOP)
FOLLOWED = (sc.RTNLGRP_LINK, sc.RTNLGRP_NEIGH, sc.RTNLGRP_IPV4_IFADDR, sc.RTNLGRP_IPV6_IFADDR, *ROUTES)
"""Groups of the route socket: what the kernel tells unasked."""


@dataclass(eq=False)
class Namespace:
    """`slot` is its row in the shared counters, `code` its number in the capture columns (Pipeline gives it)."""

    slot: int
    netns: str
    inode: int
    events: socket.socket
    requests: socket.socket
    route: socket.socket
    context: Context
    attached: int
    noticed: int
    newborn: bool
    resumed: bool
    code: int = -1
    active: bool = False
    """Whether connection tracking is known to run: something was tracked, or a rule needs it."""
    by_rules: bool = False
    """Whether a rule was seen that needs it."""
    starts: int | None = None
    """How many had started when the last such rule was gone: one more, and tracking runs all the same."""
    families: frozenset[str] | None = None
    """Of which (`ip`, `ip6`) the rules are that need it; None until they were looked at."""
    seen: frozenset[str] = frozenset()
    """Of which connections were seen to begin or end, where no rule was seen that needs it."""
    told: frozenset[str] | None = None
    """Of which the keeper was told that tracking runs."""
    sample: socket.socket | None = None
    """Where the kernel logs packets that it calls invalid (`packets`)."""
    ask_again: int = 0
    looked: int = 0
    """When the drop counter was read last; `drops` is what it said."""
    drops: int = 0
    dropped: int = 0
    """When the drop counter was last seen to have moved."""
    ageless: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    """Connections without a kernel start time, by tuple: when each was first seen, and its row (capture.tables)."""
    silent: dict[bytes, bytes] = field(default_factory=dict)
    """Connections that report no end though their start is known, by tuple and start: their rows."""
    look_again: int = 0
    descriptor: int = field(init=False)
    """Of `events`: asked for at every turn."""
    _to_list: deque[Listing] = field(default_factory=deque)
    _asked: tuple[Listing, Exchange] | None = None
    _follows_routes: bool = True

    def __post_init__(self) -> None:
        self.descriptor = self.events.fileno()

    def follow(self, now: int) -> None:
        """Have the kernel tell of links, addresses, neighbours and routes, and ask for those there are; the answers
        come between what it tells."""
        with contextlib.suppress(OSError):  # older than 4.20: answers have more in them than is asked for
            self.route.setsockopt(sc.SOL_NETLINK, sc.NETLINK_GET_STRICT_CHK, 1)
        for group in FOLLOWED:
            self.route.setsockopt(sc.SOL_NETLINK, sc.NETLINK_ADD_MEMBERSHIP, group)
        self.context.want(now, *EVERYTHING)
        self.ask_route(now)

    def ask_route(self, now: int) -> None:
        """Ask for what is wanted, unless it is being asked."""
        if self._asked is None and self.context.wanted:
            self._to_list.extend(self.context.wanted)
            self._ask_next(now)

    def read_route(self, now: int) -> None:
        """Take the route messages that wait."""
        for _ in range(READS):
            try:
                data = heard(self.route)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: something that was told is lost
                self.context.want(now, *EVERYTHING)
                break
            self._take(data, now)
        if self.context.routes_unknown and self._follows_routes:
            self._follows_routes = False
            for group in ROUTES:
                self.route.setsockopt(sc.SOL_NETLINK, sc.NETLINK_DROP_MEMBERSHIP, group)

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
                exchange.send(self.route)
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
                    exchange.send(self.route)
                    self._asked = listing, exchange
                except OSError:
                    self.context.end(now, whole=False)

    def close(self) -> None:
        """Let go of the namespace: nothing of ours keeps it alive."""
        for sock in (self.events, self.requests, self.route, self.sample):
            if sock is not None:
                sock.close()
