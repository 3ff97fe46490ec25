"""When the rules of a namespace are looked at, and what is told of them: the machine alone, with a clock that is a
number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anetcon.gaps import Cause, Gap
from anetcon.keeper.handover import KeptRules
from anetcon.keeper.log_engine.standing import (
    LATEST_SECONDS,
    QUIET_SECONDS,
    Action,
    Look,
    Ready,
    RulesSettled,
    Say,
    Standing,
)
from anetcon.keeper.namespace import Namespace
from anetcon.keeper.namespaces import Seen
from anetcon.netlink.generation import UNKNOWN
from anetcon.rules.outcome import VisitOutcome
from anetcon.rules.wording import WantedRules
from anetcon.system.report import DEBUG
from tests.support.examples import examples

WANTED = WantedRules("nftables-log", "anetcon", "[A]D ", "[A]X ")
OTHER = WANTED._replace(dnat="[B]D ")


def right(generation: int, looked: int, *found: str, repaired: int | None = None) -> VisitOutcome:
    """What a look finds when all is right in the end."""
    outcome = VisitOutcome(spelling={"ip": ["as printed"]})
    outcome.generation, outcome.looked, outcome.found, outcome.repaired = generation, looked, list(found), repaired
    return outcome


def look(*, wanted: WantedRules = WANTED, known: bool = True, crowded: bool = False) -> Look:
    """A look; `known`: the machine's own wording is known."""
    return Look(wanted, {"ip": ["as printed"]} if known else {}, crowded)


def told(actions: list[Action]) -> list[Action]:
    """Without what is said for the record alone."""
    return [each for each in actions if not (isinstance(each, Say) and each.line.startswith(DEBUG))]


class Machine:
    """A namespace with rules; `attached`: they stood, at generation 1, when they were looked at (at 100)."""

    def __init__(self, *, attached: bool = True) -> None:
        self.namespace = Namespace(Path("/run/netns/a"), Seen(7, newborn=False, noticed=50))
        self.standing = Standing(self.namespace, WANTED)
        if attached:
            assert self.standing.begin(60, busy=False) == [look(known=False)]
            assert told(self.standing.visited(right(1, 100), 110, 0.0)) == [RulesSettled(WANTED), Ready()]
            self.attach(110)

    def attach(self, now: int) -> None:
        """It is handed over."""
        self.namespace.attach(0, 7, cast("Any", None), now)


def missing(since: int | None, until: int | None) -> Gap:
    """A time without rules."""
    return Gap("a", since, until, Cause.RULES_MISSING)


def test_rules_stand_before_a_namespace_is_handed_over() -> None:
    """No gap is told of the time before: it is not recorded then."""
    machine = Machine()
    assert machine.standing.is_right
    assert machine.standing.rests


def test_a_namespace_waits_for_rules_that_cannot_stand() -> None:
    """It is told that it cannot be attached, and why; the next look may find otherwise."""
    machine = Machine(attached=False)
    standing = machine.standing
    standing.begin(60, busy=False)
    assert standing.visited(VisitOutcome(error="no nft"), 110, 0.0) == [Ready()]
    assert standing.error == "its rules do not stand: no nft"
    assert standing.needs_look
    assert standing.look() == [look(known=False)]
    assert Ready() in standing.visited(right(1, 200, repaired=210), 220, 0.0)
    assert (standing.is_right, standing.checked) == (True, 200)


def test_what_the_machine_wrote_itself_needs_no_look() -> None:
    """The generation at which all was right is the one that is told."""
    machine = Machine()
    assert machine.standing.heard(1, before=120, clock=1.0) == []
    assert machine.standing.rests


