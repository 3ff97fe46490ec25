"""Packets of one namespace that conntrack calls invalid: how many the kernel counted, and how many of them left.

The kernel counts all of them, per processor; a rule of ours, where it stands (`sampling`), those that leave. What is
told of is what came between two looks.
"""

from __future__ import annotations

import contextlib
import socket

from anetcon.link.messages import Invalid
from anetcon.rules import invalid_sample
from anetcon.system.clock import now_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from anetcon.keeper.namespaces import Seen


class InvalidPackets:
    """What was read of them last. Times in microseconds."""

    def __init__(self) -> None:
        self.count: int | None = None
        """How many the kernel had counted, at `seen`."""
        self.seen = 0
        self.last: tuple[int, int] | None = None
        """Between which looks some were counted last."""
        self.tracks: frozenset[str] | None = None
        """Of which families (`ip`, `ip6`) connection tracking runs without us, as capture said; None: it has not."""
        self.left: dict[str, int] = {}
        """By family, how many had left: where our table stands."""

    def is_tracked(self, family: str) -> bool:
        """Whether a rule of ours may count in a family."""
        return self.tracks is not None and family in self.tracks

    def learn(self, families: Iterable[str]) -> None:
        """Capture says of which families connection tracking runs without us."""
        self.tracks = frozenset(invalid_sample.FAMILIES).intersection(families)

    def restore(self, count: int | None, seen: int, last: tuple[int, int] | None, left: dict[str, int]) -> None:
        """As the program before this one had it."""
        self.count, self.seen, self.last, self.left = count, seen, last, left

    def look(self, slot: int, count: int, now: int, seen: Seen, asking: socket.socket) -> Invalid | None:
        """The kernel has counted so many by `now`. What to tell capture, if there were more than at the look before;
        of one that is newborn, since it was noticed."""
        if count == self.count and not self.left:
            self.seen = now  # as nearly always
            return None
        before, known = self.seen or seen.noticed, self.count
        if known is None:
            before, known = (before, 0) if seen.newborn else (now, count)
        self.count, self.seen = count, now
        fresh, left = (count - known) & 0xFFFFFFFF, self._leaving(asking)
        if not (fresh or left):
            return None
        self.last = before, now_us()
        return Invalid(slot, *self.last, fresh, left)

    def again(self, slot: int) -> Invalid | None:
        """For a new capture: the one before may have died before it wrote down what it was told last."""
        return Invalid(slot, *self.last, 0, 0) if self.last else None

    def _leaving(self, asking: socket.socket) -> int:
        """How many left since that was read last. A rule of ours that somebody took away counts no more until it is
        there again."""
        fresh = 0
        for family, before in list(self.left.items()):
            with contextlib.suppress(OSError):
                now = invalid_sample.left(asking, family)
                if now is None:
                    del self.left[family]
                else:
                    self.left[family] = now
                    fresh += now - before if now >= before else now
        return fresh
