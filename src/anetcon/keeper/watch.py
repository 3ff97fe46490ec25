"""Once a second, in every namespace: are events still switched on, is the ruleset still the same? In turn: is all else
that the audit needs switched on, did the table refuse connections? What is kept of one is in its `watched`.

Whoever switches events off makes connections that nobody hears of, so that switch is looked at each second. The others
lose no connection, and their gap begins at the last look at which they were on.

The kernel counts, per processor, the connections that a full table refused, and the packets that conntrack calls
invalid; these counters are read where the table is nearly full or events flow, and everywhere else in turn. The kernel
tells of changes of the ruleset: the sockets that hear of them are in one epoll, asked once for all. A change is
passed on at the next second; at once where conntrack does not run yet. Those of iptables-legacy are not told, so they
are looked for in turn (`legacy`).

Refuses to wait, and to enter a namespace for what it can keep open there (`inside`).
"""

from __future__ import annotations

import contextlib
import itertools
import select
from collections.abc import Callable, Mapping, Sequence

from anetcon.keeper.attach import Attachment
from anetcon.keeper.host import Host
from anetcon.keeper.inside import Inside
from anetcon.keeper.namespace import Namespace
from anetcon.keeper.watched import Watched
from anetcon.link.messages import Message, RulesetChanged
from anetcon.netlink import xtables as legacy
from anetcon.system.clock import now_us
from anetcon.system.report import WARNING, report

EACH_TICK = 50
"""Namespaces entered for the first time at a tick."""

IN_TURN, FLOWING = 50, 300
"""Namespaces in which everything is looked at in a tick though nothing is known to have happened there, each after 20 s
where they are a thousand; and those where events came since the last. One takes 30 us, to look at events alone 2 us."""

LEGACY_IN_TURN = 10
"""Namespaces that are entered at a tick, to look for rules of iptables-legacy."""

SOON = 0.02
"""Seconds after a change in which others come as a rule: whoever writes a ruleset has many messages of one go."""

Open = tuple[Namespace, Attachment, Watched]
"""One that is watched."""