def test_a_change_is_looked_at_once_it_is_quiet() -> None:
    """The gap is from what was heard of before it to when the rules stood again."""
    standing = Machine().standing
    assert standing.heard(2, before=120, clock=1.0) == []
    assert standing.due == 1.0 + QUIET_SECONDS
    assert standing.heard(3, before=130, clock=1.1) == []
    assert standing.woken(1.0 + QUIET_SECONDS) == []
    assert standing.due == 1.1 + QUIET_SECONDS
    assert standing.woken(1.1 + QUIET_SECONDS) == [look()]
    settled, gap, say = standing.visited(right(4, 200, "a rule was gone", repaired=210), 220, 1.4)
    assert (settled, gap) == (RulesSettled(WANTED), missing(120, 210))
    assert isinstance(say, Say)
    assert "a rule was gone; put right" in say.line
    assert (standing.repaired, standing.rests) == (210, True)


def test_a_change_that_took_nothing_is_no_gap() -> None:
    """Whoever changes other rules costs a look."""
    standing = Machine().standing
    standing.heard(2, before=120, clock=1.0)
    assert standing.woken(2.0) == [look()]
    assert told(standing.visited(right(2, 200), 220, 2.0)) == [RulesSettled(WANTED)]
    assert standing.checked == 200


def test_a_change_since_the_last_look_began_no_earlier() -> None:
    """Then the rules were seen to stand."""
    standing = Machine().standing
    standing.heard(2, before=10, clock=1.0)
    standing.woken(2.0)
    assert missing(100, 210) in standing.visited(right(2, 200, repaired=210), 220, 2.0)


def test_a_ruleset_that_is_never_quiet_is_looked_at_all_the_same() -> None:
    """Right after a commit; not after a message that says only that others were lost."""
    standing = Machine().standing
    clock = 0.0
    for clock in (1.0, 2.0, 3.0, 3.9):
        assert standing.heard(2, before=120, clock=clock) == []
    assert standing.heard(UNKNOWN, before=120, clock=1.0 + LATEST_SECONDS) == []
    assert standing.heard(3, before=120, clock=1.0 + LATEST_SECONDS) == [look(crowded=True)]


def test_a_change_during_a_look_is_looked_at_after_it() -> None:
    """But for the one that the look itself made."""
    standing = Machine().standing
    standing.heard(2, before=120, clock=1.0)
    standing.woken(2.0)
    standing.heard(3, before=190, clock=2.1)
    standing.visited(right(3, 200), 220, 2.2)
    assert standing.rests
    standing.heard(4, before=230, clock=3.0)
    standing.woken(4.0)
    standing.heard(5, before=290, clock=4.1)
    standing.visited(right(4, 300), 320, 4.2)
    assert standing.due == pytest.approx(4.2 + QUIET_SECONDS)


def test_rules_that_do_not_stand_are_a_gap_that_lasts() -> None:
    """Told once, tried again soon, then at every period; it ends when they stand."""
    standing = Machine().standing
    standing.heard(2, before=120, clock=1.0)
    standing.woken(2.0)
    gap, say = standing.visited(VisitOutcome(error="no nft"), 200, 2.0)
    assert gap == missing(120, None)
    assert isinstance(say, Say)
    assert standing.missing == 120
    assert standing.due == 2.0 + LATEST_SECONDS
    assert standing.woken(2.0 + LATEST_SECONDS) == [look()]
    assert standing.visited(VisitOutcome(error="no nft"), 300, 6.0) == []
    assert standing.look() == [look()]
    assert missing(120, 400) in standing.visited(right(3, 400), 400, 7.0)
    assert standing.missing is None


def test_settings_change_the_rules() -> None:
    """Rules of the same table replace others without a gap; those of another chain do not."""
    standing = Machine().standing
    assert standing.adapt(WANTED, 200) == []
    assert standing.adapt(OTHER, 200) == [look(wanted=OTHER, known=False)]
    assert told(standing.visited(right(2, 210, repaired=220), 230, 1.0)) == [RulesSettled(OTHER)]
    moved = OTHER._replace(chain="other")
    assert standing.adapt(moved, 300) == [look(wanted=moved, known=False)]
    assert told(standing.visited(right(3, 310, repaired=320), 330, 2.0)) == [RulesSettled(moved), missing(300, 320)]


