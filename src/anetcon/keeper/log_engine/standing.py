"""Whether the LOG rules of one namespace stand: a machine that is told what happens and says what is to be done.

A look is a child that visits the namespace, and puts right what is wrong there. It starts once the ruleset has been
quiet for a moment: another program that saves, edits and restores the table is then not in the middle of it. If it is
never quiet, the look comes right after a commit, which is when another program is least likely to be. The generation at
which all was right is remembered: a ruleset that still has it needs no look, and what the kernel tells of our own
writes ends there.

Every method that is an event returns actions, in the order in which they are to be taken; `due` says when `woken` is.
Refuses to do anything itself, and to read a clock.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from anetcon.gaps import Cause, Gap
from anetcon.keeper.handover import KeptRules
from anetcon.keeper.namespace import Namespace
from anetcon.netlink import generation as netlink
from anetcon.rules.outcome import Spelling, VisitOutcome
from anetcon.rules.wording import WantedRules
from anetcon.system.report import DEBUG, ERROR, NOTICE, WARNING

QUIET_SECONDS = 0.2
LATEST_SECONDS = 3.0


class Look(NamedTuple):
    """Have a child visit the namespace; `crowded` where the ruleset is never quiet. Then `visited`."""

    wanted: WantedRules
    spelling: Spelling
    crowded: bool = False


class RulesSettled(NamedTuple):
    """No rules of ours but these are there any more."""

    wanted: WantedRules


class Ready(NamedTuple):
    """The namespace can be attached now, or is known not to be."""


class Say(NamedTuple):
    """Report a line."""

    line: str


Action = Look | RulesSettled | Ready | Say | Gap


class Right(NamedTuple):
    """What the last look found at which all was right."""

    generation: int | None
    legacy: bool
    """Whether iptables-legacy is in use, of whose tables nobody tells changes."""
    spelling: Spelling


class Change(NamedTuple):
    """Changes that nobody has looked at yet: since when (us), and when the first and the last was heard of."""

    since: int
    first: float
    last: float


class Adapted(NamedTuple):
    """Since when (us) the settings ask for other rules than those that stood; `words`: only their words differ."""

    since: int
    words: bool


class Doubt(NamedTuple):
    """What a look is for: since when (us) the rules may not have stood. `smooth`: they stand until they are replaced by
    others, without a gap."""

    since: int | None = None
    smooth: bool = False


class Visitor(Enum):
    """Who is in the namespace: one child at a time."""

    NOBODY = "nobody"
    LOOKING = "looking"
    ANOTHER = "another"
    """One that was sent before this machine began."""


class Standing:
    """The rules of one namespace. Times are in us, as in records; those of the `clock`, and `due`, are monotonic."""

    def __init__(self, namespace: Namespace, wanted: WantedRules) -> None:
        self.namespace = namespace
        self.wanted = wanted
        self.checked = self.repaired = 0
        """When the rules were last found or made right, and when something was wrong with them."""
        self.error: str | None = None
        """Why they do not stand."""
        self.missing: int | None = None
        """Since when a lasting gap says that the rules are missing."""
        self.due: float | None = None
        """When `woken` is to be called."""
        self._right: Right | None = None
        """None until all was right."""
        self._told: int | None = None
        """The generation heard of last."""
        self._change: Change | None = None
        self._visitor = Visitor.NOBODY
        self._again = False
        """Whether a look is to follow the one under way."""
        self._adapted: Adapted | None = None
        self._doubt = Doubt()
        """That of the look under way."""

    @property
    def is_right(self) -> bool:
        """Whether they stood when they were looked at last."""
        return self._right is not None and self.error is None

    @property
    def rests(self) -> bool:
        """Whether nothing is under way, nor about to be."""
        return self._visitor is Visitor.NOBODY and self.due is None

    @property
    def needs_look(self) -> bool:
        """Whether the generation does not tell that all is right: they do not stand, or nobody tells of changes."""
        return self.error is not None or self._right is None or self._right.legacy

    # Events

    def begin(self, now: int, busy: bool) -> list[Action]:
        """The namespace is there; `busy`: a child is in it still, of which `freed` tells the end."""
        self._change = Change(self.namespace.seen.noticed if self.namespace.anew else now, 0.0, 0.0)
        if busy:
            self._visitor = Visitor.ANOTHER
        return self.look()

    def deaf(self, why: str) -> None:
        """Nothing would tell of changes; `why` not."""
        self.error = f"its rules cannot be watched: {why}"

    def freed(self) -> list[Action]:
        """The child that was in the namespace has left it."""
        self._visitor = Visitor.NOBODY
        return self.look()

    def adapt(self, wanted: WantedRules, now: int) -> list[Action]:
        """The settings ask for these rules now, and what the kernel told until now is `heard`."""
        if wanted == self.wanted:
            return []
        words = wanted[:2] == self.wanted[:2]
        self._adapted = (
            Adapted(self._adapted.since, self._adapted.words and words) if self._adapted else Adapted(now, words)
        )
        self.wanted = wanted
        self._right = self._right and self._right._replace(spelling={})
        return self.look()

    def heard(self, told: int, before: int, clock: float) -> list[Action]:
        """The kernel tells that the ruleset has changed, some time after `before`."""
        self._told = told
        if self._visitor is Visitor.NOBODY and told == _generation(self._right):
            self._calm()
            return []
        return self._changed(max(before, self.checked), clock)

    def asked(self, told: int, now: int, clock: float) -> list[Action]:
        """The generation is this one; it was asked for at `now`."""
        self._told = told
        if told == _generation(self._right):
            self.checked = now
            return []
        return self._changed(self.checked, clock)

    def woken(self, clock: float) -> list[Action]:
        """It is `due`."""
        self.due = None
        if self._change is not None and clock < self._change.last + QUIET_SECONDS:
            self.due = self._change.last + QUIET_SECONDS
            return []
        return self.look()

    def look(self, *, crowded: bool = False) -> list[Action]:
        """A look is due; after the one that is under way, if there is one."""
        if self._visitor is not Visitor.NOBODY:
            self._again = True
            return []
        self._visitor, self._again = Visitor.LOOKING, False
        self._doubt, self._adapted = self._why(), None
        self._calm()
        return [Look(self.wanted, self._right.spelling if self._right else {}, crowded)]

    def visited(self, outcome: VisitOutcome, now: int, clock: float) -> list[Action]:
        """The look is over."""
        self._visitor = Visitor.NOBODY
        if outcome.gone:
            return []  # the next listing lets go of it
        actions = self._failed(outcome.error, clock) if outcome.error is not None else self._stand(outcome, now)
        if self._again:
            return [*actions, *self.look()]
        if self._change is not None:
            if self._told == _generation(self._right):
                self._calm()
            else:
                actions += self._changed(self._change.since, clock)
        return actions

    # What the program that replaces this one needs to know

    def state(self) -> KeptRules | None:
        """Nothing where they never stood."""
        if self._right is None or self._right.generation is None:
            return None
        generation, legacy, spelling = self._right
        return KeptRules(
            self.namespace.inode, list(self.wanted), generation, self.checked, self.missing, legacy, spelling
        )

    def resume(self, kept: KeptRules) -> None:
        """Go on with what `state` described."""
        self._right = Right(kept.generation, kept.legacy, kept.spelling)
        self.checked, self.missing = kept.checked, kept.missing

    # How it comes to that

    def _changed(self, since: int, clock: float) -> list[Action]:
        self._change = self._change._replace(last=clock) if self._change else Change(since, clock, clock)
        if self._visitor is not Visitor.NOBODY:
            return []
        if self.due is None:
            self.due = clock + QUIET_SECONDS
        elif clock - self._change.first >= LATEST_SECONDS and self._told != netlink.UNKNOWN:
            return self.look(crowded=True)
        return []

    def _why(self) -> Doubt:
        """Whoever takes our rules away before they are replaced is not to be hidden by that."""
        if self._change is not None:
            return Doubt(self._change.since)
        if self._adapted is None or (self._right is not None and self._right.legacy):
            return Doubt()
        return Doubt(*self._adapted)

    def _calm(self) -> None:
        """Nothing waits to be looked at."""
        self._change = self.due = None

    def _stand(self, outcome: VisitOutcome, now: int) -> list[Action]:
        first, netns = self._right is None, self.namespace.netns
        actions: list[Action] = [RulesSettled(self.wanted)]
        begin = self.missing or self._doubt.since or self.checked
        end = outcome.repaired or now
        relied_on = (
            self.namespace.is_attached or self.namespace.anew
        )  # whether connections are, or were until now, recorded
        if relied_on and (self.missing is not None or (outcome.repaired and not self._doubt.smooth)):
            actions.append(Gap(netns, begin, end, Cause.RULES_MISSING))
        found = "; ".join(outcome.found)
        if found and not first:
            late = (end - begin) / 1000
            actions.append(Say(f"{WARNING}{netns}: {found}; put right at most {late:.0f} ms after the change"))
            self.repaired = end
        else:
            actions.append(Say(f"{DEBUG}{netns}: {found or 'the rules were as they have to be'}"))
        actions += [Say(f"{NOTICE}{netns}: {note}") for note in outcome.notes if first]
        self.error = self.missing = None
        self._right = Right(outcome.generation, outcome.legacy, outcome.spelling)
        self.checked = outcome.looked
        return actions if self.namespace.is_attached else [*actions, Ready()]

    def _failed(self, why: str, clock: float) -> list[Action]:
        before, self.error = self.error, f"its rules do not stand: {why}"
        if not self.namespace.is_attached:
            return [Ready()]
        actions: list[Action] = []
        if self.missing is None:
            self.missing = self._doubt.since or self.checked
            actions.append(Gap(self.namespace.netns, self.missing, None, Cause.RULES_MISSING))
            if self.due is None:  # once soon, then every period
                self.due = clock + LATEST_SECONDS
        if before != self.error:
            actions.append(Say(f"{ERROR}{self.namespace.netns}: {self.error}; trying again"))
        return actions


def _generation(right: Right | None) -> int | None:
    """At which all was right; None until it was."""
    return None if right is None else right.generation
