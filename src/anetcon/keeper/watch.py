"""Once a second, in every namespace: is what the audit needs still switched on, did the table refuse connections, is
the ruleset still the same?

What somebody switched off is put back, and a gap says since when it may have been off: since it was last seen on. The
kernel counts, per processor, the connections that a full table refused, and the packets that conntrack calls invalid;
these counters are read where the table is nearly full or events flow, and everywhere else in turn. Changes of the
ruleset are told by the kernel, and passed on at the next second; at once where conntrack does not run yet. Those of
iptables-legacy are not told, so they are looked for in turn (`legacy`).

Refuses to wait, and to enter a namespace for what it can keep open there (`inside`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from anetcon.gaps import Cause, Gap
from anetcon.keeper.attach import Sockets
from anetcon.keeper.inside import Inside
from anetcon.keeper.loop import Loop
from anetcon.keeper.roster import Audited
from anetcon.link.messages import Invalid, Message, RulesetChanged
from anetcon.netlink import conntrack
from anetcon.netlink import xtables as legacy
from anetcon.netlink.ct_sysctls import SYSCTLS
from anetcon.rules import invalid_sample
from anetcon.system.clock import now_us
from anetcon.system.netns import Home
from anetcon.system.report import ERROR, NOTICE, WARNING

CAUSES = [cause for name in SYSCTLS for cause in Cause if cause.sysctl == name]

ON, AUTOMATIC = b"1\n", b"2\n"
"""nf_conntrack_events: events for connections created while somebody listens, and we do."""

ALL_ON = [ON] * len(SYSCTLS)

EACH_TICK = 50
"""Namespaces entered for the first time at a tick."""

IN_TURN, FLOWING = 100, 300
"""Namespaces whose counters are read at a tick though nothing is known to have happened there, each after ten seconds
where they are a thousand; and those where events came since the last. One takes 14 us, more where something changed."""

LEGACY_IN_TURN = 10
"""Namespaces that are entered at a tick, to look for rules of iptables-legacy."""

MANY = 500
"""With more namespaces only events are looked at each second, everything else every other second."""

SOON = 0.02
"""Seconds after a change in which others come as a rule: whoever writes a ruleset has many messages of one go."""

NEARLY_FULL = 0.9
LONGEST = 5_000_000
"""Microseconds after which refusals that go on are told, though they are not over."""

Pair = tuple[Audited, Sockets]


class _Watched:
    """One namespace: its files, when they were read last, what is off and cannot be put back, and refusals."""

    __slots__ = (
        *(
            "all_seen",
            "asked",
            "changed",
            "counted",
            "events",
            "fresh",
            "inside",
            "legacy",
            "legacy_seen",
            "near",
            "off",
        ),
        *("refused", "seen", "since", "soon", "told", "until"),
    )

    def __init__(self, inside: Inside, seen: int) -> None:
        self.inside = inside
        self.seen = self.all_seen = seen
        """When the first switch, and when everything was looked at last."""
        self.off: dict[int, int] = {}
        self.changed = self.fresh = True
        """Whether capture is to look at the ruleset, and whether it never has."""
        self.soon = False
        """Whether it is about to be told of a change."""
        self.legacy: list[legacy.Target] = []
        """What may hide connections and netlink does not show, and when that was looked at last."""
        self.legacy_seen = seen
        self.near = False
        self.events = 0
        """How many had come when the counters were read last."""
        self.counted: tuple[bytes, conntrack.Counted] = b"", conntrack.Counted(0, 0)
        self.asked = 0
        self.told: int | None = None
        """The kernel's count of refusals up to which everything was told."""
        self.refused = 0
        self.since = self.until = 0
        """From when to when these refusals were."""

    def hear(self) -> None:
        """Take what the kernel tells of the ruleset."""
        self.changed = self.inside.changed() or self.changed