def test_new_words_hide_no_change_of_somebody_else() -> None:
    """Rules that were taken away before they are replaced were missing, whatever the settings say since."""
    standing = Machine().standing
    standing.heard(2, before=120, clock=1.0)
    assert standing.adapt(OTHER, 200) == [look(wanted=OTHER, known=False)]
    assert missing(120, 220) in standing.visited(right(3, 210, repaired=220), 230, 1.1)


def test_new_words_hide_no_repair_that_is_under_way() -> None:
    """It was begun for another reason; the words come after it."""
    standing = Machine().standing
    standing.heard(2, before=120, clock=1.0)
    standing.woken(2.0)
    standing.adapt(OTHER, 200)
    actions = standing.visited(right(3, 210, repaired=220), 230, 2.1)
    assert missing(120, 220) in actions
    assert actions[-1] == look(wanted=OTHER)
    assert told(standing.visited(right(4, 310, repaired=320), 330, 2.2)) == [RulesSettled(OTHER)]


def test_new_words_where_nobody_tells_of_changes() -> None:
    """Whether the rules of iptables-legacy stood until then is not known."""
    standing = Machine().standing
    outcome = right(2, 200)
    outcome.legacy = True
    standing.look()
    standing.visited(outcome, 210, 1.0)
    standing.adapt(OTHER, 300)
    assert missing(200, 320) in standing.visited(right(3, 310, repaired=320), 330, 2.0)


def test_settings_that_change_during_a_look_are_looked_at_after_it() -> None:
    """Nobody else would."""
    standing = Machine().standing
    assert standing.look() == [look()]
    assert standing.adapt(OTHER, 200) == []
    assert standing.visited(right(1, 210), 230, 1.0)[-1] == look(wanted=OTHER)


def test_at_every_period_the_generation_is_asked_for() -> None:
    """One that is known is right; another was heard of by nobody, and may have been so since the last look."""
    standing = Machine().standing
    assert standing.asked(1, now=500, clock=1.0) == []
    assert standing.checked == 500
    assert standing.asked(2, now=900, clock=2.0) == []
    assert standing.woken(3.0) == [look()]
    assert missing(500, 910) in standing.visited(right(3, 900, repaired=910), 920, 3.0)


def test_what_iptables_legacy_has_is_looked_at_at_every_period() -> None:
    """Nobody tells of its changes."""
    standing = Machine().standing
    assert not standing.needs_look
    outcome = right(2, 200)
    outcome.legacy = True
    standing.look()
    standing.visited(outcome, 210, 1.0)
    assert standing.needs_look


def test_one_child_is_in_a_namespace_at_a_time() -> None:
    """One that was sent before is waited for."""
    standing = Machine(attached=False).standing
    assert standing.begin(60, busy=True) == []
    assert not standing.rests
    assert standing.freed() == [look(known=False)]


def test_a_namespace_that_goes_on_under_another_engine() -> None:
    """Until its rules stand nothing is recorded, since it was let go of."""
    machine = Machine(attached=False)
    machine.namespace.continues(handed=True, noticed=55)
    machine.standing.begin(60, busy=False)
    actions = told(machine.standing.visited(right(1, 100, repaired=105), 110, 0.0))
    assert actions == [RulesSettled(WANTED), missing(55, 105), Ready()]


def test_where_nothing_can_be_heard() -> None:
    """It is an error of its own, and looked at at every period."""
    standing = Machine(attached=False).standing
    standing.deaf("too many open files")
    assert standing.error == "its rules cannot be watched: too many open files"
    assert standing.needs_look


def test_a_replaced_program_goes_on() -> None:
    """It knows what was right, and since when not."""
    standing = Machine().standing
    kept = standing.state()
    assert kept == KeptRules(7, list(WANTED), 1, 100, None, legacy=False, spelling={"ip": ["as printed"]})
    machine = Machine(attached=False)
    assert machine.standing.state() is None
    machine.standing.resume(kept._replace(missing=90))
    machine.attach(110)
    assert machine.standing.heard(1, before=120, clock=1.0) == []
    assert machine.standing.look() == [look()]
    assert missing(90, 200) in machine.standing.visited(right(2, 200), 200, 1.0)


