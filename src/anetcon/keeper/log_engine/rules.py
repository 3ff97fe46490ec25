"""That the LOG rules stand in every audited namespace: written before it is handed over, looked at every period and
soon after the kernel tells of a change, taken away in the end.

When what is to be done is decided by a machine for each namespace (`standing`); what is here tells it what happens,
and does what it says. Refuses to wait, and to know how rules are written: anetcon.rules does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from anetcon.gaps import Cause, Gap
from anetcon.keeper.handover import KeptRules
from anetcon.keeper.host import Host
from anetcon.keeper.jobs import Errands
from anetcon.keeper.log_engine.nf_log import Printing
from anetcon.keeper.log_engine.standing import Action, Look, Ready, RulesSettled, Say, Standing
from anetcon.keeper.log_engine.visits import Visits
from anetcon.keeper.loop import Loop, Timer
from anetcon.keeper.namespace import Namespace
from anetcon.link.log_switch import Switch
from anetcon.link.settings import Settings
from anetcon.netlink.generation import RulesetWatch
from anetcon.rules.outcome import VisitOutcome
from anetcon.rules.wording import WantedRules
from anetcon.system.clock import now_us
from anetcon.system.report import DEBUG, debug, report

RECENT_SECONDS, RECENT_MOST = 30.0, 1000
"""Gaps told of so lately, and as many, are told again to a new capture; a gap told twice is one."""

CHILDREN_AT_END = 8
"""Taking rules away is mostly waiting for the kernel."""


class _Ear:
    """What hears of one namespace's ruleset, and the timer of its machine."""

    def __init__(self, loop: Loop) -> None:
        self.watch: RulesetWatch | None = None
        self._loop = loop
        self._timer: Timer | None = None
        self._due: float | None = None

    def listen(self, watch: RulesetWatch, call: Callable[[], None]) -> None:
        """Call when it is readable."""
        self.watch = watch
        self._loop.watch(watch.fileno(), call)

    def wake(self, due: float | None, call: Callable[[], None]) -> None:
        """Call at that time of the monotonic clock, and not when that was to be before."""
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if due is None else self._loop.after(max(0.0, due - time.monotonic()), call)

    def woken(self) -> None:
        """The timer has called."""
        self._due = self._timer = None

    def close(self) -> None:
        """Hear of nothing any more."""
        self.wake(None, lambda: None)
        if self.watch is not None:
            self._loop.unwatch(self.watch.fileno())
            self.watch.close()
            self.watch = None


class Told:
    """Gaps of missing rules, and which of them were told of lately. `send` tells capture."""

    def __init__(self, send: Callable[[Gap], None]) -> None:
        self._send = send
        self._recent: deque[tuple[float, Gap]] = deque(maxlen=RECENT_MOST)
        """When (monotonic) which gap that is over was told of."""

    def tell(self, gap: Gap) -> None:
        """Rules were missing in that time."""
        if gap.end is not None:
            self._recent.append((time.monotonic(), gap))
        self._send(gap)

    def again(self) -> None:
        """To a new capture, those that the one before may not have written down."""
        for told, gap in self._recent:
            if told > time.monotonic() - RECENT_SECONDS:
                self._send(gap)


