"""What the service manager hears from a keeper, and that it hears it of capture's own progress."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Testbed
from tests.support.keeper_daemon import Daemon, ours
from tests.support.waiting import wait_until

BITES = 0.8
"""Seconds of the watchdog: it is fed four times as often."""


class Manager:
    """Its socket, every assignment that came, and the status that came last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self.status = ""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))

    def listen(self) -> list[str]:
        """What came until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self.socket.recv(4096).decode().splitlines()
                self.heard += lines
                self.status = next((line for line in lines if line.startswith("STATUS=")), self.status)
        return self.heard

    def wait(self, word: str) -> None:
        """Until it came; what came before is forgotten."""
        wait_until(lambda: word in self.listen(), 60, f"{word} came: {self.heard}")
        del self.heard[: self.heard.index(word) + 1]

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        asked = select.poll()  # select(2) takes no descriptor over 1,023, and a run of all tests has as many
        asked.register(self.socket, select.POLLIN)
        return not asked.poll(seconds * 1000)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """One that listens."""
    made = Manager(tmp_path / "notify")
    with made.socket:
        yield made


@pytest.fixture
def daemon(tmp_path: Path, manager: Manager) -> Iterator[Daemon]:
    """A keeper that this manager starts, for our own namespaces; not started yet."""
    keeper = Daemon(tmp_path, [ours()])
    keeper.environment |= {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(BITES * 1e6))}
    yield keeper
    keeper.close()


def test_its_whole_life(daemon: Daemon, bed: Testbed, manager: Manager) -> None:
    """Ready when all is attached, reloading and ready again, by then with the status of that, ready as the next
    program, stopping; children are mute."""
    bed.namespace("one")
    daemon.run()
    manager.wait("READY=1")
    daemon.wait_heard("attach")
    wait_until(lambda: any(each.endswith("1 network namespace audited") for each in manager.listen()), 60, "its status")
    for pid in (daemon.heard("started")[-1]["pid"], daemon.heard("follow started")[-1]["pid"]):
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
    daemon.reload(period=20.0)
    manager.wait("RELOADING=1")
    manager.wait("READY=1")
    daemon.answer.write_text("{")
    os.kill(daemon.pid, signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("READY=1")
    assert "the configuration is refused" in manager.status
    daemon.reload()
    manager.wait("READY=1")
    assert manager.status.endswith("1 network namespace audited")
    os.kill(daemon.pid, signal.SIGUSR2)
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1")
    assert daemon.stop() == 0
    manager.wait("STOPPING=1")
    assert manager.listen() == ["STATUS=Stopping"]


def test_only_progress_feeds_the_watchdog(daemon: Daemon, manager: Manager) -> None:
    """While capture is stopped the keeper goes on and says nothing; when it turns again, it is told."""
    daemon.run()
    manager.wait("READY=1")
    capture = daemon.heard("started")[-1]["pid"]
    os.kill(capture, signal.SIGSTOP)
    wait_until(lambda: manager.listen() and manager.silent(BITES), 10, "silence for as long as the watchdog waits")
    os.kill(capture, signal.SIGCONT)
    manager.heard.clear()
    manager.wait("WATCHDOG=1")
