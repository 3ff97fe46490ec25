"""When a capture that stands still is continued, killed, or left alone."""

from __future__ import annotations

import os
import signal

import pytest

from anetcon.keeper import watchdog
from anetcon.keeper.children import Child
from anetcon.keeper.watchdog import STILL, STILL_RELEASING, STILL_STARTING, THEN, Watchdog


class Capture(Child):
    """A process that is this one, and is told signals instead of getting them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pid: int | None = os.getpid()
        self.name = "anetcon-capture"
        self.told: list[int] = []
        self.is_ending = False
        self.progress = 0
        self.reports: list[str] = []
        monkeypatch.setattr(watchdog, "report", self.reports.append)
        self.dog = Watchdog(self, lambda: self.progress)

    @property
    def ending(self) -> bool:
        """As the test says."""
        return self.is_ending

    def signal(self, number: int) -> None:
        """Note it."""
        self.told.append(number)

    def stand_still(self, ticks: int, works: bool = True, releasing: bool = False) -> int:
        """That many ticks without progress; at how many of them it was as good as turning."""
        return sum(self.dog.tick(works, releasing) for _ in range(ticks))


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Capture:
    """One that has just turned."""
    made = Capture(monkeypatch)
    made.progress = 1
    made.stand_still(1)
    return made


@pytest.mark.parametrize(
    ("ticks", "works", "releasing"),
    [(STILL, True, False), (STILL_RELEASING, True, True), (STILL_STARTING, False, False)],
)
def test_continued_then_killed(capture: Capture, ticks: int, works: bool, releasing: bool) -> None:
    """After its patience it is continued, after twice as long killed, and each is said once; it never turned."""
    assert capture.stand_still(ticks - 1, works, releasing) == 0
    assert capture.told == []
    capture.stand_still(1, works, releasing)
    assert capture.told == [signal.SIGCONT]
    assert capture.stand_still((THEN - 1) * ticks, works, releasing) == 0
    assert capture.told == [signal.SIGCONT, signal.SIGKILL]
    assert [line.partition(": ")[2][:6] for line in capture.reports] == ["it is ", "it is "]


def test_one_that_turns_is_left_alone(capture: Capture) -> None:
    """A single turn in time begins the count anew, and is told at the look after it."""
    for _ in range(10):
        capture.progress += 1
        assert capture.stand_still(STILL - 1) == 1
    assert capture.told == []


def test_another_process_begins_anew(capture: Capture) -> None:
    """What the one before did not do is not held against the next."""
    capture.stand_still(STILL - 1)
    capture.pid = None
    capture.stand_still(STILL)
    capture.pid = os.getpid()
    capture.stand_still(STILL - 1)
    assert capture.told == []


def test_one_that_ends_has_its_own_limit(capture: Capture) -> None:
    """Writing what is left may take long; whoever told it to end kills it in time."""
    capture.is_ending = True
    capture.stand_still(10 * STILL)
    assert capture.told == []


@pytest.mark.parametrize("state", [("t", "4711"), ("S", "4711"), ("D", "0")])
def test_debugged_or_waiting_for_a_disk(
    capture: Capture, monkeypatch: pytest.MonkeyPatch, state: tuple[str, str]
) -> None:
    """Neither continued nor killed, and that is said once; nor is the daemon to be killed for it."""
    monkeypatch.setattr(watchdog, "_state", lambda _: state)
    assert capture.stand_still(STILL - 1) == 0
    assert capture.stand_still(2 * STILL) == 2 * STILL
    assert capture.told == []
    assert len(capture.reports) == 1


def test_what_the_kernel_says_of_a_process() -> None:
    """State and debugger of a living process, and of one that is not there."""
    assert watchdog._state(os.getpid()) == ("R", "0")
    assert watchdog._state(2**22 + 1) == ("?", "0")
