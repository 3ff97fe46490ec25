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
from anetcon.link.messages import Invalid
from anetcon.netlink.invalid import BOTH
from anetcon.system.clock import Moment

QUIET = 60_000_000
"""Microseconds without such a packet after which the gap is over."""


@dataclass
class _Seen:
    """The gap that lasts: its cause, since when, when some were counted last, how many so far, and how many left."""

    cause: Cause
    since: int
    last: Moment
    count: int = 0
    left: int = 0


class Untracked:
    """Of all namespaces. Times in microseconds of wall clock, as the keeper tells them."""

    def __init__(self, lasting: Lasting) -> None:
        self._lasting = lasting
        self._seen: dict[Namespace, _Seen] = {}
        self._dropping: dict[Namespace, int] = {}
        """Since when the forward chain is known to drop them, by the steady clock."""

    def counted(self, namespace: Namespace, told: Invalid, now: Moment) -> None:
        """So many came between two times, and so many left."""
        self._count(namespace, now.at(told.start), now.at(told.end), told.number, told.left)

    def _count(self, namespace: Namespace, start: Moment, end: Moment, count: int, left: int) -> None:
        began = self._dropping.get(namespace)
        dropped = began is not None and began <= start.steady
        cause = Cause.UNTRACKED_DROPPED if dropped else Cause.UNTRACKED
        seen = self._seen.get(namespace)
        if seen is not None and seen.cause != cause:
            self._end(namespace)
            seen = None
        if seen is None:
            seen = self._seen[namespace] = _Seen(cause, start.wall, end)
            self._lasting.begin(namespace.netns, cause, start.wall)
        seen.last, seen.count, seen.left = end, seen.count + count, seen.left + left

    def dropped(self, namespace: Namespace, families: frozenset[str], since: int, now: Moment) -> None:
        """Of which families the forward chain drops them, now that the ruleset is another one than it was `since`."""
        if families == BOTH:
            self._dropping.setdefault(namespace, now.steady)
            return
        self._dropping.pop(namespace, None)
        seen, changed = self._seen.get(namespace), now.at(since)
        if seen is not None and seen.cause is Cause.UNTRACKED_DROPPED and seen.last.steady > changed.steady:
            last, seen.last = seen.last, changed
            self._end(namespace)
            self._count(namespace, changed, last, 0, 0)

    def tick(self, now: Moment) -> None:
        """End what is over."""
        for namespace, seen in list(self._seen.items()):
            if now.steady - seen.last.steady >= QUIET:
                self._end(namespace)

    def end_all(self) -> None:
        """Nobody counts any more."""
        for namespace in list(self._seen):
            self._end(namespace)

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._end(namespace)
        self._dropping.pop(namespace, None)

    def _end(self, namespace: Namespace) -> None:
        seen = self._seen.pop(namespace, None)
        if seen is not None:
            self._lasting.end(namespace.netns, seen.cause, seen.last.wall, seen.count)
            if seen.left:
                self._lasting.take(Gap(namespace.netns, seen.since, seen.last.wall, Cause.UNTRACKED_LEFT, seen.left))
