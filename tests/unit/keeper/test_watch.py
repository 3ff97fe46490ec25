"""What the watch says when it cannot look, and when it is held up; what it finds is tested where there are namespaces
(tests/netns)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from anetcon.gaps import Cause, Gap
from anetcon.keeper import watch
from anetcon.keeper.namespaces import Found
from anetcon.keeper.roster import Audited
from anetcon.keeper.watch import Watch, _Watched
from anetcon.link.messages import Invalid, Message, RulesetChanged
from anetcon.netlink import conntrack
from anetcon.netlink import xtables as legacy


def test_tables_that_may_not_be_read_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that cannot see rules of iptables-legacy says so, and does not claim to have looked."""

    def refuse(*_: object) -> list[legacy.Target]:
        raise PermissionError(13, "Permission denied", "/proc/self/net/ip_tables_names")

    monkeypatch.setattr(legacy, "targets", refuse)
    said: list[str] = []
    nothing = cast("Any", None)
    watch = Watch(nothing, nothing, lambda _: None, lambda _: None, said.append)
    watched = _Watched(nothing, seen=7)
    for _ in range(3):
        watch._look_legacy(Audited("a", Found(1, newborn=False)), watched)
    assert len(said) == 1
    assert "as root or in group root" in said[0]
    assert watched.legacy_seen == 7


NOTHING = cast("Any", None)
ASKING = cast("Any", SimpleNamespace(stats=None))
AUDITED = Audited("a", Found(1, newborn=False))


class HeldUp:
    """A namespace's switches and ruleset; each look at it takes a second of `now`, and `meanwhile` happens in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100
        self.values = list(watch.ALL_ON)
        self.told = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.sent: list[Message] = []
        self.watch = Watch(NOTHING, NOTHING, lambda _: None, self.sent.append, lambda _: None)
        self.watched = _Watched(cast("Any", self), seen=90)
        self.watched.told, self.watched.changed, self.watched.fresh = 0, False, False
        self.counts: list[int] = []
        monkeypatch.setattr(conntrack, "processors", lambda _: bytes([self.counts.pop(0)]))
        monkeypatch.setattr(conntrack, "counted", lambda data: conntrack.Counted(0, data[0]))
        monkeypatch.setattr(watch, "now_us", lambda: self.now)

    def _held_up(self) -> None:
        self.now += 1
        self.meanwhile()

    def look(self) -> None:
        """A look at everything."""
        self.watch._look(AUDITED, self.watched, NOTHING, full=10, in_turn=False)

    def switches(self) -> list[bytes]:
        """As of Inside."""
        self._held_up()
        return list(self.values)

    def switch_on(self, number: int) -> None:
        """As of Inside."""
        self._held_up()
        self.values[number] = watch.ON

    def connections(self) -> int:
        """As of Inside."""
        return 0

    def changed(self) -> bool:
        """As of Inside."""
        told, self.told = self.told, False
        return told


def test_a_gap_lasts_until_the_switch_is_on_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is held up before it puts the switch back says so: nothing is told of what is made until then."""
    held = HeldUp(monkeypatch)
    held.look()
    held.values[0] = b"0\n"
    seen = held.now - 1
    held.look()
    (gap,) = held.sent
    assert gap == Gap("a", seen, held.now, Cause.EVENTS_OFF)


def test_a_ruleset_was_another_one_since_the_look_that_nothing_was_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the kernel told of it, and whoever was to hear that was held up until the next look."""
    held = HeldUp(monkeypatch)
    held.look()
    looked = held.now - 1
    held.now += 5
    held.told = True  # it is in the socket, and the loop has not come to it
    held.look()
    held.look()
    (message,) = held.sent
    assert isinstance(message, RulesetChanged)
    assert message.since == looked


def test_a_rule_of_legacy_added_while_the_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not there when the look before began, and maybe when that ended."""
    held = HeldUp(monkeypatch)
    tables: list[list[legacy.Target]] = [[], [("ip", "CT", 1, 0)]]

    def targets(*_: object) -> list[legacy.Target]:
        held.now += 10
        return tables.pop(0)

    monkeypatch.setattr(legacy, "targets", targets)
    began = held.now
    held.watch._look_legacy(AUDITED, held.watched)
    held.watch._look_legacy(AUDITED, held.watched)
    (message,) = held.sent
    assert isinstance(message, RulesetChanged)
    assert message.since == began


def test_packets_that_are_invalid_are_told_from_the_look_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told of those before the first look, nor when none came; a new capture is told of the last again."""
    held = HeldUp(monkeypatch)
    audited = Audited("a", Found(1, newborn=False))
    held.counts = [7, 7, 9]
    for now in (100, 200, 300):
        held.now = now
        held.watch._count(audited, held.watched, ASKING, now)
    (told,) = held.sent
    assert told == Invalid(audited.slot, 200, 300, 2)
    held.watch._watched[audited] = held.watched
    held.watch.tell_again()
    assert held.sent[1:] == [Invalid(audited.slot, 200, 300, 0)]


def test_those_of_a_namespace_that_is_new_are_told_from_its_birth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look finds what came before it."""
    held = HeldUp(monkeypatch)
    audited = Audited("a", Found(1, newborn=True))
    held.counts = [7]
    held.watch._count(audited, held.watched, ASKING, held.now)
    (told,) = held.sent
    assert isinstance(told, Invalid)
    assert (told.start, told.number) == (audited.noticed, 7)


def test_counters_are_read_where_events_flow_and_everywhere_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second where events came, each within ten seconds where they are a thousand."""
    held = HeldUp(monkeypatch)
    read: list[str] = []
    monkeypatch.setattr(Watch, "_look", lambda _, audited, *__: read.append(audited.name) if __[-1] else None)
    monkeypatch.setattr(Watch, "_full", lambda _: 10.0)
    monkeypatch.setattr(legacy, "there", lambda: False)
    pairs = [(Audited(str(slot), Found(slot, newborn=False)), NOTHING) for slot in range(400)]
    for slot, (audited, _) in enumerate(pairs):
        audited.slot = slot
        held.watch._watched[audited] = _Watched(cast("Any", held), seen=90)
    for _ in range(4):
        held.watch.tick(pairs, [0] * 400)
    assert sorted(map(int, read)) == list(range(400))
    read.clear()
    held.watch.tick(pairs, [0] * 399 + [5])
    assert {"399"} < set(read)
    assert len(read) == watch.IN_TURN + 1