class Rules(RuleBasedStateMachine):
    """Somebody changes the ruleset, of which the kernel tells sooner or later, children find it or repair it, settings
    come; the clock goes on. Whenever rules did not stand although the namespace is attached, a gap tells that time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.generation = 0.0, 1
        self.broken: int | None = None
        self.untold: int | None = None
        self.times: list[tuple[int, int]] = []
        self.gaps: list[Gap] = []
        self.looking: Look | None = None
        self.machine = Machine(attached=False)
        self.standing = self.machine.standing
        self.do(self.standing.begin(self.now, busy=False))

    @property
    def now(self) -> int:
        """The wall clock (us)."""
        return 1_000_000 + int(self.clock * 1_000_000)

    def do(self, actions: list[Action]) -> None:
        """As the keeper would."""
        for action in actions:
            if isinstance(action, Look):
                assert self.looking is None, "two children in one namespace"
                self.looking = action
            elif isinstance(action, Gap):
                self.gaps.append(action)
            elif isinstance(action, Ready) and self.standing.is_right and not self.machine.namespace.is_attached:
                self.machine.attach(self.now)
                self.broken = None

    @precondition(lambda self: not (self.looking and self.standing._doubt.smooth))  # a child is faster, nearly always
    @rule(breaks=st.booleans(), seconds=st.floats(0.001, 0.5))
    def changed(self, breaks: bool, seconds: float) -> None:
        """Somebody writes the ruleset, and may take our rules away."""
        before, self.generation = self.now, self.generation + 1
        self.untold = before if self.untold is None else self.untold
        self.clock += seconds
        if breaks and self.broken is None:
            self.broken = self.now
        self.clock += 0.001

    @rule()
    def told(self) -> None:
        """The kernel's message is read."""
        before, self.untold = self.untold, None
        if before is not None:
            self.do(self.standing.heard(self.generation, before, self.clock))

    @precondition(lambda self: self.looking is not None)
    @rule(fails=st.booleans(), seconds=st.floats(0.001, 5.0))
    def visited(self, fails: bool, seconds: float) -> None:
        """The child is done."""
        looking, self.looking = self.looking, None
        assert looking is not None
        looked = self.now
        self.clock += seconds
        outcome = VisitOutcome(error="it fails") if fails else right(self.generation, looked)
        if not fails and self.broken is not None:
            self.generation += 1
            self.untold = self.now if self.untold is None else self.untold
            self.times.append((self.broken, self.now))
            self.broken = None
            outcome = right(self.generation, looked, "gone", repaired=self.now)
        self.clock += 0.001
        self.do(self.standing.visited(outcome, self.now, self.clock))

    @precondition(lambda self: self.standing.due is not None)
    @rule()
    def woken(self) -> None:
        """The timer."""
        self.clock = max(self.clock, self.standing.due or 0.0)
        self.do(self.standing.woken(self.clock))

    @precondition(lambda self: self.standing.rests)
    @rule()
    def period(self) -> None:
        """As every period."""
        self.clock += 1.0
        if self.standing.needs_look:
            self.do(self.standing.look())
        else:
            self.do(self.standing.asked(self.generation, self.now, self.clock))

    @rule(wanted=st.sampled_from([WANTED, OTHER]))
    def reloaded(self, wanted: WantedRules) -> None:
        """Settings that ask for other words."""
        self.told()
        self.do(self.standing.adapt(wanted, self.now))

    @invariant()
    def a_look_is_under_way_or_due_or_nothing_is_known(self) -> None:
        """The machine never waits for nothing."""
        assert (self.looking is None) or not self.standing.rests

    @invariant()
    def every_time_without_rules_is_told(self) -> None:
        """By a gap that covers it; one that lasts is told as such, once it was seen."""
        if not self.machine.namespace.is_attached:
            return
        for began, ended in self.times:
            if began > self.machine.namespace.since:
                assert any((gap.start or 0) <= began and (gap.end is None or gap.end >= ended) for gap in self.gaps), (
                    began,
                    ended,
                    self.gaps,
                )


Rules.TestCase.settings = settings(examples(2), stateful_step_count=30)
TestRules = Rules.TestCase
