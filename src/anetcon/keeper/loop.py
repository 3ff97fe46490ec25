"""The keeper's one loop: descriptors, timers and signals, in one thread, so that entering a namespace is safe.

Refuses threads and callbacks that wait: whatever is called here returns at once.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable

from anetcon.system.clock import now_us

Callback = Callable[[], None]


class Timer:
    """Something to be called later; `cancel` forgets it."""

    __slots__ = ("call",)

    def __init__(self, call: Callback) -> None:
        self.call: Callback | None = call

    def cancel(self) -> None:
        """Do not call it any more."""
        self.call = None


class Loop:
    """epoll, timers, and signals through a pipe."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._signals: dict[int, Callback] = {}
        self._running = True
        self.before = self._asked = now_us()
        """When the turn before this one began to wait (us): what is heard in this one has happened since. Not when that
        was over: a process that was stopped and goes on may be told of nothing, and of what happened the next time."""
        self._pipe, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.watch(self._pipe, self._on_pipe)

    def watch(self, descriptor: int, call: Callback, writable: bool = False) -> None:
        """Call when `descriptor` is readable, or with `writable` when it is either."""
        mask = select.EPOLLIN | (select.EPOLLOUT if writable else 0)
        if descriptor in self._readers:
            self._epoll.modify(descriptor, mask)
        else:
            self._epoll.register(descriptor, mask)
        self._readers[descriptor] = call

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; to be called before it is closed."""
        del self._readers[descriptor]
        self._epoll.unregister(descriptor)

    def after(self, seconds: float, call: Callback) -> Timer:
        """Call once, `seconds` from now."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def every(self, seconds: float, call: Callback) -> None:
        """Call again and again; a call that came late moves the next."""

        def tick() -> None:
            self.after(seconds, tick)
            call()

        self.after(seconds, tick)

    def on_signal(self, number: int, call: Callback) -> None:
        """Call in the loop after signal `number` arrived, once however often it came meanwhile."""
        self._signals[number] = call
        signal.signal(number, lambda *_: None)

    def stop(self) -> None:
        """`run` returns after what is being called now."""
        self._running = False

    def run(self) -> None:
        """Until `stop`."""
        while self._running:
            self.before, self._asked = self._asked, now_us()
            for descriptor, _ in self._epoll.poll(self._pause()):
                call = self._readers.get(descriptor)
                if call is not None:  # an earlier callback may have forgotten it
                    call()
            self._run_timers()

    def _pause(self) -> float:
        """Seconds until the next timer."""
        if not self._timers:
            return -1
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._running and self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call()

    def _on_pipe(self) -> None:
        for number in sorted(set(os.read(self._pipe, 4096))):
            if number in self._signals:
                self._signals[number]()
