"""Does connection tracking run in a namespace? While it does not, a gap lasts (`conntrack-inactive`): what crosses it
is translated by nothing and recorded by nothing.

It runs when something was tracked, or while a rule needs it (`active`). A namespace that appeared a moment ago and
never had such a rule is young: somebody is just making it, Neutron for some seconds. The gap is there all the same,
since packets may cross it, but nobody is alarmed for YOUNG microseconds: its state is `young`, and nothing is said. The
keeper passes on changes of its ruleset at once, so that the gap ends when its first rule is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.capture.requests import Job, Requests
from anetcon.gaps import Cause
from anetcon.link import counters
from anetcon.netlink import active
from anetcon.system.clock import Moment
from anetcon.system.report import NOTICE, WARNING, report

SETTLED = 2_000_000
"""Microseconds a new namespace has for its rules before connection tracking is looked for in it."""

YOUNG = 60_000_000
"""Microseconds after its birth in which a namespace without such a rule is no reason for alarm."""

QUESTIONS = 64
"""Questions about rules that wait at a time: those about connections come between them soon enough."""

ATTACHED, INACTIVE, STILL_YOUNG = range(len(counters.STATES))


@dataclass
class _Known:
    """What is known of one namespace. Times are of the steady clock."""

    young_until: int
    ask_at: int
    """When it is asked for rules, at the earliest."""
    active: bool = False
    """Whether connection tracking is known to run: something was tracked, or a rule needs it."""
    by_rules: bool = False
    """Whether a rule was seen that needs it."""
    starts: int | None = None
    """How many had started when the last such rule was gone: one more, and tracking runs all the same."""
    families: frozenset[str] | None = None
    """Of which (`ip`, `ip6`) the rules are that need it; None until they were looked at."""
    seen: frozenset[str] = frozenset()
    """Of which connections were seen to begin or end."""
    told: frozenset[str] | None = None
    """Of which it was told that tracking runs."""


class Tracking:
    """Of all namespaces; `counted` are their counters."""

    def __init__(self, requests: Requests, lasting: Lasting, counted: NDArray[np.void]) -> None:
        self._requests = requests
        self._lasting = lasting
        self._counted = counted
        self._known: dict[Namespace, _Known] = {}

    def begin(self, namespace: Namespace, now: Moment) -> None:
        """It is attached."""
        young, settled = now.at(namespace.noticed).steady + YOUNG, now.at(namespace.attached).steady + SETTLED
        self._known[namespace] = _Known(young, settled)

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        del self._known[namespace]

    def found(self, namespace: Namespace) -> None:
        """There are connections in its table."""
        self._known[namespace].active = True

    def saw(self, namespace: Namespace, families: frozenset[str]) -> None:
        """Connections of these families were seen to begin or end."""
        self._known[namespace].seen |= families

    def look(self, namespace: Namespace, now: Moment, period: int) -> None:
        """Find out whether it runs, and keep the gap that says that it does not."""
        known = self._known[namespace]
        if known.active:
            return
        if self._state(namespace) == STILL_YOUNG and now.steady >= known.young_until:
            self._alarm(namespace)
        if known.starts is not None and now.steady < known.ask_at:
            known.starts = self._count(namespace, "starts")  # what was on its way, from before
        elif self._something_started(namespace):
            self._runs(namespace)
        elif now.steady >= known.ask_at and self._requests.waiting() < QUESTIONS:
            before, known.ask_at = known.ask_at, now.steady + period
            question = active.rules(lambda: self._runs(namespace))

            def asked(answered: bool) -> None:
                if answered or question.failed:
                    self._does_not(namespace)
                else:
                    known.ask_at = before  # nothing is known: it was not answered in time

            self._requests.ask(Job(namespace, question, asked))

    def judged(self, namespace: Namespace, tracks: bool, families: frozenset[str], since: int) -> None:
        """Whether a rule needs connection tracking, and of which families, now that the ruleset is another one than it
        was at `since`. When the last one is gone the kernel stops tracking; ends of what it tracked still come."""
        known = self._known[namespace]
        known.families = families
        if tracks:
            known.by_rules = True
            self._runs(namespace)
        elif known.by_rules:
            known.by_rules = known.active = False
            known.starts = self._count(namespace, "starts")
            known.ask_at = self._requests.clock().steady + SETTLED
            self._does_not(namespace, since)

    def news(self, namespace: Namespace) -> frozenset[str] | None:
        """Of which families it runs without us, when that is known and was not told yet."""
        known = self._known[namespace]
        if known.families is None:
            return None
        alone = not known.by_rules and known.starts is None
        families = known.families | (known.seen if alone else frozenset())
        before, known.told = known.told, families
        return None if families == before else families

    def _something_started(self, namespace: Namespace) -> bool:
        before = self._known[namespace].starts
        return self._count(namespace, "events") > 0 if before is None else self._count(namespace, "starts") > before

    def _count(self, namespace: Namespace, name: str) -> int:
        return int(self._counted[name][namespace.slot])

    def _state(self, namespace: Namespace) -> int:
        return self._count(namespace, "state")

    def _runs(self, namespace: Namespace) -> None:
        self._known[namespace].active = True
        lasted = self._lasting.end(namespace.netns, Cause.CONNTRACK_INACTIVE, self._requests.clock().wall)
        if lasted and self._state(namespace) == INACTIVE:
            report(f"{NOTICE}connection tracking runs in {namespace.netns} now")
        self._counted["state"][namespace.slot] = ATTACHED

    def _does_not(self, namespace: Namespace, since: int | None = None) -> None:
        known = self._known[namespace]
        if known.active or self._lasting.lasts(namespace.netns, Cause.CONNTRACK_INACTIVE):
            return
        self._lasting.begin(namespace.netns, Cause.CONNTRACK_INACTIVE, namespace.attached if since is None else since)
        never = since is None and namespace.newborn
        if never and self._requests.clock().steady < known.young_until:
            self._counted["state"][namespace.slot] = STILL_YOUNG
        else:
            self._alarm(namespace)

    def _alarm(self, namespace: Namespace) -> None:
        self._counted["state"][namespace.slot] = INACTIVE
        report(
            f"{WARNING}connection tracking does not run in {namespace.netns}: no rule needs it, so nothing is recorded "
            "there; set activate_conntrack = true to make it run"
        )
