"""One audited namespace as capture knows it: its sockets, its place in the counters, and what is open in it."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass, field

from anetcon.capture.context import DUMPS, Context
from anetcon.capture.dump import BUFFER, Exchange

READS = 64
"""Datagrams of route messages taken at a turn; the rest waits for the next."""


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
    ask_again: int = 0
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
    _exchanges: deque[Exchange] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.descriptor = self.events.fileno()

    def ask_route(self, kinds: tuple[tuple[int, bytes], ...] = DUMPS) -> None:
        """Ask for the links, addresses and neighbours there are; the answers come with the notifications."""
        idle = not self._exchanges
        self._exchanges.extend(Exchange(kind, body, _nothing) for kind, body in kinds)
        if idle:
            self._exchanges[0].send(self.route)

    def read_route(self, now: int) -> None:
        """Take the route messages that wait: notifications, and answers to `ask_route`."""
        for _ in range(READS):
            try:
                data = self.route.recv(BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: notifications were lost, so ask for everything again
                self.ask_route()
                break
            self.context.feed(data, now)
            if self._exchanges and self._exchanges[0].feed(data):
                self._exchanges.popleft()
                if self._exchanges:
                    self._exchanges[0].send(self.route)
        if self.context.wants_links:
            self.context.wants_links = False
            self.ask_route(DUMPS[:1])

    def close(self) -> None:
        """Let go of the namespace: nothing of ours keeps it alive."""
        for sock in (self.events, self.requests, self.route):
            sock.close()


def _nothing(_: list[bytes]) -> None:
    """The answers were fed to the context already."""
