"""Starts that did not come: while some are missing a gap lasts (`starts-off`), for an open connection is known by
nothing else.

The keeper switches them off when a queue overflows out of hold, and the kernel drops what does not fit. The gap ends
when the table has been listed afterwards and that is on record (`listings`): then whatever is open has a row, what has
ended has its end, and nothing is missing. The row that ends it says so, by none lost. It does not where ends were lost
as well, or the daemon ended before: who began and ended meanwhile nobody knows, and the gap stays one.

While starts are off the table is listed every AGAIN microseconds: the gap goes on from the last listing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from anetcon.capture.lasting import Lasting
from anetcon.capture.listings import AGAIN, Listings
from anetcon.capture.namespace import Namespace
from anetcon.gaps import Cause
from anetcon.system.clock import Moment

OFF = sys.maxsize


@dataclass
class _Missing:
    """Where some are missing: until when, by the steady clock (OFF: still); until when ends were lost too, by the wall
    clock; and when it was last listed, by the steady one."""

    until: int = 0
    lost: int = 0
    asked: int = 0


class Starts:
    """Of which namespaces some are missing. `wanted`: whether starts are recorded at all."""

    def __init__(self, lasting: Lasting, listings: Listings, wanted: bool) -> None:
        self._lasting = lasting
        self._listings = listings
        self._wanted = wanted
        self._missing: dict[Namespace, _Missing] = {}

    def off(self, namespace: Namespace, since: int) -> None:
        """They are not delivered from then on."""
        self._miss(namespace, since, OFF)

    def on(self, namespace: Namespace, since: Moment) -> None:
        """They are again, from then on."""
        if namespace in self._missing:
            self._missing[namespace].until = since.steady
            self._listings.want(namespace)

    def missed(self, namespace: Namespace, start: int, end: Moment) -> None:
        """Some may have been dropped between these times."""
        self._miss(namespace, start, end.steady)

    def _miss(self, namespace: Namespace, start: int, until: int) -> None:
        if self._wanted:
            missing = self._missing.setdefault(namespace, _Missing())
            missing.until = max(missing.until, until)
            self._lasting.begin(namespace.netns, Cause.STARTS_OFF, start)
            self._listings.want(namespace)

    def lost(self, namespace: Namespace, end: int) -> None:
        """Ends were lost until then: one whose start is missing may never be known."""
        if namespace in self._missing:
            self._missing[namespace].lost = end

    def listed(self, namespace: Namespace, begun: Moment) -> None:
        """Whatever was open at `begun` is on record."""
        missing = self._missing.get(namespace)
        if missing is None or begun.steady < missing.until < OFF:
            return
        if missing.lost:
            self._lasting.end(namespace.netns, Cause.STARTS_OFF, missing.lost)
            self._lasting.begin(namespace.netns, Cause.STARTS_OFF, missing.lost)
        self._lasting.end(namespace.netns, Cause.STARTS_OFF, begun.wall, 0)
        if missing.until == OFF:
            self._lasting.begin(namespace.netns, Cause.STARTS_OFF, begun.wall)
            missing.lost = 0
        else:
            del self._missing[namespace]

    def gone(self, namespace: Namespace, at: int, *, whole: bool) -> None:
        """The namespace is no more; `whole`: everything that was open in it then is on record."""
        missing = self._missing.pop(namespace, None)
        if missing is not None:
            self._lasting.end(namespace.netns, Cause.STARTS_OFF, at, 0 if whole and not missing.lost else None)

    def tick(self, now: Moment) -> None:
        """Have the table listed again, until all is known."""
        for namespace, missing in self._missing.items():
            if self._listings.waits(namespace):
                missing.asked = now.steady
            elif now.steady - missing.asked >= AGAIN:
                self._listings.want(namespace)