class Rules:
    """The rules of every namespace. `send` takes a gap, `ready` a namespace whose rules stand now, or cannot."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        errands: Errands,
        send: Callable[[Gap], None],
        ready: Callable[[Namespace], None],
    ) -> None:
        self._host = host
        self._settings = settings
        self._errands = errands
        self._told = Told(send)
        self._ready = ready
        self._visits = Visits(host, errands, self._left)
        self._printing = Printing(Switch(host.home, host.ledger), self._tell_dark)
        self._standing: dict[int, Standing] = {}
        """By inode."""
        self._ears: dict[Standing, _Ear] = {}
        self._ending = False

    def use(self, settings: Settings) -> None:
        """These are the settings now."""
        self._settings = settings

    def missing(self, namespace: Namespace) -> str | None:
        """Why a namespace cannot be handed over yet: "" while its rules are being written; None when they stand."""
        if not self._settings.kind.rules:
            return None
        if self._ending:
            return ""
        problem = self._printing.problem(namespace.inode)
        if problem is not None:
            return problem
        standing = self._standing.get(namespace.inode)
        if standing is not None and standing.namespace.name != namespace.name:
            return f"it is the same namespace as {standing.namespace.netns}, under which it is recorded"
        if standing is None or standing.namespace is not namespace:  # attached anew
            standing = self._begin(namespace)
        if standing.error is not None:
            return standing.error
        return None if standing.is_right else ""

    def keep(self, present: Iterable[Namespace]) -> None:
        """These are the audited namespaces, with the settings as they are now; no other has rules of ours."""
        if self._ending:
            return
        listed = {namespace.inode: namespace for namespace in present} if self._settings.kind.rules else {}
        for inode, standing in list(self._standing.items()):
            if listed.get(inode) is not standing.namespace:
                self._let_go(inode)
        for namespace in listed.values():
            there = self._standing.get(namespace.inode)
            if there is not None:
                self._adapt(there)
            elif namespace.is_attached:
                self._begin(namespace)
        for inode in self._visits.places() - listed.keys():
            self._visits.take_away(inode)

    def check(self) -> None:
        """Whether all is as it has to be; to be called every period."""
        if not self._settings.kind.rules or self._ending:
            self._printing.put_back()
            return
        self._printing.look()
        for standing in list(self._standing.values()):
            watch = self._ears[standing].watch
            if not standing.rests:
                continue
            if standing.needs_look or watch is None:
                self._do(standing, standing.look())
            else:
                now = now_us()
                self._do(standing, standing.asked(watch.generation(), now, time.monotonic()))

    def start_capture(self) -> None:
        """A new capture: tell it of the gaps that last, and of those that the one before may not have written down."""
        self._told.again()
        for standing in self._standing.values():
            dark = self._printing.dark if _is_dark(standing, self._printing) else None
            since = standing.missing if dark is None else dark
            if since is not None:
                self._told.tell(_gap(standing.namespace, since, None))

    def tell_end(self) -> None:
        """The daemon ends: lasting gaps last no longer than it."""
        for standing in self._standing.values():
            if standing.missing is not None:
                self._told.tell(_gap(standing.namespace, standing.missing, now_us()))
        self._printing.over()

    def remove(self) -> None:
        """Take all rules away."""
        self._ending = True
        self._errands.hurry(CHILDREN_AT_END)
        for inode in list(self._standing):
            self._let_go(inode)
        for inode in self._visits.places():
            self._visits.take_away(inode)
        self._printing.put_back()

    def state(self) -> list[KeptRules]:
        """What the program that replaces this one needs to know."""
        return [kept for each in self._standing.values() if (kept := each.state()) is not None]

    def restore(self, state: list[KeptRules], namespaces: Iterable[Namespace]) -> None:
        """Go on with what `state` described."""
        by_inode = {each.inode: each for each in namespaces}
        for kept in state:
            if (namespace := by_inode.get(kept.inode)) is not None:
                engine, chain, dnat, other, protocols, networks = kept.wanted
                limits = (None if value is None else tuple(value) for value in (protocols, networks))
                standing = Standing(namespace, WantedRules(engine, chain, dnat, other, *limits))
                standing.resume(kept)
                self._listen(standing)

    # What happens

    def _adapt(self, standing: Standing) -> None:
        wanted = self._settings.rules(standing.namespace.netns)
        if wanted is not None and wanted != standing.wanted:
            self._hear(standing)  # what somebody did before
            self._do(standing, standing.adapt(wanted, now_us()))

    def _begin(self, namespace: Namespace) -> Standing:
        if namespace.inode in self._standing:
            self._let_go(namespace.inode)
        wanted = self._settings.rules(namespace.netns)
        assert wanted is not None  # noqa: S101  (for the type checker)
        standing = Standing(namespace, wanted)
        if self._listen(standing):
            self._do(standing, standing.begin(now_us(), self._visits.is_busy(namespace.inode)))
        return standing

    def _listen(self, standing: Standing) -> bool:
        """Hear of changes from now on."""
        namespace = standing.namespace
        namespace.keep_rules(standing)
        self._standing[namespace.inode] = standing
        ear = self._ears[standing] = _Ear(self._host.loop)
        try:
            with self._host.home.entered(namespace.path):
                watch = RulesetWatch()
        except OSError as error:
            standing.deaf(error.strerror or str(error))
            return False
        ear.listen(watch, partial(self._hear, standing))
        return True

    def _let_go(self, inode: int) -> None:
        self._ears.pop(self._standing.pop(inode)).close()

    def _hear(self, standing: Standing) -> None:
        watch = self._ears[standing].watch
        told = None if watch is None else watch.drain()
        if told is not None:
            self._do(standing, standing.heard(told, self._host.loop.before, time.monotonic()))

    def _woken(self, standing: Standing) -> None:
        self._ears[standing].woken()
        self._do(standing, standing.woken(time.monotonic()))

    def _visited(self, standing: Standing, outcome: VisitOutcome) -> None:
        if self._standing.get(standing.namespace.inode) is standing:
            self._do(standing, standing.visited(outcome, now_us(), time.monotonic()))
        else:  # let go of meanwhile
            self._left(standing.namespace.inode)
            self._visits.take_away(standing.namespace.inode)

    def _left(self, inode: int) -> None:
        """A child that another sent has left a namespace."""
        if (standing := self._standing.get(inode)) is not None:
            self._do(standing, standing.freed())

    # What is to be done

    def _do(self, standing: Standing, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Look():
                    self._visits.look(standing.namespace, action, partial(self._visited, standing))
                case RulesSettled(wanted):
                    self._visits.settled(standing.namespace.inode, wanted)
                case Gap():
                    self._told.tell(action)
                case Say(line) if line.startswith(DEBUG):
                    debug("%s", line.removeprefix(DEBUG))
                case Say(line):
                    report(line)
                case Ready():
                    self._ready(standing.namespace)
        standing.namespace.outdated()
        if standing in self._ears:
            self._ears[standing].wake(standing.due, partial(self._woken, standing))

    # The switch

    def _tell_dark(self, since: int, to: int | None) -> None:
        for standing in self._standing.values():
            if _is_dark(standing, self._printing):
                namespace = standing.namespace
                self._told.tell(_gap(namespace, max(since, namespace.since), to))


def _gap(namespace: Namespace, since: int, until: int | None) -> Gap:
    return Gap(namespace.netns, since, until, Cause.RULES_MISSING)


def _is_dark(standing: Standing, printing: Printing) -> bool:
    """Whether lines are missing while the kernel prints none of other namespaces."""
    return standing.namespace.is_attached and printing.needed(standing.namespace.inode)
