"""The guard's decisions, with a kernel and a capture that are numbers."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from anetcon.gaps import Cause, Gap
from anetcon.keeper import hold as guards
from anetcon.keeper.attach import Attachment
from anetcon.keeper.hold import Guard
from anetcon.keeper.namespace import Namespace
from anetcon.keeper.namespaces import Seen
from anetcon.keeper.shared import Shared
from anetcon.link import counters
from anetcon.netlink import conntrack

LIMIT = 1000
SIZE = 4096


def namespace(name: str, opened: socket.socket) -> Namespace:
    """One that is attached in slot 0; all its sockets are one."""
    made = Namespace(Path("/", name), Seen(1, newborn=False, noticed=1))
    made.attach(0, 1, Attachment(*[opened] * 4), 1)
    return made


def held(guarded: Namespace) -> guards.Held:
    """Its place in hold mode."""
    assert guarded.attachment is not None
    assert guarded.attachment.held is not None
    return guarded.attachment.held


class Kernel:
    """What the kernel would say of one socket, and whether it was told to hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.descriptor = counters.create(4)
        self.memory = counters.attach(self.descriptor)
        self.queued = self.drops = self.connections = self.asked = 0
        self.limit = LIMIT
        self.hold: list[bool] = []
        self.starts: list[bool] = []
        self.trial = False
        self.gaps: list[tuple[str, int | None]] = []
        self.off: list[bool] = []
        self.reports: list[str] = []
        self.terms = SimpleNamespace(guard_share=0.7, starts=True)
        self.shared = Shared(self.descriptor)
        self.shared.take()
        self.guard = self.made()
        self.socket = socket.socket()
        self.namespace, self.attached = namespace("qrouter-1", self.socket), dict[int, Namespace]()
        monkeypatch.setattr(guards, "report", self.reports.append)
        monkeypatch.setattr(conntrack, "queue", lambda _: (self.queued, SIZE, self.drops))
        monkeypatch.setattr(conntrack, "table", self.table)
        monkeypatch.setattr(guards.Held, "set_hold", lambda _, hold: self.hold.append(hold))
        monkeypatch.setattr(guards.Held, "set_starts", lambda _, starts: self.starts.append(starts))
        monkeypatch.setattr(guards.Held, "set_trial", lambda _, trial: setattr(self, "trial", trial))

    def made(self) -> Guard:
        """A guard over it."""
        return Guard(self.shared, cast(Any, self.terms), self.take)

    def guards(self, guarded: Namespace) -> None:
        """It is attached in hold mode."""
        self.attached[0] = guarded
        self.guard.add(guarded)

    def take(self, gap: Gap) -> None:
        """A gap that the guard tells."""
        assert gap.end is None or (gap.start or 0) <= gap.end
        if gap.cause is Cause.STARTS_OFF:
            self.off.append(gap.end is None)
        else:
            self.gaps.append((gap.netns or "", gap.lost))

    def holds(self) -> bool:
        """What the kernel was told last."""
        return self.hold[-1]

    def delivers(self) -> bool:
        """Whether starts are delivered."""
        return self.starts[-1]

    def table(self, _socket: object) -> tuple[int, int]:
        """The size of the connection table."""
        self.asked += 1
        if self.limit < 0:
            raise OSError(1, "refused")
        return self.connections, self.limit

    def tick(self, times: int = 1, progress: bool = True, drops: int = 0) -> None:
        """Time passes; capture turns or not, and says what it saw of drops."""
        for _ in range(times):
            if progress:
                (before,) = struct.unpack_from("=Q", self.memory, 0)
                struct.pack_into("=Q", self.memory, 0, before + 1)
            at = counters.HEADER_SIZE + counters.SLOT.index("drops") * counters.WORD
            struct.pack_into("=Q", self.memory, at, drops)
            self.guard.tick(self.attached)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """With one guarded socket in slot 0."""
    made = Kernel(monkeypatch)
    made.guards(made.namespace)
    made.asked = 0
    yield made
    made.socket.close()
    os.close(made.descriptor)


