"""The descriptors that capture listens to, and who takes what comes there."""

from __future__ import annotations

import select
from collections.abc import Callable

from anetcon.system.clock import Moment

Handler = Callable[[Moment], object]
"""Takes what waits; how many pieces those were, where that matters to how long the next turn waits."""


class Poll:
    """epoll(7). A descriptor that is `rapid` gives small pieces at high rates: it is worth to let some build up."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._rapid: set[int] = set()

    def watch(self, descriptor: int, handler: Handler, *, rapid: bool = False) -> None:
        """Listen to a descriptor from now on."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLIN)
        if rapid:
            self._rapid.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """Listen to it no longer. It is open still."""
        del self._handlers[descriptor]
        self._rapid.discard(descriptor)
        self._epoll.unregister(descriptor)

    def wait(self, seconds: float) -> bool:
        """Until something comes, so long at most; whether that is something rapid."""
        first = self._epoll.poll(seconds, 1)
        return bool(first) and first[0][0] in self._rapid

    def handle(self, now: Moment) -> int:
        """Have everything taken that waits; the most pieces that one took."""
        most = 0
        for descriptor, _ in self._epoll.poll(0, max(1, len(self._handlers))):
            handler = self._handlers.get(descriptor)  # none: one before it in this round was the last word on it
            if handler is not None:
                taken = handler(now)
                most = max(most, taken) if isinstance(taken, int) else most
        return most
