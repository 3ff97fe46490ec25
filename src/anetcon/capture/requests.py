"""One question to the kernel at a time, over all namespaces, without waiting for the answer.

The kernel is odd here: a socket answers one dump at a time. Of one that was forgotten (its namespace is going, or the
capture that asked has died; the socket is the same) the rest is still to be read, and until then the next one is
refused (EBUSY); so it is asked again.

Dumps walk the whole connection table of the kernel (measured: 3.6 ms even for an empty namespace), so they are queued:
urgent ones first, and one that gets no answer in time is given up.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from anetcon.capture.namespace import Namespace
from anetcon.netlink.dump import Exchange
from anetcon.system.clock import Moment

PATIENCE = 5_000_000
"""Microseconds without an answer after which a question is given up."""

PIECES = 8
"""Datagrams of an answer taken at a turn, so that events are never kept waiting."""


class Job(NamedTuple):
    """A question, and what to do when it was answered (True) or failed (False)."""

    namespace: Namespace
    exchange: Exchange
    done: Callable[[bool], None]


class Requests:
    """The queue. `readable` is to be called when a namespace's requests socket is; `tick` now and then. Whoever asks
    takes the time of the answer from `clock`."""

    def __init__(self, clock: Callable[[], Moment]) -> None:
        self.clock = clock
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._heard = 0

    def ask(self, job: Job, urgent: bool = False) -> None:
        """Queue a question."""
        if urgent:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)
        self._next(self.clock())

    def forget(self, namespace: Namespace) -> None:
        """Drop every question to a namespace that goes away."""
        self._queue = deque(job for job in self._queue if job.namespace is not namespace)
        if self._current is not None and self._current.namespace is namespace:
            self._current = None

    def waiting(self) -> int:
        """How many questions are asked or queued."""
        return len(self._queue) + (self._current is not None)

    def readable(self, namespace: Namespace, now: Moment) -> None:
        """Take what a namespace answered; what nobody asked for (any more) is read and dropped."""
        for _ in range(PIECES):
            job = self._current
            if job is None or job.namespace is not namespace:
                Exchange(0, b"", lambda _: None).receive(namespace.requests)
                return
            self._heard = now.steady
            try:
                over = job.exchange.receive(namespace.requests)
            except OSError:
                self._finish(False, now)
                return
            if over and job.exchange.failed == errno.EBUSY:
                job.exchange.failed = 0
                self._send(job)
            elif over:
                self._finish(job.exchange.failed == 0, now)
                return

    def tick(self, now: Moment) -> None:
        """Give up what is not answered, and go on."""
        if self._current is not None and now.steady - self._heard > PATIENCE:
            self._finish(False, now)
        self._next(now)

    def _finish(self, answered: bool, now: Moment) -> None:
        job, self._current = self._current, None
        if job is not None:
            job.done(answered)
        self._next(now)

    def _next(self, now: Moment) -> None:
        while self._current is None and self._queue:
            job = self._queue.popleft()
            self._current, self._heard = job, now.steady
            self._send(job)

    def _send(self, job: Job) -> None:
        try:
            job.exchange.send(job.namespace.requests)
        except OSError:
            self._current = None
            job.done(False)
