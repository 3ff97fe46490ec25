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
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from anetcon.gaps import Cause, Gap
from anetcon.keeper import attach
from anetcon.keeper.attach import Attachment
from anetcon.keeper.namespace import Namespace
from anetcon.keeper.shared import Shared
from anetcon.link.settings import Settings
from anetcon.netlink import conntrack as stats
from anetcon.system import syscalls as sc
from anetcon.system.clock import now_us
from anetcon.system.report import NOTICE, WARNING, report

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

SendGap = Callable[[Gap], None]
Attached = Mapping[int, Namespace]


class Terms(NamedTuple):
    """What hold is governed by: the share of a table at which it ends, whether starts are wanted, and which tick it
    is."""

    share: float
    starts: bool
    turn: int


class Held:
    """One guarded socket, `events`; `asking` asks the kernel about its namespace. Gaps are sent as they begin."""

    def __init__(self, netns: str, events: socket.socket, asking: socket.socket, send: SendGap) -> None:
        self.left: int | None = None
        """Since when it is out of hold (us), with the drops of that moment in `_baseline`."""
        self._netns = netns
        self._events = events
        self._asking = asking
        self._send = send
        self._baseline = 0
        self._off: int | None = None
        """Since when starts are off (us); they may come `_back` at that tick, and the next time stay off for
        `_pause`."""
        self._was: tuple[int, int] | None = None
        """From when to when they were off last."""
        self._back = 0
        self._pause = FIRST_PAUSE
        self._size = stats.queue(events)[1]
        """Bytes that fit into its queue in hold."""
        self._drops = 0
        self._shared = 0
        """What capture had said of drops at the last look."""

    def begin(self, terms: Terms) -> None:
        """Into hold, unless its table is too full already."""
        if self._fullness() > terms.share:
            self._leave(terms)
        else:
            self.set_hold(True)

    def resume(self, out: list[int]) -> None:
        """It is out of hold since before this program was re-executed; as `state` gave it."""
        self.left, self._baseline, *more = out
        self._off = (more[0] or None) if more else self.left  # version 0.6 had starts off until hold was back
        self._size = more[1] if more[1:] else self._size

    def state(self) -> list[int] | None:
        """What `resume` needs to know of a socket that is out of hold."""
        return None if self.left is None else [self.left, self._baseline, self._off or 0, self._size]

    def shed(self, terms: Terms) -> None:
        """End hold for good."""
        self.set_hold(False)
        self.set_trial(False)
        self._starts_on(terms)
        self.tell()

    def look(self, terms: Terms, frozen: bool, drops: int) -> None:
        """What is to be done at a tick; `drops` is what capture says of them."""
        if self.left is not None:
            self._watch_starts(terms)
            if terms.turn % RETURN_TICKS == 0:
                self._try_return(terms)
        elif ((frozen and self._crowded()) or drops != self._shared) and self._fullness() > terms.share:
            self._leave(terms)
        self._shared = drops

    def tell(self) -> None:
        """Send a gap for what was lost since the last one, and count anew from here."""
        drops, now = stats.queue(self._events)[2], now_us()
        if self.left is not None and drops != self._baseline:
            self._send(Gap(self._netns, self.left, now, Cause.OVERRUN, (drops - self._baseline) & 0xFFFFFFFF))
            self.left, self._baseline = now, drops

    def tell_again(self, recently: int) -> None:
        """Tell a new capture where starts are off, and where they were since: nobody may have heard it."""
        if self._was is not None and self._was[1] > recently:
            self._send(Gap(self._netns, self._was[0], None, Cause.STARTS_OFF))
            self._send(Gap(self._netns, *self._was, Cause.STARTS_OFF))
        if self._off is not None:
            self._send(Gap(self._netns, self._off, None, Cause.STARTS_OFF))

    def set_hold(self, hold: bool) -> None:
        """Whether the kernel keeps an end that did not fit and tries again (hold), or drops it."""
        self._events.setsockopt(sc.SOL_NETLINK, sc.NETLINK_BROADCAST_ERROR, int(hold))

    def set_starts(self, starts: bool) -> None:
        """Whether starts are delivered too."""
        attach.set_starts(self._events, starts)

    def set_trial(self, trial: bool) -> None:
        """Whether the queue has room for what a tick can bring with starts on, or its own size."""
        attach.set_buffer(self._events, TRIAL_BYTES if trial else self._size // 2)  # the kernel grants twice

    def _leave(self, terms: Terms) -> None:
        self._starts_off(terms)
        self._baseline = stats.queue(self._events)[2]  # before: a retry too many counted as lost, never one too few
        self.set_hold(False)
        self.left = now_us()
        report(
            f"{WARNING}{self._netns}: the connection table is over {terms.share:.0%} full or has no limit; "
            "events that capture has no room for are dropped and counted until it has caught up"
        )

    def _try_return(self, terms: Terms) -> None:
        """Once the queue is drained, tell what was lost; hold again if the table allows."""
        if stats.queue(self._events)[0] * 8 > self._size:
            return
        back = self._fullness() <= terms.share * RETURN_SHARE
        self.set_hold(back)
        self.tell()
        if back:
            self._starts_on(terms)
            self.set_trial(False)
            self.left = None
            report(f"{NOTICE}{self._netns}: capture has caught up, no event is dropped any more")

    def _watch_starts(self, terms: Terms) -> None:
        """Out of hold: starts on when the queue is drained, off when it fills all the same."""
        queued, _, drops = stats.queue(self._events)
        overflown, self._drops = drops != self._drops, drops
        if self._off is None:
            if overflown or queued * 2 > self._size:
                self._starts_off(terms)
        elif terms.turn >= self._back and queued * 8 <= self._size:
            self.set_trial(True)
            self._starts_on(terms)

    def _starts_off(self, terms: Terms) -> None:
        """Where the table has no limit hold never returns, so starts go on."""
        if terms.starts and self._off is None and self._fullness() != UNLIMITED:
            if terms.turn - self._back > LONGEST_PAUSE:
                self._pause = FIRST_PAUSE
            self._back, self._pause = terms.turn + self._pause, min(2 * self._pause, LONGEST_PAUSE)
            self._off = now_us()
            self._send(Gap(self._netns, self._off, None, Cause.STARTS_OFF))  # first: before any is missing
            self.set_starts(False)

    def _starts_on(self, terms: Terms) -> None:
        if self._off is not None:
            self.set_starts(terms.starts)
            self._was, self._off = (self._off, now_us()), None
            self._send(Gap(self._netns, *self._was, Cause.STARTS_OFF))

    def _crowded(self) -> bool:
        """Whether the queue is over half full, or something was refused since the last look."""
        queued, size, drops = stats.queue(self._events)
        rising, self._drops = drops != self._drops, drops
        return rising or queued * 2 > size

    def _fullness(self) -> float:
        """The share of its limit the connection table has reached; UNLIMITED without one, or where the kernel is
        silent."""
        try:
            connections, limit = stats.table(self._asking)
        except OSError:
            return UNLIMITED
        return connections / limit if limit else UNLIMITED


class Guard:
    """All of them, each the `held` of its namespace's attachment; `attached` are namespaces by slot."""

    def __init__(self, shared: Shared, settings: Settings, send: SendGap) -> None:
        self._shared = shared
        self._settings = settings
        self._send = send
        self._out = False
        """Whether one may be out of hold."""
        self._progress = shared.progress()
        self._counted = bytearray()
        self._drops: list[int] = []
        """What capture had said at the last look: all of it, and of drops."""
        self._turn = 0
        self._unmoved = 0

    def use(self, settings: Settings) -> None:
        """These are the settings now."""
        self._settings = settings

    def add(self, namespace: Namespace) -> None:
        """Put a namespace in hold, and guard it from now on."""
        held = self._begin(namespace)
        held.begin(self._terms())
        self._out |= held.left is not None

    def resume(self, namespace: Namespace, out: list[int] | None) -> None:
        """Guard one that was guarded before this program was re-executed; `out` as `Held.state` gave it."""
        held = self._begin(namespace)
        if out is not None:
            held.resume(out)
            self._out = True

    def tell(self, attached: Attached) -> None:
        """Tell what was lost so far, while there is somebody to be told."""
        for _, held in _each(attached):
            held.tell()

    def tell_again(self, attached: Attached) -> None:
        """Capture is a new one."""
        recently = now_us() - RECENTLY
        for _, held in _each(attached):
            held.tell_again(recently)

    def shed(self, attached: Attached) -> None:
        """End hold everywhere, for good."""
        for attachment, held in _each(attached):
            held.shed(self._terms())
            attachment.hold(None)

    def tick(self, attached: Attached) -> None:
        """Look at what may be in danger. To be called every TICK_SECONDS."""
        self._turn += 1
        progress = self._shared.progress()
        self._unmoved = self._unmoved + 1 if progress == self._progress else 0
        self._progress = progress
        frozen = self._unmoved >= FROZEN_TICKS
        calm = not frozen and not self._out
        if not self._shared.has_changed(self._counted) and calm:
            return
        drops = self._shared.column("drops")
        if calm and drops == self._drops:
            return
        self._drops, self._out, terms = drops, False, self._terms()
        for slot, namespace in attached.items():
            held = namespace.attachment.held if namespace.attachment else None
            if held is not None:
                held.look(terms, frozen, drops[slot])
                self._out |= held.left is not None

    def _begin(self, namespace: Namespace) -> Held:
        assert namespace.attachment is not None  # noqa: S101  (for the type checker)
        held = Held(namespace.netns, namespace.attachment.events, namespace.attachment.stats, self._send)
        namespace.attachment.hold(held)
        return held

    def _terms(self) -> Terms:
        return Terms(self._settings.guard_share, self._settings.starts, self._turn)


def _each(attached: Attached) -> Iterator[tuple[Attachment, Held]]:
    for namespace in attached.values():
        if namespace.attachment is not None and namespace.attachment.held is not None:
            yield namespace.attachment, namespace.attachment.held
