"""The guard of hold mode: it must never be the audit that makes a router refuse connections.

In hold the kernel keeps every end that does not fit into the queue of capture, and the connection it belongs to stays
in the connection table. When capture is stopped, hung or too slow the table would fill. The guard sees that in time,
lets the kernel drop such ends, and returns to hold when all is well; what was dropped meanwhile is a gap record.

It works while capture does nothing at all: it asks the kernel, and its sockets are the keeper's copies. In hold the
drop counter of a socket counts refusals and retries, out of hold exactly what is lost. Out of hold starts are not
delivered at all: an end tells everything its start does, there is twice the room for ends, and the count of what is
lost is one of connections.

Refuses to hold where the table has no limit (nf_conntrack_max = 0): nothing would bound the memory.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from anetcon.keeper import attach, stats
from anetcon.keeper import syscalls as sc
from anetcon.keeper.clock import now_us
from anetcon.keeper.report import NOTICE, WARNING
from anetcon.keeper.shared import Shared

TICK_SECONDS = 0.1
FROZEN_TICKS = 2
"""Capture turns at least every 200 ms; when it has not for so many ticks, every queue is looked at."""
UNLIMITED = float("inf")
RETURN_TICKS = 10
RETURN_SHARE = 0.5
"""Hold resumes below this share of the limit that ended it; that is looked at every tenth tick."""

Report = Callable[[str], None]
SendGap = Callable[[str, int, int, int], None]
"""Called with (netns, from, to, connections lost)."""


class _Held:
    """One guarded socket. `left`: since when it is out of hold (us), with the drops of that moment in `baseline`."""

    __slots__ = ("baseline", "drops", "events", "left", "netns", "shared", "stats")

    def __init__(self, netns: str, events: socket.socket, stats: socket.socket) -> None:
        self.netns = netns
        self.events = events
        self.stats = stats
        self.left: int | None = None
        self.baseline = 0
        self.drops = 0
        self.shared = 0

    def set_hold(self, hold: bool) -> None:
        """Whether the kernel keeps an end that did not fit and tries again (hold), or drops it."""
        self.events.setsockopt(sc.SOL_NETLINK, sc.NETLINK_BROADCAST_ERROR, int(hold))

    def set_starts(self, starts: bool) -> None:
        """Whether starts are delivered too."""
        attach.set_starts(self.events, starts)


class Guard:
    """All sockets in hold mode, by slot. `starts`: whether starts are wanted while all is well."""

    def __init__(self, shared: Shared, share: float, starts: bool, send_gap: SendGap, report: Report) -> None:
        self.share = share
        self.starts = starts
        self._shared = shared
        self._send_gap = send_gap
        self._report = report
        self._held: dict[int, _Held] = {}
        self._out: set[int] = set()
        self._progress = shared.progress()
        self._drops: list[int] = []
        self._turn = 0
        self._unmoved = 0

    def add(self, slot: int, netns: str, events: socket.socket, stats: socket.socket) -> None:
        """Put a socket in hold and guard it from now on."""
        held = self._held[slot] = _Held(netns, events, stats)
        if _fullness(held) > self.share:
            self._leave(slot, held)
        else:
            held.set_hold(True)

    def resume(self, slot: int, netns: str, events: socket.socket, stats: socket.socket, out: list[int] | None) -> None:
        """Guard a socket that was guarded before this program was re-executed; `out` as `state` gave it."""
        held = self._held[slot] = _Held(netns, events, stats)
        if out is not None:
            held.left, held.baseline = out
            self._out.add(slot)

    def state(self, slot: int) -> list[int] | None:
        """What `resume` needs to know of a socket that is out of hold."""
        held = self._held.get(slot)
        return None if held is None or held.left is None else [held.left, held.baseline]

    def remove(self, slot: int) -> None:
        """Guard a socket no more, which must be open still; what it lost is told."""
        held = self._held.pop(slot, None)
        if held is not None:
            self._tell(held)
            self._out.discard(slot)

    def tell(self) -> None:
        """Tell what was lost so far, while there is somebody to be told."""
        for slot in self._out:
            self._tell(self._held[slot])

    def shed(self) -> None:
        """End hold everywhere, for good."""
        for slot, held in list(self._held.items()):
            held.set_hold(False)
            held.set_starts(self.starts)
            self.remove(slot)

    def tick(self) -> None:
        """Look at what may be in danger. To be called every TICK_SECONDS."""
        self._turn += 1
        progress = self._shared.progress()
        self._unmoved = self._unmoved + 1 if progress == self._progress else 0
        self._progress = progress
        frozen = self._unmoved >= FROZEN_TICKS
        drops = self._shared.column("drops", max(self._held, default=-1) + 1)
        if not frozen and drops == self._drops and not self._out:
            return
        self._drops = drops
        for slot, held in self._held.items():
            if held.left is not None:
                if self._turn % RETURN_TICKS == 0:
                    self._try_return(slot, held)
            elif ((frozen and _crowded(held)) or drops[slot] != held.shared) and _fullness(held) > self.share:
                self._leave(slot, held)
            held.shared = drops[slot]

    def _leave(self, slot: int, held: _Held) -> None:
        held.set_starts(self.starts and _fullness(held) == UNLIMITED)  # where it never returns, starts go on
        held.baseline = stats.queue(held.events)[2]  # before: a retry too many counted as lost, never one too few
        held.set_hold(False)
        held.left = now_us()
        self._out.add(slot)
        self._report(
            f"{WARNING}{held.netns}: the connection table is over {self.share:.0%} full or has no limit; "
            "events that capture has no room for are dropped and counted until it has caught up"
        )

    def _try_return(self, slot: int, held: _Held) -> None:
        """Once the queue is drained, tell what was lost; hold again if the table allows."""
        queued, size, _ = stats.queue(held.events)
        if queued * 8 > size:
            return
        fullness = _fullness(held)
        back = fullness <= self.share * RETURN_SHARE
        held.set_hold(back)
        self._tell(held)
        if back or fullness == UNLIMITED:
            held.set_starts(self.starts)
        if back:
            held.left = None
            self._out.discard(slot)
            self._report(f"{NOTICE}{held.netns}: capture has caught up, no event is dropped any more")

    def _tell(self, held: _Held) -> None:
        """Send a gap for what was lost since the last one, and count anew from here."""
        drops, now = stats.queue(held.events)[2], now_us()
        if held.left is not None and drops != held.baseline:
            self._send_gap(held.netns, held.left, now, (drops - held.baseline) & 0xFFFFFFFF)
            held.left, held.baseline = now, drops


def _crowded(held: _Held) -> bool:
    """Whether a queue is over half full, or something was refused since the last look."""
    queued, size, drops = stats.queue(held.events)
    rising, held.drops = drops != held.drops, drops
    return rising or queued * 2 > size


def _fullness(held: _Held) -> float:
    """The share of its limit a connection table has reached; UNLIMITED without one, or where the kernel is silent."""
    try:
        connections, limit = stats.table(held.stats)
    except OSError:
        return UNLIMITED
    return connections / limit if limit else UNLIMITED
