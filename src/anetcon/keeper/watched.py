"""What the keeper watches in one namespace: are its switches on, did its table refuse connections, what may hide them.

What somebody switched off is put back, and a gap says since when it may have been off: since it was last seen on.
Times in microseconds. Refuses to enter the namespace: `inside` has what is open there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from anetcon.gaps import Cause, Gap
from anetcon.keeper.inside import ON, Inside
from anetcon.netlink import conntrack
from anetcon.netlink import xtables as legacy
from anetcon.netlink.ct_sysctls import SYSCTLS
from anetcon.system.clock import now_us
from anetcon.system.report import ERROR, NOTICE, WARNING, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

CAUSES = [cause for name in SYSCTLS for cause in Cause if cause.sysctl == name]

AUTOMATIC = b"2\n"
"""nf_conntrack_events: events for connections created while somebody listens, and we do."""

LONGEST = 5_000_000
"""Microseconds after which refusals that go on are told, though they are not over."""


class Refusing(NamedTuple):
    """Refusals that are not told of yet: when they came, and how many."""

    since: int
    until: int
    lost: int


class Refusals:
    """Connections that the kernel refused because the table was full."""

    def __init__(self, netns: str) -> None:
        self._netns = netns
        self._asked = 0
        self._told: int | None = None
        """The kernel's count up to which everything was told."""
        self._now: Refusing | None = None
        self.is_calm = False
        """Whether the kernel's count need not be read each second."""

    def look(self, near: bool) -> None:
        """The table is nearly full, or is not, after the kernel's count was read."""
        self.is_calm = not near and self._now is None

    def count(self, total: int, now: int) -> Gap | None:
        """The kernel has counted that many. The gap of what is over, or goes on for long."""
        self.is_calm = False
        before, self._asked = self._asked or now, now
        fresh = 0 if self._told is None else (total - self._told) & 0xFFFFFFFF
        self._told = total
        if fresh and self._now is None:
            report(
                f"{ERROR}{self._netns}: its connection table is full and the kernel refuses connections; "
                "raise nf_conntrack_max, or lower the timeouts of connection tracking"
            )
        if fresh:
            since, _, lost = self._now or Refusing(before, 0, 0)
            self._now = Refusing(since, now_us(), lost + fresh)
        return self.rest() if self._now is not None and (not fresh or now - self._now.since > LONGEST) else None

    def rest(self) -> Gap | None:
        """The gap of what is not told of yet: it is over, or nobody looks again."""
        told, self._now = self._now, None
        return told and Gap(self._netns, told.since, told.until, Cause.TABLE_FULL, told.lost)


class Hiding:
    """What rules may hide connections: whether capture looked at the ruleset, and the rules of iptables-legacy, of
    which the kernel tells no change."""

    def __init__(self, seen: int) -> None:
        self.fresh = True
        """Whether capture was never asked to look."""
        self.legacy: list[legacy.Target] = []
        self._seen = seen
        """When the rules of iptables-legacy were looked at last."""

    def asked(self, fresh: bool) -> None:
        """Capture was asked to look; `fresh`: it is a new one, which has not."""
        self.fresh = fresh

    def look(self, targets: Callable[[], list[legacy.Target]]) -> int | None:
        """Since when these rules are others than they were; None: they are not."""
        now = now_us()  # before they are read: they may change right after
        found = targets()
        before, self._seen = self._seen, now
        if found == self.legacy:
            return None
        self.legacy = found
        return before


class Watched:
    """One namespace."""

    def __init__(self, netns: str, inside: Inside, seen: int) -> None:
        self.inside = inside
        self.refusals = Refusals(netns)
        self.hiding = Hiding(seen)
        self.events = 0
        """How many had come when the kernel's counts were read last."""
        self._netns = netns
        self._seen = self._all_seen = seen
        """When events were seen on last, and when everything was."""
        self._off: dict[int, int] = {}
        """What is off and cannot be put back, and since when."""
        self._counted: tuple[bytes, conntrack.KernelCounts] = b"", conntrack.KernelCounts(0, 0)

    def glance(self, now: int) -> bool:
        """Look whether events are on, `now` or later; False: everything is to be looked at."""
        if self._off or not self.refusals.is_calm or not self._is_on():
            return False
        self._seen = now
        return True

    def look(self, now: int) -> bool:
        """Look at every switch, `now` or later; False: something is to be put back, by `mend`."""
        if self._off or not self.inside.are_on():
            return False
        self._all_seen = self._seen = now
        return True

    def mend(self, now: int) -> Iterator[Gap]:
        """Put back what is off; `now` is before that was seen."""
        yield from self._mend()
        self._all_seen = self._seen = now

    def count(self, asking: socket.socket, events: int) -> conntrack.KernelCounts:
        """Read what the kernel counted; so many events had come by then."""
        answer = conntrack.processors(asking)
        if answer != self._counted[0]:
            self._counted = answer, conntrack.counted(answer)
        self.events = events
        return self._counted[1]

    def lasting(self) -> Iterator[Gap]:
        """What is off and cannot be put back."""
        for number, began in self._off.items():
            yield Gap(self._netns, began, None, CAUSES[number])

    def _is_on(self) -> bool:
        try:
            return self.inside.is_on()
        except OSError:  # it was not seen on
            return False

    def _mend(self) -> Iterator[Gap]:
        for number, value in enumerate(self.inside.switches()):
            name = f"{SYSCTLS[number]} in {self._netns}"
            if value == ON and number not in self._off:
                continue
            began = self._off.get(number, self._all_seen if number else self._seen)
            try:
                self.inside.switch_on(number)
            except OSError as error:
                if number not in self._off:
                    self._off[number] = began
                    yield Gap(self._netns, began, None, CAUSES[number])
                    report(f"{ERROR}{name} was switched off and cannot be put back: {error.strerror}; do it by sysctl")
                continue
            self._off.pop(number, None)
            if value == AUTOMATIC and number == 0:
                report(f"{NOTICE}{name} was set to 2 and is 1 again; nothing was missed")
                continue
            yield Gap(self._netns, began, now_us(), CAUSES[number])
            report(f"{WARNING}{name} was switched off by somebody and is 1 again; see `anetcon gaps`")