class Watch:
    """`tick` is to be called once a second with what is attached. `send` gets gaps and changes for capture."""

    def __init__(self, host: Host, send: Callable[[Message], None]) -> None:
        self._host = host
        self._send = send
        self._silent: set[Namespace] = set()
        """What could not be opened, which was said."""
        self._rulesets = select.epoll()
        self._hearing: dict[int, Open] = {}
        """By the descriptor of the socket that hears of its ruleset."""
        self._changed: dict[Namespace, Open] = {}
        """Whose ruleset has changed, or was never looked at: not passed on yet."""
        self._heard = 0
        """When the last tick began: whatever changed before it is passed on, or in `_changed`."""
        self._soon = False
        """Whether changes are about to be passed on before the next tick."""
        self._inactive: Sequence[int] = ()
        self._blind = False
        self._events: Sequence[int] = ()
        """How many had come at the last tick; and whether some of the namespaces they came in were not looked at."""
        self._behind = False
        self._turns = [0, 0, 0]
        """With which namespace to go on: counters, legacy, events."""
        host.loop.watch(self._rulesets.fileno(), self._on_rulesets)

    def tick(self, attached: Mapping[int, Namespace], events: Sequence[int], inactive: Sequence[int]) -> None:
        """Look into each namespace. By slot: how many events came, and whether conntrack does not run yet."""
        now = now_us()  # before everything: what is seen to be as it was, was so until then at least
        self._hear()
        self._inactive = inactive
        self._open_some(attached)
        watched = list(self._hearing.values())
        looked = set[Namespace]()
        for each in watched:
            if not each[2].glance(now):
                self._visit(each, now, events, looked)  # at once: what is off may be on again a moment later
        for each in _in_turn(self._turns, 0, watched, IN_TURN):
            self._visit(each, now, events, looked)
        for each in _in_turn(self._turns, 2, self._flowing(watched, events), FLOWING):
            self._visit(each, now, events, looked)
        for each in _in_turn(self._turns, 1, watched, LEGACY_IN_TURN * legacy.there()):
            with contextlib.suppress(OSError, ValueError):
                self._look_legacy(each)
        self._pass_on(self._changed)
        self._heard = now

    def tell_again(self, attached: Mapping[int, Namespace]) -> None:
        """Capture is a new one: tell it what lasts, and have it look at every ruleset."""
        for namespace, attachment, watched in filter(None, map(_open, attached.values())):
            watched.hiding.asked(fresh=True)
            self._changed[namespace] = namespace, attachment, watched
            for gap in watched.lasting():
                self._send(gap)
            if (invalid := attachment.invalid.again(namespace.slot)) is not None:
                self._send(invalid)

    def let_go(self, namespace: Namespace) -> None:
        """It is about to be let go of: count once more, and close what is open in it."""
        if (each := _open(namespace)) is not None:
            self._last(each)
            self._close(each)

    def tell_end(self, attached: Mapping[int, Namespace]) -> None:
        """The daemon ends: count once more, while there is somebody to be told."""
        for each in filter(None, map(_open, attached.values())):
            self._last(each)

    def _open_some(self, attached: Mapping[int, Namespace]) -> None:
        self._silent.intersection_update(attached.values())
        if len(self._hearing) + len(self._silent) == len(attached):
            return
        new = (
            (namespace, attachment)
            for namespace in attached.values()
            if (attachment := namespace.attachment) and attachment.watched is None and namespace not in self._silent
        )
        for namespace, attachment in itertools.islice(new, EACH_TICK):
            self._open(namespace, attachment)

    def _open(self, namespace: Namespace, attachment: Attachment) -> None:
        try:
            inside = Inside(self._host.home, namespace.path, namespace.inode)
        except OSError as error:
            self._silent.add(namespace)
            if namespace.path is None or namespace.path.exists():
                why = error.strerror or error
                report(
                    f"{WARNING}cannot watch the sysctls of {namespace.netns}: {why}; if they change, nothing will tell"
                )
            return
        each = namespace, attachment, Watched(namespace.netns, inside, namespace.since)
        attachment.watch(each[2])
        self._changed[namespace] = self._hearing[inside.ruleset.fileno()] = each
        self._rulesets.register(inside.ruleset.fileno(), select.EPOLLIN)

    def _close(self, each: Open) -> None:
        namespace, attachment, watched = each
        self._rulesets.unregister(watched.inside.ruleset.fileno())
        del self._hearing[watched.inside.ruleset.fileno()]
        self._changed.pop(namespace, None)
        watched.inside.close()
        attachment.watch(None)

    # Rulesets

    def _on_rulesets(self) -> None:
        """Where conntrack does not run, a gap may end with a change: it is passed on soon."""
        self._hear()
        if not self._soon and any(map(self._is_inactive, self._changed)):
            self._soon = True
            self._host.loop.after(SOON, self._pass_on_soon)

    def _hear(self) -> None:
        """Take what the kernel tells of rulesets."""
        for descriptor, _ in self._rulesets.poll(0, max(1, len(self._hearing))):
            each = self._hearing[descriptor]
            if each[2].inside.changed():
                self._changed[each[0]] = each

    def _pass_on_soon(self) -> None:
        self._soon = False
        self._pass_on({each: self._changed[each] for each in filter(self._is_inactive, self._changed)})

    def _is_inactive(self, namespace: Namespace) -> bool:
        return bool(self._inactive and self._inactive[namespace.slot])

    def _pass_on(self, changed: Mapping[Namespace, Open]) -> None:
        """Have capture look at rulesets: a rule may hide connections now."""
        for namespace, _, watched in list(changed.values()):
            del self._changed[namespace]
            self._tell(namespace, watched, self._heard)

    def _tell(self, namespace: Namespace, watched: Watched, before: int) -> None:
        since = namespace.since if watched.hiding.fresh else max(before, namespace.since)
        watched.hiding.asked(fresh=False)
        self._send(RulesetChanged(namespace.slot, since, watched.hiding.legacy))

    def _look_legacy(self, each: Open) -> None:
        """Have capture judge what iptables-legacy has now, if that is something else than it was."""
        namespace, _, watched = each
        try:
            before = watched.hiding.look(lambda: legacy.targets(self._host.home, namespace.path, namespace.inode))
        except PermissionError:
            if not self._blind:
                self._blind = True
                report(
                    f"{WARNING}the names of iptables-legacy's tables cannot be read: its rules that hide connections "
                    "will not be found; run the daemon as root or in group root, as its unit has it"
                )
            return
        if before is not None:
            self._tell(namespace, watched, before)

    # Switches and counters

    def _visit(self, each: Open, now: int, events: Sequence[int], looked: set[Namespace]) -> None:
        """Look at everything, once a tick."""
        if each[0] not in looked:
            looked.add(each[0])
            with contextlib.suppress(OSError, ValueError):  # the namespace is going: the listing will tell
                self._look(each, now)
                self._count(each, events[each[0].slot] if events else 0)

    def _look(self, each: Open, now: int) -> None:
        """Look at every switch, and put back what is off."""
        watched = each[2]
        if not watched.look(now):
            for gap in watched.mend(now):
                self._send(gap)

    def _flowing(self, watched: list[Open], events: Sequence[int]) -> list[Open]:
        """Where events came since the counters were read there."""
        if events == self._events and not self._behind:
            return []
        self._events = events
        flowing = [each for each in watched if events and events[each[0].slot] != each[2].events]
        self._behind = len(flowing) > FLOWING
        return flowing

    def _last(self, each: Open) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._count(each, each[2].events)
        if (gap := each[2].refusals.rest()) is not None:
            self._send(gap)

    def _count(self, each: Open, events: int) -> None:
        """Read what the kernel counted: connections that it refused, and packets that it calls invalid."""
        namespace, attachment, watched = each
        now = now_us()
        counted = watched.count(attachment.stats, events)
        if (gap := watched.refusals.count(counted.refused, now)) is not None:
            self._send(gap)
        slot, seen = namespace.slot, namespace.seen
        if (invalid := attachment.invalid.look(slot, counted.untracked, now, seen, attachment.stats)) is not None:
            self._send(invalid)
        watched.refusals.look(near=watched.inside.is_nearly_full())


def _open(namespace: Namespace) -> Open | None:
    attachment = namespace.attachment
    if attachment is None or attachment.watched is None:
        return None
    return namespace, attachment, attachment.watched


def _in_turn(turns: list[int], which: int, listed: list[Open], most: int) -> list[Open]:
    """A few of them, others at each tick; `turns` says with which to go on."""
    first = turns[which] if turns[which] < len(listed) else 0
    turns[which] = first + most
    return listed[first : first + most]