class Watch:
    """`tick` is to be called once a second with what is attached. `send` gets gaps for capture."""

    def __init__(
        self,
        loop: Loop,
        home: Home,
        path: Callable[[str], Path | None],
        send: Callable[[Message], None],
        report: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._home = home
        self._path = path
        self._send = send
        self._report = report
        self._watched: dict[Audited, _Watched] = {}
        self._next = self._next_legacy = self._next_flowing = 0
        self._events: Sequence[int] = ()
        self._states: Sequence[int] = ()
        self._odd = False
        self._blind = False
        """Whether it was told that iptables-legacy cannot be looked at."""
        self._silent: set[Audited] = set()

    def tick(self, attached: list[Pair], events: Sequence[int] = (), states: Sequence[int] = ()) -> None:
        """Look at everything. `events`: how many have come so far, and `states` of capture's, by slot."""
        self._events, self._states = events, states
        there = {audited for audited, _ in attached}
        for audited in [each for each in self._watched if each not in there]:
            self._close(audited)
        self._silent &= there
        new = (audited for audited in there if audited not in self._watched and audited not in self._silent)
        for audited in itertools.islice(new, EACH_TICK):
            self._open(audited)
        self._next, in_turn = _in_turn(attached, self._next, IN_TURN)
        self._next_legacy, old = _in_turn(attached, self._next_legacy, LEGACY_IN_TURN * legacy.there())
        flowing = [pair for pair in attached if self._flows(pair[0], events)]
        self._next_flowing, in_flow = _in_turn(flowing, self._next_flowing, FLOWING)
        full = self._full()
        self._odd = not self._odd
        for number, (audited, sockets) in enumerate(attached):
            watched = self._watched.get(audited)
            if watched is None:
                continue
            try:
                now = now_us()
                if len(attached) > MANY and number % 2 == self._odd and watched.inside.first() == ON:
                    watched.seen = now
                    if audited in in_turn or audited in in_flow:
                        self._count(audited, watched, sockets, now)
                else:
                    self._look(audited, watched, sockets, full, audited in in_turn or audited in in_flow)
                if audited in old:
                    self._look_legacy(audited, watched)
            except (OSError, ValueError):
                continue  # the namespace is going: the listing will tell

    def tell_again(self) -> None:
        """Capture is a new one: tell it what lasts, and have it look at every ruleset."""
        for audited, watched in self._watched.items():
            watched.changed = watched.fresh = True
            for number, began in watched.off.items():
                self._gap(audited, CAUSES[number], began, None)
            if audited.untracked_last:  # it may have been told to a capture that died before it wrote
                self._tell_untracked(audited, *audited.untracked_last, 0)

    def _open(self, audited: Audited) -> None:
        try:
            inside = Inside(self._home, self._path(audited.name), audited.inode)
        except OSError as error:
            self._silent.add(audited)
            if self._path(audited.name) is None or self._path(audited.name).exists():  # type: ignore[union-attr]
                why = error.strerror or error
                self._report(
                    f"{WARNING}cannot watch the sysctls of {audited.netns}: {why}; if they change, nothing will tell"
                )
        else:
            watched = self._watched[audited] = _Watched(inside, audited.attached)
            audited.closing = lambda: self._let_go(audited)
            self._loop.watch(inside.ruleset.fileno(), lambda: self._hear(audited, watched))

    def _hear(self, audited: Audited, watched: _Watched) -> None:
        """A change of the ruleset. Where conntrack does not run, a gap may end with it: it is passed on soon."""
        watched.hear()
        if watched.changed and not watched.soon and self._states and self._states[audited.slot]:
            watched.soon = True
            self._loop.after(SOON, lambda: self._pass_on(audited, watched))

    def _pass_on(self, audited: Audited, watched: _Watched) -> None:
        watched.soon = False
        if self._watched.get(audited) is watched and watched.changed:
            self._ruleset(audited, watched, watched.all_seen)

    def tell_end(self, attached: list[Pair]) -> None:
        """The daemon ends: count once more, while there is somebody to be told."""
        for audited, _ in attached:
            self._last(audited)

    def _let_go(self, audited: Audited) -> None:
        self._last(audited)
        self._close(audited)

    def _last(self, audited: Audited) -> None:
        watched = self._watched.get(audited)
        if watched is not None and audited.sockets is not None:
            with contextlib.suppress(OSError):
                self._count(audited, watched, audited.sockets, now_us())

    def _close(self, audited: Audited) -> None:
        watched = self._watched.pop(audited, None)
        if watched is not None:
            self._loop.unwatch(watched.inside.ruleset.fileno())
            watched.inside.close()

    def _full(self) -> float:
        """How many connections are nearly as many as a table may hold; it is the same for all."""
        for watched in self._watched.values():
            with contextlib.suppress(OSError, ValueError):
                return (watched.inside.limit() or math.inf) * NEARLY_FULL
        return math.inf

    def _flows(self, audited: Audited, events: Sequence[int]) -> bool:
        """Whether events came since its counters were read."""
        watched = self._watched.get(audited)
        return watched is not None and len(events) > 0 and events[audited.slot] != watched.events

    def _look(self, audited: Audited, watched: _Watched, sockets: Sockets, full: float, in_turn: bool) -> None:
        now = now_us()  # before everything: what is seen to be as it was, was so until then at least
        watched.hear()
        values = watched.inside.switches()
        if values != ALL_ON or watched.off:
            self._mend(audited, watched, values)
        before, watched.all_seen, watched.seen = watched.all_seen, now, now
        near = watched.inside.connections() >= full
        if near and not watched.near:
            watched.asked = max(watched.asked, before)  # it was not full then
        if near or watched.near or watched.refused or watched.told is None or in_turn:
            self._count(audited, watched, sockets, now)
        watched.near = near
        if watched.changed:
            self._ruleset(audited, watched, before)

    def _mend(self, audited: Audited, watched: _Watched, values: Iterable[bytes]) -> None:
        for number, value in enumerate(values):
            name = f"{SYSCTLS[number]} in {audited.netns}"
            if value == ON and number not in watched.off:
                continue
            began = watched.off.get(number, watched.all_seen if number else watched.seen)
            try:
                watched.inside.switch_on(number)
            except OSError as error:
                if number not in watched.off:
                    watched.off[number] = began
                    self._gap(audited, CAUSES[number], began, None)
                    self._report(
                        f"{ERROR}{name} was switched off and cannot be put back: {error.strerror}; do it by sysctl"
                    )
                continue
            watched.off.pop(number, None)
            if value == AUTOMATIC and number == 0:
                self._report(f"{NOTICE}{name} was set to 2 and is 1 again; nothing was missed")
                continue
            self._gap(audited, CAUSES[number], began, now_us())
            self._report(f"{WARNING}{name} was switched off by somebody and is 1 again; see `anetcon gaps`")

    def _ruleset(self, audited: Audited, watched: _Watched, before: int) -> None:
        """Have capture look at the ruleset: a rule may hide connections now."""
        since = audited.attached if watched.fresh else before
        self._send(RulesetChanged(audited.slot, since, watched.legacy))
        watched.changed = watched.fresh = False

    def _look_legacy(self, audited: Audited, watched: _Watched) -> None:
        """Have capture judge what iptables-legacy has now, if that is something else than it was."""
        before, now = watched.legacy_seen, now_us()
        try:
            found = legacy.targets(self._home, self._path(audited.name), audited.inode)
        except PermissionError:
            if not self._blind:
                self._blind = True
                self._report(
                    f"{WARNING}the names of iptables-legacy's tables cannot be read: its rules that hide connections "
                    "will not be found; run the daemon as root or in group root, as its unit has it"
                )
            return
        watched.legacy_seen = now
        if found != watched.legacy:
            watched.legacy = found
            self._ruleset(audited, watched, before)

    def _count(self, audited: Audited, watched: _Watched, sockets: Sockets, now: int) -> None:
        """Read what the kernel counted: connections that it refused, and packets that it calls invalid."""
        before, answer = watched.counted, conntrack.processors(sockets.stats)
        if answer != before[0]:
            watched.counted = answer, conntrack.counted(answer)
        watched.events = self._events[audited.slot] if self._events else 0
        counted = watched.counted[1]
        self._refusals(audited, watched, counted.refused, now)
        since, known = audited.untracked_seen or audited.noticed, audited.untracked
        if known is None and not audited.newborn:
            since, known = now, counted.untracked
        audited.untracked, audited.untracked_seen = counted.untracked, now
        fresh, left = (counted.untracked - (known or 0)) & 0xFFFFFFFF, _left(audited, sockets)
        if fresh or left:
            audited.untracked_last = since, now_us()
            self._tell_untracked(audited, *audited.untracked_last, fresh, left)

    def _tell_untracked(self, audited: Audited, since: int, until: int, count: int, left: int = 0) -> None:
        self._send(Invalid(audited.slot, since, until, count, left))

    def _refusals(self, audited: Audited, watched: _Watched, count: int, now: int) -> None:
        """Collect what was refused, and tell it when it is over or goes on for long."""
        before, watched.asked = watched.asked or now, now
        fresh = 0 if watched.told is None else (count - watched.told) & 0xFFFFFFFF
        watched.told = count
        if fresh and not watched.refused:
            watched.since = before
            self._report(
                f"{ERROR}{audited.netns}: its connection table is full and the kernel refuses connections; "
                "raise nf_conntrack_max, or lower the timeouts of connection tracking"
            )
        watched.refused += fresh
        if fresh:
            watched.until = now_us()
        if watched.refused and (not fresh or now - watched.since > LONGEST):
            self._gap(audited, Cause.TABLE_FULL, watched.since, watched.until, watched.refused)
            watched.refused, watched.since = 0, now

    def _gap(self, audited: Audited, cause: Cause, start: int, end: int | None, lost: int | None = None) -> None:
        self._send(Gap(audited.netns, start, end, cause, lost))


def _left(audited: Audited, sockets: Sockets) -> int:
    """How many packets that are invalid left since that was read last, where a rule of ours counts them. One that
    somebody took away counts no more until it is there again."""
    fresh = 0
    for family, before in list(audited.left.items()):
        with contextlib.suppress(OSError):
            now = invalid_sample.left(sockets.stats, family)
            if now is None:
                del audited.left[family]
            else:
                audited.left[family] = now
                fresh += now - before if now >= before else now
    return fresh


def _in_turn(listed: list[Pair], first: int, most: int) -> tuple[int, set[Audited]]:
    """A few namespaces, others at each tick; and with which to go on."""
    first = first if first < len(listed) else 0
    return first + most, {audited for audited, _ in listed[first : first + most]}
