"""A namespace goes its way through its states, and what belongs to it goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.gaps import Cause, Gap
from anetcon.keeper.namespace import FOLLOWING, REMARK_LONGEST, REMARKS_MOST, Namespace, Refusal, Stage
from anetcon.keeper.namespaces import Seen

SEEN = Seen(7, newborn=True, noticed=10)


class Open:
    """As an attachment."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def found(name: str = "a") -> Namespace:
    """One that was just noticed."""
    return Namespace(Path("/run/netns", name), SEEN)


def attach(namespace: Namespace, now: int = 20) -> tuple[Open, Gap | None]:
    """Attach it."""
    opened = Open()
    return opened, namespace.attach(3, 8, cast("Any", opened), now)


def test_from_found_to_gone() -> None:
    """What is open is closed as soon as it is let go of; its slot is its own until capture has let go too."""
    namespace = found()
    assert (namespace.name, namespace.inode, namespace.since, namespace.slot) == ("a", 7, 10, -1)
    opened, ended = attach(namespace)
    assert ended is None
    assert (namespace.state, namespace.is_attached, namespace.since) == (Stage.ATTACHED, True, 20)
    assert (namespace.inode, namespace.slot) == (8, 3), "it is the one that was entered"
    namespace.let_go(30)
    assert (namespace.state, namespace.attachment, opened.closed) == (Stage.DRAINING, None, 1)
    assert (namespace.slot, namespace.since) == (3, 30)
    namespace.drained((5,))
    assert (namespace.state, namespace.slot, namespace.counters) == (Stage.GONE, -1, (5,))


def test_the_gap_of_one_that_was_refused_ends_when_it_is_attached() -> None:
    """Its cause is the one that it began with, whatever stood in the way later."""
    namespace = found()
    assert namespace.gap(None) == Gap("a", 10, None, Cause.NOT_ATTACHED)
    namespace.refuse(Refusal("no rules", Cause.RULES_MISSING))
    namespace.refuse(Refusal("no descriptors", Cause.NOT_ATTACHED))
    assert namespace.refusal == Refusal("no descriptors", Cause.RULES_MISSING)
    _, ended = attach(namespace)
    assert ended == Gap("a", 10, 20, Cause.RULES_MISSING)
    assert namespace.refusal is None


def test_one_that_could_not_be_attached_goes_at_once() -> None:
    """There is nothing that capture has to let go of."""
    namespace = found()
    namespace.let_go(30)
    assert (namespace.state, namespace.since) == (Stage.GONE, 30)


def test_under_another_engine_it_goes_on() -> None:
    """Nothing was recorded since it was let go of, and a capture had it before."""
    namespace = found()
    namespace.continues(handed=True, noticed=15)
    assert (namespace.anew, namespace.handed) == (True, True)
    assert namespace.gap(16) == Gap("a", 15, 16, Cause.NOT_ATTACHED)
    namespace.heard_of()
    assert not namespace.handed


def test_a_capture_that_works_has_what_it_is_handed() -> None:
    """One that begins has it once it says so."""
    namespace = found()
    attach(namespace)
    namespace.hand_over(works=False)
    before = namespace.handed
    namespace.heard_of()
    namespace.hand_over(works=False)
    assert (before, namespace.handed) == (False, True)


def test_the_daemons_own_has_no_file() -> None:
    """Whatever folder the others are in."""
    own, other = Namespace(None, SEEN), found()
    for each in (own, other):
        each.move("/elsewhere")
    assert (own.name, own.path) == ("default", None)
    assert other.path == Path("/elsewhere/a")


def test_what_capture_says_is_bounded() -> None:
    """It may be a capture that somebody has taken over."""
    namespace = found()
    for number in range(REMARKS_MOST + 5):
        namespace.remark(f"{number}" + "c" * REMARK_LONGEST, "w" * 2 * REMARK_LONGEST)
    assert len(namespace.remarks) == REMARKS_MOST
    assert all(len(cause) == len(what) == REMARK_LONGEST for cause, what in namespace.remarks.items())
    for cause in list(namespace.remarks):
        namespace.remark(cause, None)
    assert namespace.remarks == {}


def happens(namespace: Namespace, wanted: Stage) -> Open | None:
    """What leads to a state; what is opened by it."""
    if wanted is Stage.ATTACHED:
        return attach(namespace)[0]
    if wanted is Stage.REFUSED:
        namespace.refuse(Refusal("why", Cause.NOT_ATTACHED))
    elif namespace.state is Stage.DRAINING:
        namespace.drained((1,))
    else:
        namespace.let_go(1)
    return None


@given(st.lists(st.sampled_from(Stage), max_size=8))
def test_no_state_follows_but_as_it_may(events: list[Stage]) -> None:
    """Something is open in one that is attached, and in no other, whatever happens in which order."""
    namespace, opened = found(), list[Open]()
    for wanted in events:
        before = namespace.state
        if wanted not in FOLLOWING[before]:
            continue
        made = happens(namespace, wanted)
        opened += [] if made is None else [made]
        assert namespace.state is wanted
        assert (namespace.attachment is not None) == namespace.is_attached
        assert sum(not each.closed for each in opened) == namespace.is_attached
        assert (namespace.slot >= 0) == (namespace.state in (Stage.ATTACHED, Stage.DRAINING))


@pytest.mark.parametrize("state", Stage)
def test_what_may_not_follow_is_a_defect(state: Stage) -> None:
    """It is not passed over."""
    namespace = found()
    namespace.restore(state, 1, None)
    if Stage.ATTACHED not in FOLLOWING[state]:
        with pytest.raises(AssertionError, match=state.value):
            attach(namespace)
