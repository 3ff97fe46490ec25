"""Errands are done by children that hold on to nothing, and each is answered once, whatever becomes of the child."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.keeper import jobs
from anetcon.keeper.children import Reaper
from anetcon.keeper.jobs import Errand, Errands
from anetcon.keeper.loop import Loop
from anetcon.rules.outcome import VisitOutcome
from anetcon.system.netns import Home
from tests.support.keeper_daemon import is_alive
from tests.support.waiting import wait_until

HERE = 4711
"""What every namespace's inode is for these tests, which enter none."""


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """A loop that ends within 50 s; signals are as before afterwards."""
    monkeypatch.setattr(Home, "enter", lambda _self, _path: HERE)
    before = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    made.after(50, made.stop)
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


def told(loop: Loop, *works: Callable[[], VisitOutcome], inode: int = HERE) -> list[VisitOutcome]:
    """Have it all done; what came back, in the order in which it was sent."""
    sent = Errands(loop, Reaper(loop), Home())
    found: list[VisitOutcome | None] = [None] * len(works)

    def done(number: int, outcome: VisitOutcome) -> None:
        assert found[number] is None, "told twice"
        found[number] = outcome

    for number, work in enumerate(works):
        sent.send(Errand(None, inode, work, lambda outcome, number=number: done(number, outcome)))  # type: ignore[misc]
    assert sent.busy

    def look() -> None:
        if not sent.busy:
            loop.stop()

    loop.every(0.01, look)
    loop.run()
    return [outcome for outcome in found if outcome is not None]


def said(text: str) -> VisitOutcome:
    """An outcome that tells something."""
    outcome = VisitOutcome()
    outcome.notes.append(text)
    return outcome


def notes(outcomes: list[VisitOutcome]) -> list[str]:
    """The one note of each."""
    return ["".join(outcome.notes) for outcome in outcomes]


def test_what_is_for_the_keeper_does_not_end_it(loop: Loop) -> None:
    """Nor the program that it waits for: `systemctl kill --signal=USR2` reaches all that there are just then."""

    def work() -> VisitOutcome:
        os.kill(os.getpid(), signal.SIGUSR2)
        return said(str(subprocess.run(["sh", "-c", "kill -USR2 $$; exit 7"], check=False).returncode))

    assert notes(told(loop, work)) == ["7"]


def test_each_is_told_of_by_a_few_children(loop: Loop) -> None:
    """More errands than a child takes are shared out, none is lost, and they run outside this process."""
    count = jobs.MOST_CHILDREN * jobs.MOST_EACH * 2 + 1
    found = told(loop, *[lambda number=number: said(f"{number} {os.getpid()}") for number in range(count)])
    numbers, pids = zip(*(note.split() for note in notes(found)), strict=True)
    assert numbers == tuple(str(number) for number in range(count))
    assert len(set(pids)) == 5
    assert str(os.getpid()) not in pids


def test_another_namespace_of_that_name_is_left_alone(loop: Loop) -> None:
    """Where the inode is not the one that was meant nothing is done."""
    (outcome,) = told(loop, lambda: said("done"), inode=HERE + 1)
    assert outcome.gone
    assert outcome.notes == []


@pytest.mark.parametrize(("code", "gone"), [(errno.ENOENT, True), (errno.EINVAL, True), (errno.EPERM, False)])
def test_a_namespace_that_cannot_be_entered(loop: Loop, monkeypatch: pytest.MonkeyPatch, code: int, gone: bool) -> None:
    """One that is no more is gone; whatever else is in the way is an error that says so."""

    def refuse(_self: Home, _path: Path | None) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Home, "enter", refuse)
    (outcome,) = told(loop, lambda: said("done"))
    assert (outcome.gone, bool(outcome.error)) == (gone, not gone)
    assert outcome.notes == []


def test_a_child_holds_on_to_nothing(loop: Loop) -> None:
    """Of what is open here it has the standard streams, its pipe and the way home: a socket would keep a namespace."""
    read, write = os.pipe()
    (note,) = notes(told(loop, lambda: said(" ".join(os.listdir("/proc/self/fd")))))  # noqa: PTH208
    os.close(read)
    os.close(write)
    kept = set(map(int, note.split()))
    assert not {read, write} & kept
    assert len(kept) == 6, "0, 1, 2, pipe, home, and the listing itself"


def test_a_child_that_dies_fails_only_what_it_had_left(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    """What was told stands; the errand that broke and those behind it are errors; the other child goes on."""

    def broken() -> VisitOutcome:
        raise ValueError("a defect")

    works = [lambda: said("0"), broken, lambda: said("2"), lambda: said("3")]
    found = told(loop, *works)
    assert notes(found) == ["0", "", "2", "3"]
    assert found[1].error == "the process that was to see to it ended before it had"
    assert "a defect" in capfd.readouterr().err


@pytest.mark.usefixtures("loop")
def test_a_child_that_is_stuck_is_killed_with_what_it_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its errand has failed, and the program that it waited for is gone, too."""
    kept = tmp_path / "pid"

    def wait() -> VisitOutcome:
        program = subprocess.Popen(["sleep", "60"])
        kept.write_text(str(program.pid))
        program.wait()
        return said("never")

    for seconds in (0.3, 3.0, 20.0):  # on a busy machine the program may not have been started so soon
        monkeypatch.setattr(jobs, "STUCK_SECONDS", seconds)
        (outcome,) = told(Loop(), wait)
        assert outcome.error
        if kept.exists() and kept.read_text():
            break
    wait_until(lambda: not is_alive(int(kept.read_text())), 2, "the program has ended")