def test_a_quiet_namespace_is_never_asked(kernel: Kernel) -> None:
    """While capture turns and nothing is refused, the kernel is left alone."""
    kernel.tick(50)
    assert kernel.hold == [True]
    assert kernel.asked == 0


def test_a_full_table_behind_a_frozen_capture_ends_hold(kernel: Kernel) -> None:
    """A queue over half full, then the table over the share: within three ticks hold is off."""
    kernel.queued, kernel.connections = SIZE // 2 + 1, 701
    kernel.tick(3, progress=False)
    assert kernel.hold == [True, False]
    assert "qrouter-1" in kernel.reports[0]


def test_a_frozen_capture_alone_is_no_danger(kernel: Kernel) -> None:
    """Below the share, or with an empty queue, hold stays."""
    kernel.queued, kernel.connections = SIZE, 700
    kernel.tick(10, progress=False)
    kernel.queued, kernel.connections = 0, 1000
    kernel.tick(10, progress=False)
    assert kernel.hold == [True]


def test_rising_drops_are_looked_at_while_capture_turns(kernel: Kernel) -> None:
    """A capture that is merely too slow is noticed by what it reports itself."""
    kernel.connections = 900
    kernel.tick(5)
    assert kernel.hold == [True]
    kernel.tick(1, drops=3)
    assert kernel.hold == [True, False]


def test_hold_returns_when_all_is_well_and_the_gap_says_what_was_lost(kernel: Kernel) -> None:
    """Not before the queue is drained and the table half as full; what was dropped meanwhile is told exactly."""
    kernel.queued, kernel.connections, kernel.drops = SIZE, 900, 50
    kernel.tick(3, progress=False)
    kernel.drops, kernel.connections = 80, 10
    kernel.tick(20)
    assert not kernel.holds()
    kernel.queued, kernel.connections = 0, 400
    kernel.tick(20)
    assert not kernel.holds()
    assert kernel.gaps == [("qrouter-1", 30)]
    kernel.connections = 349
    kernel.tick(10)
    assert kernel.holds()
    assert kernel.gaps == [("qrouter-1", 30)]


def test_out_of_hold_only_ends_are_delivered(kernel: Kernel) -> None:
    """While ends are dropped no start takes their room, or is counted as a loss; back in hold starts come again."""
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    assert kernel.starts == [False]
    kernel.queued, kernel.connections = 0, 0
    kernel.tick(10)
    assert kernel.starts == [False, True]


def test_hold_returns_without_starts_where_none_are_wanted(kernel: Kernel) -> None:
    """With `record = ["end"]` starts stay off."""
    kernel.terms.starts = False
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    kernel.queued, kernel.connections = 0, 0
    kernel.tick(10)
    assert kernel.holds()
    assert True not in kernel.starts


def test_a_counter_that_wraps_is_counted_right(kernel: Kernel) -> None:
    """The kernel's drop counter has 32 bits."""
    kernel.queued, kernel.connections, kernel.drops = SIZE, 900, 2**32 - 10
    kernel.tick(3, progress=False)
    kernel.queued, kernel.connections, kernel.drops = 0, 0, 5
    kernel.tick(10)
    assert kernel.gaps == [("qrouter-1", 15)]


def test_a_namespace_that_vanishes_out_of_hold_tells_its_loss(kernel: Kernel) -> None:
    """What is removed is told first, and never looked at again."""
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    kernel.drops = 7
    held(kernel.attached.pop(0)).tell()
    assert kernel.gaps == [("qrouter-1", 7)]
    kernel.asked = 0
    kernel.tick(20, progress=False)
    assert kernel.asked == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_without_a_limit_nothing_is_held(kernel: Kernel, limit: int) -> None:
    """A table without limit, and a kernel that does not tell, are not held from the beginning; losses are told."""
    kernel.limit, kernel.hold = limit, []
    kernel.guards(namespace("qrouter-2", kernel.socket))
    assert kernel.hold == [False]
    kernel.drops = 4
    kernel.tick(10)
    kernel.tick(10)
    assert True not in kernel.hold
    assert False not in kernel.starts
    assert kernel.gaps == [("qrouter-2", 4)]


