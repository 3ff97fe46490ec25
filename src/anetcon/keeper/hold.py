"""The guard of hold mode: it must never be the audit that makes a router refuse connections.

In hold the kernel keeps every end that does not fit into the queue of capture, and the connection it belongs to stays
in the connection table. When capture is stopped, hung or too slow the table would fill. The guard sees that in time,
lets the kernel drop such ends, and returns to hold when all is well; what was dropped meanwhile is a gap record.

It works while capture does nothing at all: it asks the kernel, and its sockets are the keeper's copies. In hold the
drop counter of a socket counts refusals and retries, out of hold what is lost.

When hold ends starts go off too: an end tells everything its start does, there is twice the room for ends, and the
count of what is lost is one of connections. They come back as soon as the queue is drained, whatever the table holds:
without them an open connection is not on record. If the queue fills again before hold is back they go off for twice
as long. While they are on out of hold the queue has room for what a tick can bring, so that they go off before an end
is lost. Capture is told of each such time before it begins.

Refuses to hold where the table has no limit (nf_conntrack_max = 0): nothing would bound the memory.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from anetcon.gaps import Cause, Gap
from anetcon.keeper import attach
from anetcon.keeper.shared import Shared
from anetcon.netlink import conntrack as stats
from anetcon.system import syscalls as sc
from anetcon.system.clock import now_us
from anetcon.system.report import NOTICE, WARNING

TICK_SECONDS = 0.1
FROZEN_TICKS = 2
"""Capture turns at least every 200 ms; when it has not for so many ticks, every queue is looked at."""
UNLIMITED = float("inf")
FIRST_PAUSE, LONGEST_PAUSE = 10, 640
"""Ticks that starts stay off: the first time, and at most. The next time begins anew after as long without loss."""
TRIAL_BYTES = 16 << 20
"""Receive buffer asked for while starts are on out of hold: room for more than TICK_SECONDS can bring."""
RECENTLY = 120_000_000
"""Microseconds in which a new capture is told again that starts were off: longer than one takes to begin."""
RETURN_TICKS = 10
RETURN_SHARE = 0.5
"""Hold resumes below this share of the limit that ended it; that is looked at every tenth tick."""

Report = Callable[[str], None]
SendGap = Callable[[Gap], None]


class _Held:
    """One guarded socket. `left`: since when it is out of hold (us), with the drops of that moment in `baseline`.
    `off`: since when starts are off (us); they may come `back` at that tick, and the next time stay off for `pause`.
    `size`: bytes that fit into its queue in hold."""

    __slots__ = (
        *("back", "baseline", "drops", "events", "left", "netns"),
        *("off", "pause", "shared", "size", "stats", "was"),
    )

    def __init__(self, netns: str, events: socket.socket, asking: socket.socket) -> None:
        self.netns = netns
        self.events = events
        self.stats = asking
        self.left: int | None = None
        self.baseline = 0
        self.off: int | None = None
        self.was: tuple[int, int] | None = None
        """From when to when they were off last."""
        self.back = 0
        self.pause = FIRST_PAUSE
        self.size = stats.queue(events)[1]
        self.drops = 0
        self.shared = 0

    def set_hold(self, hold: bool) -> None:
        """Whether the kernel keeps an end that did not fit and tries again (hold), or drops it."""
        self.events.setsockopt(sc.SOL_NETLINK, sc.NETLINK_BROADCAST_ERROR, int(hold))

    def set_starts(self, starts: bool) -> None:
        """Whether starts are delivered too."""
        attach.set_starts(self.events, starts)

    def set_trial(self, trial: bool) -> None:
        """Whether the queue has room for what a tick can bring with starts on, or its own size."""
        attach.set_buffer(self.events, TRIAL_BYTES if trial else self.size // 2)  # the kernel grants twice


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
            held.left, held.baseline, *more = out
            held.off = (more[0] or None) if more else held.left  # version 0.6 had starts off until hold was back
            held.size = more[1] if more[1:] else held.size
            self._out.add(slot)

    def state(self, slot: int) -> list[int] | None:
        """What `resume` needs to know of a socket that is out of hold."""
        held = self._held.get(slot)
        return None if held is None or held.left is None else [held.left, held.baseline, held.off or 0, held.size]

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

    def tell_again(self) -> None:
        """Tell a new capture where starts are off, and where they were a moment ago: nobody may have heard it."""
        recently = now_us() - RECENTLY
        for held in self._held.values():
            if held.was is not None and held.was[1] > recently:
                self._send_gap(Gap(held.netns, held.was[0], None, Cause.STARTS_OFF))
                self._send_gap(Gap(held.netns, *held.was, Cause.STARTS_OFF))
            if held.off is not None:
                self._send_gap(Gap(held.netns, held.off, None, Cause.STARTS_OFF))

    def shed(self) -> None:
        """End hold everywhere, for good."""
        for slot, held in list(self._held.items()):
            held.set_hold(False)
            held.set_trial(False)
            self._starts_on(held)
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
                self._watch_starts(held)
                if self._turn % RETURN_TICKS == 0:
                    self._try_return(slot, held)
            elif ((frozen and _crowded(held)) or drops[slot] != held.shared) and _fullness(held) > self.share:
                self._leave(slot, held)
            held.shared = drops[slot]

    def _leave(self, slot: int, held: _Held) -> None:
        self._starts_off(held)
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
        if stats.queue(held.events)[0] * 8 > held.size:
            return
        back = _fullness(held) <= self.share * RETURN_SHARE
        held.set_hold(back)
        self._tell(held)
        if back:
            self._starts_on(held)
            held.set_trial(False)
            held.left = None
            self._out.discard(slot)
            self._report(f"{NOTICE}{held.netns}: capture has caught up, no event is dropped any more")

    def _watch_starts(self, held: _Held) -> None:
        """Out of hold: starts on when the queue is drained, off when it fills all the same."""
        queued, _, drops = stats.queue(held.events)
        overflown, held.drops = drops != held.drops, drops
        if held.off is None:
            if overflown or queued * 2 > held.size:
                self._starts_off(held)
        elif self._turn >= held.back and queued * 8 <= held.size:
            held.set_trial(True)
            self._starts_on(held)

    def _starts_off(self, held: _Held) -> None:
        """Where the table has no limit hold never returns, so starts go on."""
        if self.starts and held.off is None and _fullness(held) != UNLIMITED:
            if self._turn - held.back > LONGEST_PAUSE:
                held.pause = FIRST_PAUSE
            held.back, held.pause = self._turn + held.pause, min(2 * held.pause, LONGEST_PAUSE)
            held.off = now_us()
            self._send_gap(Gap(held.netns, held.off, None, Cause.STARTS_OFF))  # first: it is told before any is missing
            held.set_starts(False)

    def _starts_on(self, held: _Held) -> None:
        if held.off is not None:
            held.set_starts(self.starts)
            held.was, held.off = (held.off, now_us()), None
            self._send_gap(Gap(held.netns, *held.was, Cause.STARTS_OFF))

    def _tell(self, held: _Held) -> None:
        """Send a gap for what was lost since the last one, and count anew from here."""
        drops, now = stats.queue(held.events)[2], now_us()
        if held.left is not None and drops != held.baseline:
            self._send_gap(Gap(held.netns, held.left, now, Cause.OVERRUN, (drops - held.baseline) & 0xFFFFFFFF))
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
