"""Which namespace is looked at when, and since when a ruleset is said to be another one; what is found in one is tested
by test_watched.py, and where there are namespaces (tests/netns)."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from anetcon.keeper import watch as watching
from anetcon.keeper.attach import Attachment
from anetcon.keeper.loop import Loop
from anetcon.keeper.namespace import Namespace
from anetcon.keeper.namespaces import Seen
from anetcon.keeper.watch import Watch
from anetcon.link.messages import Message, RulesetChanged
from anetcon.netlink import conntrack
from anetcon.netlink import xtables as legacy


class Inside:
    """Of a namespace in which all is on: its ruleset's socket is one end of a pair, to the other of which `ruleset`
    changes are written."""

    def __init__(self, *_: object) -> None:
        self.ruleset, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.looked = self.glanced = 0
        self.full = False

    def is_on(self) -> bool:
        """As of Inside."""
        self.glanced += 1
        return True

    def are_on(self) -> bool:
        """As of Inside."""
        self.looked += 1
        return True

    def is_nearly_full(self) -> bool:
        """As of Inside."""
        return self.full

    def changed(self) -> bool:
        """As of Inside."""
        return bool(self.ruleset.recv(1))

    def close(self) -> None:
        """As of Inside."""
        self.ruleset.close()
        self.kernel.close()


class World:
    """A watch over namespaces that a test makes up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000
        self.sent: list[Message] = []
        self.said: list[str] = []
        self.counted: list[int] = []
        self.attached: dict[int, Namespace] = {}
        self.inactive: list[int] = []
        self.loop = Loop()
        self.watch = Watch(cast("Any", SimpleNamespace(loop=self.loop, home=None)), self.sent.append)
        monkeypatch.setattr(watching, "Inside", Inside)
        monkeypatch.setattr(watching, "now_us", lambda: self.now)
        monkeypatch.setattr(watching, "report", self.said.append)
        monkeypatch.setattr(conntrack, "processors", self.processors)
        monkeypatch.setattr(legacy, "there", lambda: False)

    def processors(self, slot: int) -> bytes:
        """The kernel is asked for its counts in a namespace."""
        self.counted.append(slot)
        return b""

    def add(self, *slots: int) -> None:
        """Attached now."""
        for slot in slots:
            namespace = self.attached[slot] = Namespace(Path("/", str(slot)), Seen(slot, newborn=False, noticed=1))
            opened: Any = SimpleNamespace(getsockopt=lambda *_: 0, close=lambda: None)
            asking: Any = slot
            namespace.attach(slot, slot, Attachment(opened, opened, opened, asking), self.now)

    def inside(self, slot: int) -> Inside:
        """What is open in one."""
        attachment = self.attached[slot].attachment
        assert attachment is not None
        assert attachment.watched is not None
        return cast("Inside", attachment.watched.inside)

    def tick(self, events: Sequence[int] | None = None) -> list[RulesetChanged]:
        """A second passes: the changes that are passed on."""
        self.now += 1000
        before = len(self.sent)
        slots = max(self.attached, default=-1) + 1
        self.watch.tick(self.attached, events or [0] * slots, self.inactive or [0] * slots)
        return [each for each in self.sent[before:] if isinstance(each, RulesetChanged)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One for a test."""
    made = World(monkeypatch)
    yield made
    for namespace in made.attached.values():
        made.watch.let_go(namespace)
    signal.set_wakeup_fd(-1)


def test_a_ruleset_is_looked_at_once_it_is_watched(world: World) -> None:
    """By capture, as it is since the namespace was attached; a new capture looks at every one of them again."""
    world.add(0)
    assert [(told.slot, told.since) for told in world.tick()] == [(0, 1000)]
    assert world.tick() == []
    world.watch.tell_again(world.attached)
    assert [(told.slot, told.since) for told in world.tick()] == [(0, 1000)]


def test_a_ruleset_was_another_one_since_the_tick_that_nothing_was_told_before(world: World) -> None:
    """Also when the kernel told of it, and the loop, held up, has not come to it before the next tick."""
    world.add(0, 1)
    world.tick()
    world.tick()
    looked = world.now
    world.inside(1).kernel.send(b"x")
    assert [(told.slot, told.since) for told in world.tick()] == [(1, looked)]
    assert world.tick() == []


def test_a_change_may_end_a_gap_where_conntrack_does_not_run(world: World) -> None:
    """There it is passed on at once, elsewhere at the next tick."""
    world.add(0, 1)
    world.inactive = [0, 1]
    world.tick()
    looked, told = world.now, len(world.sent)
    for slot in (0, 1):
        world.inside(slot).kernel.send(b"x")
    world.loop.after(10, world.loop.stop)
    world.loop.every(0.005, lambda: world.loop.stop() if len(world.sent) > told else None)
    world.loop.run()
    assert world.sent[told:] == [RulesetChanged(1, looked, [])]
    assert [(told.slot, told.since) for told in world.tick()] == [(0, looked)]


def test_what_is_let_go_of_is_heard_no_more(world: World) -> None:
    """A change that it was told of goes with it."""
    world.add(0)
    world.tick()
    world.inside(0).kernel.send(b"x")
    world.watch._hear()
    world.watch.let_go(world.attached.pop(0))
    assert world.tick() == []


def test_a_few_are_opened_at_a_tick(world: World) -> None:
    """One that cannot be is said once, and is not tried again."""
    world.add(*range(watching.EACH_TICK + 1))
    assert len(world.tick()) == watching.EACH_TICK
    assert len(world.tick()) == 1


def test_what_cannot_be_opened_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told of it."""

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(watching, "Inside", refuse)
    world.add(0)
    object.__setattr__(world.attached[0], "path", None)
    assert [world.tick(), world.tick()] == [[], []]
    assert len(world.said) == 1


def test_counters_are_read_where_events_flow_and_everywhere_in_turn(world: World) -> None:
    """Each second where events came."""
    there = 4 * watching.IN_TURN
    world.add(*range(there))
    while len(world.counted) < there:
        world.tick()
    for _ in range(2):
        world.counted.clear()
        for _ in range(4):
            world.tick()
        assert sorted(world.counted) == list(range(there))
    world.counted.clear()
    world.tick([0] * (there - 1) + [5])
    assert {there - 1} < set(world.counted)
    assert len(world.counted) == watching.IN_TURN + 1


def test_events_are_looked_at_each_second_and_everything_in_turn(world: World) -> None:
    """Everything also each second where a table is nearly full."""
    world.add(*range(2 * watching.IN_TURN))
    while len(world.counted) < 2 * watching.IN_TURN:
        world.tick()
    world.inside(0).full = True
    world.tick()
    world.tick()
    slots = [world.inside(slot) for slot in world.attached]
    before = [(each.glanced, each.looked) for each in slots]
    for _ in range(4):
        world.tick()
    others = len(slots) - 1
    assert [each.glanced - glanced for each, (glanced, _) in zip(slots, before, strict=True)][1:] == [4] * others
    assert [each.looked - looked for each, (_, looked) in zip(slots, before, strict=True)] == [4] + [2] * others


def test_tables_that_may_not_be_read_are_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that cannot see rules of iptables-legacy says so, and does not claim to have looked."""

    def refuse(*_: object) -> list[legacy.Target]:
        raise PermissionError(13, "Permission denied", "/proc/self/net/ip_tables_names")

    world.add(0)
    world.tick()
    monkeypatch.setattr(legacy, "targets", refuse)
    monkeypatch.setattr(legacy, "there", lambda: True)
    for _ in range(3):
        assert world.tick() == []
    assert len(world.said) == 1
    assert "as root or in group root" in world.said[0]
    monkeypatch.setattr(legacy, "targets", lambda *_: [("ip", "CT", 1, 0)])
    assert [told.since for told in world.tick()] == [1000], "it was never looked at since it was attached"
