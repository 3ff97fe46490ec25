"""Packets that conntrack calls invalid: no connection tells of them, so while the kernel counts some a gap lasts.

The keeper reads the counter and says how many came between two looks. All of a time, until QUIET without one, are one
gap with their number: `untracked`, or `untracked-dropped` where the forward chain dropped such packets of both families
all the while (`invalid`). Where that was not so the whole time between two looks, they are `untracked`. How many left
the namespace, where a rule of ours counts them, is a row of its own beside it: `untracked-left`.
"""

from __future__ import annotations

from dataclasses import dataclass

from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.gaps import Cause, Gap
from anetcon.netlink.invalid import BOTH

QUIET = 60_000_000
"""Microseconds without such a packet after which the gap is over."""


@dataclass
class _Seen:
    """The gap that lasts: its cause, since when, when some were counted last, how many so far, and how many left."""

    cause: Cause
    since: int
    last: int
    count: int = 0
    left: int = 0


class Untracked:
    """Of all namespaces. Times in microseconds of wall clock."""

    def __init__(self, lasting: Lasting) -> None:
        self._lasting = lasting
        self._seen: dict[Namespace, _Seen] = {}
        self._dropping: dict[Namespace, int] = {}
        """Since when the forward chain is known to drop them."""

    def counted(self, namespace: Namespace, start: int, end: int, count: int, left: int = 0) -> None:
        """So many came between these times, and so many left."""
        began = self._dropping.get(namespace)
        cause = Cause.UNTRACKED_DROPPED if began is not None and began <= start else Cause.UNTRACKED
        seen = self._seen.get(namespace)
        if seen is not None and seen.cause != cause:
            self._end(namespace)
            seen = None
        if seen is None:
            seen = self._seen[namespace] = _Seen(cause, start, end)
            self._lasting.begin(namespace.netns, cause, start)
        seen.last, seen.count, seen.left = end, seen.count + count, seen.left + left

    def dropped(self, namespace: Namespace, families: frozenset[str], since: int, now: int) -> None:
        """Of which families the forward chain drops them, now that the ruleset is another one than it was `since`."""
        if families == BOTH:
            self._dropping.setdefault(namespace, now)
            return
        self._dropping.pop(namespace, None)
        seen = self._seen.get(namespace)
        if seen is not None and seen.cause is Cause.UNTRACKED_DROPPED and seen.last > since:
            last, seen.last = seen.last, since
            self._end(namespace)
            self.counted(namespace, since, last, 0)

    def tick(self, now: int) -> None:
        """End what is over."""
        for namespace, seen in list(self._seen.items()):
            if now - seen.last >= QUIET:
                self._end(namespace)

    def end_all(self) -> None:
        """Nobody counts any more."""
        for namespace in list(self._seen):
            self._end(namespace)

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._end(namespace)
        self._dropping.pop(namespace, None)

    def stepped(self, by: int) -> None:
        """The wall clock was set."""
        for seen in self._seen.values():
            seen.since += by
            seen.last += by
        for namespace in self._dropping:
            self._dropping[namespace] += by

    def _end(self, namespace: Namespace) -> None:
        seen = self._seen.pop(namespace, None)
        if seen is not None:
            self._lasting.end(namespace.netns, seen.cause, seen.last, seen.count)
            if seen.left:
                self._lasting.take(Gap(namespace.netns, seen.since, seen.last, Cause.UNTRACKED_LEFT, seen.left))
