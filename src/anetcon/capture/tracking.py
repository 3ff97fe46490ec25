"""Does connection tracking run in a namespace? While it does not, a gap lasts (`conntrack-inactive`): what crosses it
is translated by nothing and recorded by nothing.

It runs when something was tracked, or while a rule needs it (`active`). A namespace that appeared a moment ago and
never had such a rule is young: somebody is just making it, Neutron for some seconds. The gap is there all the same,
since packets may cross it, but nobody is alarmed for YOUNG microseconds: its state is `young`, and nothing is said. The
keeper passes on changes of its ruleset at once, so that the gap ends when its first rule is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.capture.requests import Job, Requests
from anetcon.gaps import Cause
from anetcon.link import counters
from anetcon.netlink import active
from anetcon.system.report import NOTICE, WARNING

SETTLED = 2_000_000
"""Microseconds a new namespace has for its rules before connection tracking is looked for in it."""

YOUNG = 60_000_000
"""Microseconds after its birth in which a namespace without such a rule is no reason for alarm."""

QUESTIONS = 64
"""Questions about rules that wait at a time: those about connections come between them soon enough."""

EVENTS, STARTS, STATE = (counters.SLOT.index(name) for name in ("events", "starts", "state"))
ATTACHED, INACTIVE, STILL_YOUNG = range(len(counters.STATES))


class Tracking:
    """Of all namespaces; `shared` are their counters. Times in microseconds of wall clock."""

    def __init__(
        self,
        requests: Requests,
        lasting: Lasting,
        shared: NDArray[Any],
        clock: Callable[[], int],
        log: Callable[[str], None],
    ) -> None:
        self._requests = requests
        self._lasting = lasting
        self._shared = shared
        self._clock = clock
        self._log = log

    def look(self, namespace: Namespace, now: int, period: int) -> None:
        """Find out whether it runs, and keep the gap that says that it does not."""
        if namespace.active:
            return
        if self._state(namespace) == STILL_YOUNG and now - namespace.noticed >= YOUNG:
            self._alarm(namespace)
        if namespace.starts is not None and now < namespace.ask_again:
            namespace.starts = int(self._shared[namespace.slot, STARTS])  # what was on its way, from before
        elif self._something_started(namespace):
            self._runs(namespace)
        elif now >= max(namespace.ask_again, namespace.attached + SETTLED) and self._requests.waiting() < QUESTIONS:
            namespace.ask_again = now + period
            question = active.rules(lambda: self._runs(namespace))

            def asked(answered: bool) -> None:
                if answered or question.failed:
                    self._does_not(namespace)
                else:
                    namespace.ask_again = 0  # nothing is known: it was not answered in time

            self._requests.ask(Job(namespace, question, asked), now)

    def judged(self, namespace: Namespace, tracks: bool, since: int) -> None:
        """Whether a rule needs connection tracking, now that the ruleset is another one than it was at `since`. When
        the last one is gone the kernel stops tracking; ends of what it tracked still come."""
        if tracks:
            namespace.by_rules = True
            self._runs(namespace)
        elif namespace.by_rules:
            namespace.by_rules = namespace.active = False
            namespace.starts = int(self._shared[namespace.slot, STARTS])
            namespace.ask_again = self._clock() + SETTLED
            self._does_not(namespace, since)

    def _something_started(self, namespace: Namespace) -> bool:
        counted = self._shared[namespace.slot]
        return bool(counted[EVENTS] if namespace.starts is None else counted[STARTS] > namespace.starts)

    def _state(self, namespace: Namespace) -> int:
        return int(self._shared[namespace.slot, STATE])

    def _runs(self, namespace: Namespace) -> None:
        namespace.active = True
        lasted = self._lasting.end(namespace.netns, Cause.CONNTRACK_INACTIVE, self._clock())
        if lasted and self._state(namespace) == INACTIVE:
            self._log(f"{NOTICE}connection tracking runs in {namespace.netns} now")
        self._shared[namespace.slot, STATE] = ATTACHED

    def _does_not(self, namespace: Namespace, since: int | None = None) -> None:
        if namespace.active or self._lasting.lasts(namespace.netns, Cause.CONNTRACK_INACTIVE):
            return
        self._lasting.begin(namespace.netns, Cause.CONNTRACK_INACTIVE, namespace.attached if since is None else since)
        never = since is None and namespace.newborn
        if never and self._clock() - namespace.noticed < YOUNG:
            self._shared[namespace.slot, STATE] = STILL_YOUNG
        else:
            self._alarm(namespace)

    def _alarm(self, namespace: Namespace) -> None:
        self._shared[namespace.slot, STATE] = INACTIVE
        self._log(
            f"{WARNING}connection tracking does not run in {namespace.netns}: no rule needs it, so nothing is recorded "
            "there; set activate_conntrack = true to make it run"
        )
