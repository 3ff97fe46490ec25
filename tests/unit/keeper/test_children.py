"""Children are started, kept running, stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from anetcon.keeper import children
from anetcon.keeper.children import Child, Reaper
from anetcon.keeper.loop import Loop
from anetcon.system.process import WITHHELD, spawn
from tests.support.waiting import wait_until


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that ends within 40 s; signals are as before afterwards."""
    before = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    made.after(40, made.stop)
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def reaper(loop: Loop) -> Reaper:
    """Told of every child's end."""
    return Reaper(loop)


def end_of(loop: Loop, reaper: Reaper, arguments: list[str]) -> int:
    """The exit status of a program."""
    status: list[int] = []

    def ended(code: int) -> None:
        status.append(code)
        loop.stop()

    reaper.expect(spawn(arguments), ended)
    loop.run()
    return status[0]


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 128 + 9), ("kill -INT $$; exit 3", 3)]
)
def test_the_end_is_told_as_a_shell_would(loop: Loop, reaper: Reaper, script: str, status: int) -> None:
    """Exit status, 128 + signal; Ctrl-C does not reach a child."""
    assert end_of(loop, reaper, ["sh", "-c", script]) == status


def test_a_program_that_is_not_there_is_127(loop: Loop, reaper: Reaper, capfd: pytest.CaptureFixture[str]) -> None:
    """It is said in one line, and the caller told as by a shell."""
    assert end_of(loop, reaper, ["/nonexistent/program"]) == 127
    assert capfd.readouterr().err == "anetcon-keeper: cannot start /nonexistent/program: No such file or directory\n"


def test_a_child_inherits_what_it_is_given_and_nothing_else(loop: Loop, reaper: Reaper) -> None:
    """Descriptors not named stay with the keeper."""
    kept, other = os.memfd_create("kept"), os.memfd_create("other")
    answer = os.memfd_create("answer")
    reaper.expect(spawn(["ls", "-l", "/proc/self/fd"], keep=[kept], stdout=answer), lambda _: loop.stop())
    loop.run()
    said = os.pread(answer, 1 << 20, 0).decode()
    assert "memfd:kept" in said
    assert "memfd:other" not in said
    for descriptor in (kept, other, answer):
        os.close(descriptor)


TAKES_IT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
signal.pause()
"""


@pytest.mark.parametrize(("held", "status"), [(WITHHELD, 5), ((), 128 + signal.SIGTERM)])
def test_a_signal_that_comes_before_the_program_runs(
    loop: Loop, reaper: Reaper, held: Collection[signal.Signals], status: int
) -> None:
    """It waits until the program takes it, or ends the child; it is never lost, and never taken for the keeper's."""
    before = signal.getsignal(signal.SIGTERM)
    taken: list[str] = []
    ended: list[int] = []

    def on_end(code: int) -> None:
        ended.append(code)
        loop.after(0, loop.stop)  # what else has come is told first

    loop.on_signal(signal.SIGTERM, lambda: taken.append("SIGTERM"))
    try:
        command = [sys.executable, "-c", TAKES_IT]
        reaper.expect(spawn(command, before=lambda: os.kill(os.getpid(), signal.SIGTERM), held=held), on_end)
        loop.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (ended, taken) == ([status], [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is reported."""
    said: list[str] = []
    monkeypatch.setattr(children, "report", said.append)
    return said


class Kept:
    """A child that runs a shell script, and what the keeper would report of it."""

    def __init__(self, loop: Loop, reaper: Reaper, script: str, reports: list[str]) -> None:
        self.reports = reports
        self.starts = 0
        self.on_start: Callable[[], None] = lambda: None
        self.child = Child(loop, reaper, "it", self.launch)
        self.script = script

    def launch(self) -> int:
        """Start it."""
        self.starts += 1
        self.on_start()
        return spawn(["sh", "-c", self.script])


def test_a_child_that_dies_is_started_again_with_growing_pauses(loop: Loop, reaper: Reaper, reports: list[str]) -> None:
    """At once the first time, then after 0.1 s and twice as long each time; every time it is said."""
    kept = Kept(loop, reaper, "exit 4", reports)
    kept.on_start = lambda: loop.stop() if kept.starts == 4 else None
    kept.child.start()
    loop.run()
    kept.child.stop(lambda: None)
    assert kept.child.restarts == 3
    assert kept.reports == [
        f"<3>it ended with status 4; starting it again in {pause} s" for pause in ("0", "0.1", "0.2")
    ]


def test_a_launch_that_fails_is_tried_again(loop: Loop, reaper: Reaper, reports: list[str]) -> None:
    """When the machine cannot start a process now, it may later."""
    kept = Kept(loop, reaper, "exec sleep 60", reports)

    def on_start() -> None:
        if kept.starts == 1:
            raise OSError(11, "no process is left")
        loop.stop()

    kept.on_start = on_start
    kept.child.start()
    loop.run()
    assert kept.reports[0] == "<3>cannot start it: no process is left"
    assert kept.child.pid is not None
    kept.child.stop(loop.stop)
    loop._running = True
    loop.run()
    assert kept.child.pid is None


def test_a_child_that_does_not_stop_is_killed(
    loop: Loop, reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    """After its time it is killed, and that is said; it is not started again."""
    monkeypatch.setattr(children, "STOP_SECONDS", 0.2)
    ready = tmp_path / "ready"
    kept = Kept(loop, reaper, f"trap '' TERM; touch {ready}; while :; do sleep 1; done", reports)
    kept.child.start()
    wait_until(ready.exists, 10, "it ignores SIGTERM")
    kept.child.stop(loop.stop)
    loop.run()
    assert kept.reports == ["<4>it did not end within 0.2 s and is killed"]
    assert kept.starts == 1


def test_replacing_ends_and_starts_without_a_complaint(loop: Loop, reaper: Reaper, reports: list[str]) -> None:
    """A child that is replaced did nothing wrong."""
    kept = Kept(loop, reaper, "exec sleep 60", reports)
    kept.on_start = lambda: loop.stop() if kept.starts == 2 else None
    kept.child.start()
    first = kept.child.pid
    kept.child.replace()
    loop.run()
    assert kept.child.pid not in (None, first)
    assert kept.reports == []
    assert kept.child.restarts == 0
    kept.child.stop(loop.stop)
    loop._running = True
    loop.run()