def test_a_replaced_keeper_knows_what_was_out_of_hold(kernel: Kernel) -> None:
    """The state handed over is enough to return and to tell the loss."""
    assert held(kernel.namespace).state() is None
    kernel.queued, kernel.connections, kernel.drops = SIZE, 900, 50
    kernel.tick(3, progress=False)
    state = held(kernel.namespace).state()
    assert state is not None
    again = kernel.made()
    again.resume(kernel.namespace, state)
    kernel.drops = 52
    again.tell(kernel.attached)
    assert kernel.gaps == [("qrouter-1", 2)]
    again.tell_again(kernel.attached)
    assert kernel.off == [True, True]


@pytest.mark.parametrize("off", [[], [5]])
def test_starts_that_were_off_come_back_after_a_replacement(kernel: Kernel, off: list[int]) -> None:
    """Also those that a program before this one, which did not say so, left off."""
    again = kernel.made()
    again.resume(kernel.namespace, [5, 0, *off])
    kernel.connections = 900
    kernel.guard = again
    kernel.tick()
    assert kernel.starts == [True]
    assert kernel.off == [False]
    assert not kernel.hold[1:]


def test_starts_come_back_whatever_the_table_holds(kernel: Kernel) -> None:
    """Once the queue is drained, a second after they went off at the earliest, though hold is not back."""
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    assert (kernel.starts, kernel.off) == ([False], [True])
    kernel.tick(guards.FIRST_PAUSE)
    assert kernel.starts == [False]
    kernel.queued = 0
    kernel.tick()
    assert (kernel.starts, kernel.off) == ([False, True], [True, False])
    assert not kernel.holds()


def test_starts_go_off_before_an_end_is_lost(kernel: Kernel) -> None:
    """Out of hold the queue is given room while starts are on; when as much waits as half of its own size they go."""
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    assert not kernel.trial
    kernel.queued = 0
    kernel.tick(guards.FIRST_PAUSE)
    assert (kernel.delivers(), kernel.trial) == (True, True)
    kernel.queued = SIZE // 2 + 1
    kernel.tick()
    assert (kernel.delivers(), kernel.drops) == (False, 0)
    kernel.queued = kernel.connections = 0
    kernel.tick(guards.RETURN_TICKS)
    assert (kernel.delivers(), kernel.trial, kernel.holds()) == (True, False, True)


def test_a_new_capture_is_told_where_starts_were_off(kernel: Kernel) -> None:
    """The one before may have ended without having heard that they came back."""
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    kernel.queued = 0
    kernel.tick(guards.FIRST_PAUSE)
    kernel.off.clear()
    kernel.guard.tell_again(kernel.attached)
    assert kernel.off == [True, False]


def off_for(kernel: Kernel) -> int:
    """The queue overflows once: how many ticks starts are off then."""
    kernel.drops += 1
    kernel.tick()
    assert not kernel.delivers()
    ticks = 0
    while not kernel.delivers():
        kernel.tick()
        ticks += 1
    return ticks


def test_each_overflow_keeps_starts_off_for_twice_as_long(kernel: Kernel) -> None:
    """Up to a bound; and after as long without one the first is short again."""
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(3, progress=False)
    kernel.queued = 0
    kernel.tick(guards.FIRST_PAUSE)
    assert kernel.starts == [False, True]
    times = [off_for(kernel) for _ in range(9)]
    assert times == [20, 40, 80, 160, 320, 640, 640, 640, 640]
    kernel.tick(guards.LONGEST_PAUSE + 1)
    assert off_for(kernel) == guards.FIRST_PAUSE
    assert not kernel.holds()


def test_shed_ends_hold_everywhere(kernel: Kernel) -> None:
    """From then on nothing is guarded."""
    kernel.guard.shed(kernel.attached)
    assert kernel.hold == [True, False]
    kernel.queued, kernel.connections = SIZE, 900
    kernel.tick(10, progress=False)
    assert kernel.hold == [True, False]
