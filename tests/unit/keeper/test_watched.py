"""What is found out in one namespace, and what follows; that the kernel does as said is tested where there are
namespaces (tests/netns)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from anetcon.gaps import Cause, Gap
from anetcon.keeper import watched as watching
from anetcon.keeper.inside import ON
from anetcon.keeper.watched import CAUSES, LONGEST, Hiding, Refusals, Watched
from anetcon.netlink import conntrack
from anetcon.netlink import xtables as legacy
from anetcon.netlink.ct_sysctls import SYSCTLS

OFF = b"0\n"


class HeldUp:
    """A namespace's switches; each look at them takes a microsecond of `now`, and `meanwhile` happens in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100
        self.values = [ON] * len(SYSCTLS)
        self.full = False
        self.refuses = self.gone = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.watched = Watched("a", cast("Any", self), seen=90)
        self.watched.refusals.look(near=False)
        self.said: list[str] = []
        monkeypatch.setattr(watching, "now_us", lambda: self.now)
        monkeypatch.setattr(watching, "report", self.said.append)

    def look(self) -> list[Gap]:
        """A look at everything."""
        now = self.now
        return [] if self.watched.look(now) else list(self.watched.mend(now))

    def _held_up(self) -> None:
        self.now += 1
        self.meanwhile()

    def is_on(self) -> bool:
        """As of Inside."""
        if self.gone:
            raise OSError(2, "No such file or directory")
        return self.values[0] == ON

    def are_on(self) -> bool:
        """As of Inside."""
        return self.values == [ON] * len(SYSCTLS)

    def switches(self) -> list[bytes]:
        """As of Inside."""
        self._held_up()
        return list(self.values)

    def switch_on(self, number: int) -> None:
        """As of Inside."""
        self._held_up()
        if self.refuses:
            raise OSError(1, "Operation not permitted")
        self.values[number] = ON

    def is_nearly_full(self) -> bool:
        """As of Inside."""
        return self.full


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldUp:
    """One for a test."""
    return HeldUp(monkeypatch)


def test_a_gap_lasts_until_the_switch_is_on_again(held: HeldUp) -> None:
    """Whoever is held up before it puts the switch back says so: nothing is told of what is made until then."""
    assert held.look() == []
    seen = held.now
    held.now += 5
    held.gone = True
    assert not held.watched.glance(held.now), "what cannot be read was not seen on"
    held.now, held.gone = held.now + 5, False
    held.values[0] = OFF
    assert not held.watched.glance(held.now)
    assert held.look() == [Gap("a", seen, held.now, Cause.EVENTS_OFF)]
    assert held.look() == []


def test_a_glance_sees_events_alone(held: HeldUp) -> None:
    """What it saw on counts for that one; another is off since everything was looked at."""
    held.now = 200
    assert held.watched.glance(held.now)
    held.now, held.values = 300, [OFF, OFF, *held.values[2:]]
    assert [(gap.cause, gap.start) for gap in held.look()] == [(CAUSES[0], 200), (CAUSES[1], 90)]


def test_what_cannot_be_put_back_lasts(held: HeldUp) -> None:
    """It is told and said once, again to a new capture, and ends when it is on by whomever."""
    held.values[1], held.refuses = OFF, True
    lasting = Gap("a", 90, None, CAUSES[1])
    assert held.look() == [lasting]
    assert held.look() == []
    assert list(held.watched.lasting()) == [lasting]
    assert len(held.said) == 1
    held.refuses = False
    (ended,) = held.look()
    assert (ended.start, ended.end, ended.cause) == (90, held.now, CAUSES[1])
    assert list(held.watched.lasting()) == []


def test_events_for_listeners_alone_are_no_gap(held: HeldUp) -> None:
    """2 is put back to 1 all the same."""
    held.values[0] = watching.AUTOMATIC
    assert held.look() == []
    assert held.values[0] == ON


def test_everything_is_looked_at_while_the_table_is_nearly_full() -> None:
    """And while refusals go on; and at the first look."""
    refusals = Refusals("a")
    calm = [refusals.is_calm]
    for total, near in ((0, False), (0, True), (7, False), (7, False)):
        refusals.count(total, 1)
        refusals.look(near=near)
        calm.append(refusals.is_calm)
    assert calm == [False, True, False, False, True]


def test_refusals_are_told_when_they_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when there were none yet to when they were counted last; said once."""
    said: list[str] = []
    clock = [0]
    monkeypatch.setattr(watching, "report", said.append)
    monkeypatch.setattr(watching, "now_us", lambda: clock[0] + 1)
    refusals, told = Refusals("a"), []
    for clock[0], total in ((10, 5), (20, 5), (30, 7), (40, 8), (50, 8)):
        told.append((clock[0], refusals.count(total, clock[0])))
    assert told[-1] == (50, Gap("a", 20, 41, Cause.TABLE_FULL, 3))
    assert {gap for _, gap in told[:-1]} == {None}
    assert len(said) == 1
    clock[0] = 60
    assert refusals.count(9, 60) is None
    assert refusals.rest() == Gap("a", 50, 61, Cause.TABLE_FULL, 1)  # nobody looks again
    assert refusals.rest() is None


def test_refusals_that_go_on_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks meanwhile is to know."""
    monkeypatch.setattr(watching, "report", lambda _: None)
    refusals, told = Refusals("a"), 0
    for tick in range(20):
        gap = refusals.count(2**32 - 5 + tick & 0xFFFFFFFF, 1 + tick * LONGEST // 4)
        told += 0 if gap is None else gap.lost or 0
    assert told >= 15


def test_the_kernels_counts_are_parsed_when_they_differ(held: HeldUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is the same, byte for byte, says the same."""
    answers, counts = [b"a", b"a", b"b"], [1, 2]
    monkeypatch.setattr(conntrack, "processors", lambda _: answers.pop(0))
    monkeypatch.setattr(conntrack, "counted", lambda _: conntrack.KernelCounts(counts.pop(0), 0))
    assert [held.watched.count(cast("Any", None), 5).refused for _ in range(3)] == [1, 1, 2]
    assert held.watched.events == 5


def test_a_rule_of_legacy_added_while_the_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not there when the look before began, and maybe when that ended."""
    clock = iter(range(100, 1000, 100))
    monkeypatch.setattr(watching, "now_us", lambda: next(clock))
    tables: list[list[legacy.Target]] = [[], [("ip", "CT", 1, 0)], [("ip", "CT", 1, 0)]]
    hiding = Hiding(seen=90)
    assert [hiding.look(lambda: tables.pop(0)) for _ in range(3)] == [None, 100, None]
    assert hiding.legacy == [("ip", "CT", 1, 0)]
