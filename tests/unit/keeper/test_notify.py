"""What is told to the service manager, when, and by whom."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.keeper import notify
from anetcon.keeper.notify import Notifier

UNHURRIED = str(3_600_000_000)
HASTY = "4"


class Manager:
    """A service manager's socket, and what came."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind("\0" + path[1:] if path[0] == "@" else path)
        self.started: list[Notifier] = []

    def heard(self) -> list[str]:
        """Every assignment since the last call."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found += self.socket.recv(4096).decode().splitlines()
        return found

    def notifier(self, period: str = UNHURRIED) -> Notifier:
        """One that was started by it."""
        return self.start({"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": period, "WATCHDOG_PID": "1"})

    def start(self, environment: dict[str, str], state: list[str | None] | None = None) -> Notifier:
        """One in this environment, stopped at the end."""
        self.started.append(Notifier(environment, state))
        return self.started[-1]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Listens at a path, or at a name without one."""
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@anetcon-test-{os.getpid()}")
    with made.socket:
        yield made
        for notifier in made.started:
            notifier.stopping()


def test_ready_is_said_once_and_again_after_a_reload(manager: Manager) -> None:
    """READY when the record runs, RELOADING with the time, READY when it runs again."""
    notifier = manager.notifier()
    notifier.tick(ready=False, turned=False, status="Starting")
    assert notifier.waits()
    notifier.tick(ready=True, turned=False, status="Starting")
    notifier.tick(ready=True, turned=False, status="Starting")
    assert manager.heard() == ["STATUS=Starting", "READY=1"]
    assert not notifier.waits()
    notifier.tick(ready=False, turned=False, status="Starting")
    notifier.reloading()
    assert notifier.waits()
    notifier.tick(ready=False, turned=False, status="Starting")
    said, when = manager.heard()
    assert (said, when.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    assert abs(int(when.partition("=")[2]) / 1e6 - time.monotonic()) < 60
    notifier.tick(ready=True, turned=False, status="Starting")
    assert manager.heard() == ["READY=1"]


def test_the_status_is_said_when_it_is_another(manager: Manager) -> None:
    """Not every second."""
    notifier = manager.notifier()
    for status in ("a", "a", "b", "b", "a"):
        notifier.tick(ready=False, turned=False, status=status)
    assert manager.heard() == ["STATUS=a", "STATUS=b", "STATUS=a"]


def test_the_watchdog_is_fed_by_progress_alone(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked: once a quarter of the time, and only if capture turned since."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    notifier = manager.notifier("4000000")
    for seconds, turned, fed in ((0, True, 1), (0.5, True, 0), (0.6, False, 1), (5, False, 0), (5, True, 1)):
        now += seconds
        notifier.tick(ready=False, turned=turned, status="")
        assert manager.heard() == ["WATCHDOG=1"] * fed, (now, turned)


def test_nothing_is_told_after_stopping(manager: Manager) -> None:
    """Neither ready nor fed: systemd counts the time to stop."""
    notifier = manager.notifier(HASTY)
    notifier.stopping()
    notifier.tick(ready=True, turned=True, status="x")
    assert manager.heard() == ["STOPPING=1", "STATUS=Stopping"]


def crowd(manager: Manager) -> None:
    """Say to it as much as it takes."""
    with contextlib.suppress(BlockingIOError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        while True:
            other.sendto(b"x", "\0" + manager.path[1:] if manager.path[0] == "@" else manager.path)


def test_what_is_not_taken_is_said_again(manager: Manager) -> None:
    """A manager that is busy is not waited for, and misses nothing."""
    notifier = manager.notifier()
    crowd(manager)
    notifier.tick(ready=True, turned=False, status="s")
    assert set(manager.heard()) == {"x"}
    notifier.tick(ready=True, turned=False, status="s")
    assert manager.heard() == ["READY=1", "STATUS=s"]


def test_a_reload_that_is_not_taken_is_said_before_it_is_over(manager: Manager) -> None:
    """In their order: who reloads waits for the one, then for the other."""
    notifier = manager.notifier()
    notifier.tick(ready=True, turned=False, status="s")
    crowd(manager)
    notifier.reloading()
    notifier.tick(ready=True, turned=False, status="s")
    assert "RELOADING=1" not in manager.heard()
    notifier.tick(ready=True, turned=False, status="s")
    assert [each.partition("_")[0] for each in manager.heard()] == ["RELOADING=1", "MONOTONIC", "READY=1"]


def test_children_do_not_inherit_it_and_the_next_program_does(manager: Manager) -> None:
    """The environment says nothing any more; the state of one makes the next."""
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": HASTY, "WATCHDOG_PID": "1", "HOME": "/"}
    before = manager.start(environment)
    assert environment == {"HOME": "/"}
    after = manager.start(environment, before.state())
    after.tick(ready=True, turned=True, status="")
    assert manager.heard() == ["READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize("path", [None, "", "/", "vsock:2:1234", "relative", "/nowhere/at/all"])
def test_without_a_manager_nobody_is_told(path: str | None) -> None:
    """No socket, or one that cannot be: it does no harm."""
    notifier = Notifier({} if path is None else {"NOTIFY_SOCKET": path})
    notifier.reloading()
    notifier.tick(ready=True, turned=True, status="x")
    notifier.stopping()


@given(st.text())
def test_any_period_is_read(text: str) -> None:
    """What is no number of microseconds is no watchdog."""
    assert notify._seconds(text) >= 0
