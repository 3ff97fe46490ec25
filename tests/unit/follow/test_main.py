"""The process: turns that fail and recover, and a real one from start to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anetcon.config.model import Config
from anetcon.errors import StoreError
from anetcon.follow import main
from anetcon.follow.main import FIRST_PAUSE, LONGEST_PAUSE, SAID_EVERY, Turn
from anetcon.follow.settings import Settings
from anetcon.store import layout, manifest
from tests.support.records import Making, start, whole
from tests.support.waiting import wait_until


class Fake:
    """A follower that does what it is told; says what was done."""

    def __init__(self, will: list[Exception | bool], done: list[str]) -> None:
        self.will, self.done = will, done
        done.append("made")

    def step(self) -> bool:
        """The next of what it was told."""
        told = self.will.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    def reopen(self) -> None:
        """Noted."""
        self.done.append("reopened")

    def stop(self) -> None:
        """Noted."""
        self.done.append("stopped")

    def close(self) -> None:
        """Noted."""
        self.done.append("closed")


class Fixture:
    """A turn with a clock that is set by hand."""

    def __init__(self, *will: Exception | bool) -> None:
        self.time = 1000.0
        self.done: list[str] = []
        told = list(will)
        self.turn = Turn("text logs", lambda: Fake(told, self.done), now=lambda: self.time)


def test_a_follower_that_fails_is_made_anew_after_a_pause(capfd: pytest.CaptureFixture[str]) -> None:
    """What failed is closed; the next one is made when the pause is over, at its first success it is said."""
    fixture = Fixture(True, OSError(28, "No space left on device"), True, False)
    turn = fixture.turn
    assert turn.take()
    assert not turn.take()
    assert fixture.done == ["made", "closed"]
    assert not turn.take()
    fixture.time += FIRST_PAUSE
    assert turn.take()
    assert not turn.take()
    assert fixture.done == ["made", "closed", "made"]
    assert capfd.readouterr().err.splitlines() == [
        "anetcon: text logs: No space left on device; trying again, nothing is lost",
        "anetcon: text logs: works again",
    ]


def test_a_failure_is_told_until_it_is_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a file of its own, for the status; what a process before left there goes when the next one begins."""
    failed = tmp_path / "siem.failed"
    failed.write_text("long ago")
    told: list[Exception | bool] = [True, OSError(28, "No space left on device", "/srv/a.json"), False]
    turn = Turn("sink siem", lambda: Fake(told, []), failed)
    assert not failed.exists()
    assert turn.take()
    assert not turn.take()
    assert failed.read_text() == "sink siem: /srv/a.json: No space left on device"
    assert failed.stat().st_gid == layout.group(), "whoever may read the store may know"
    assert not turn.take(at_once=True)
    assert not failed.exists()
    capfd.readouterr()


def test_pauses_grow_and_a_failure_is_said_once_a_minute(capfd: pytest.CaptureFixture[str]) -> None:
    """A disk that is full for an hour makes sixty lines and some tries, not thousands."""
    fixture = Fixture(*[StoreError("broken")] * 1000)
    tries = 0
    while fixture.time < 1000 + 3600:
        before = len(fixture.done)
        assert not fixture.turn.take()
        tries += len(fixture.done) > before
        fixture.time += 0.25
    assert 3600 / LONGEST_PAUSE <= tries <= 3600 / LONGEST_PAUSE + 10
    assert 50 <= len(capfd.readouterr().err.splitlines()) <= 3600 / SAID_EVERY + 1


def test_a_folder_that_the_service_may_not_write_in(capfd: pytest.CaptureFixture[str]) -> None:
    """Is named, with what gives it to the service."""
    fixture = Fixture(OSError(30, "Read-only file system", "/srv/logs"))
    assert not fixture.turn.take()
    said = capfd.readouterr().err
    assert "text logs: /srv/logs: Read-only file system; mount it writable or" in said


def test_too_little_memory_is_no_defect(capfd: pytest.CaptureFixture[str]) -> None:
    """It says what to do, and nobody is asked to report anything."""
    fixture = Fixture(MemoryError())
    assert not fixture.turn.take()
    assert capfd.readouterr().err == (
        "anetcon: text logs: too little memory; give the service or the machine more memory; "
        "trying again, nothing is lost\n"
    )


def test_a_defect_is_told_and_survived(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception nobody thought of stops this follower's turn, with its traceback, not the process."""
    fixture = Fixture(ZeroDivisionError("oops"))
    assert not fixture.turn.take()
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert "text logs: ZeroDivisionError: oops; please report this; trying again, nothing is lost" in err


def test_reopening_and_stopping_reach_the_follower(capfd: pytest.CaptureFixture[str]) -> None:
    """SIGHUP also ends a pause: the operator may just have made room."""
    fixture = Fixture(True, OSError("x"), True)
    turn = fixture.turn
    turn.reopen()
    turn.stop()
    assert fixture.done == []
    turn.take()
    turn.reopen()
    turn.take()
    turn.reopen()
    assert turn.take()
    turn.stop()
    assert fixture.done == ["made", "reopened", "closed", "made", "stopped"]
    capfd.readouterr()


@pytest.fixture(name="resolved")
def resolved_(tmp_path: Path) -> dict[str, Any]:
    """A configuration with everything in a temporary folder."""
    resolved: dict[str, Any] = msgspec.to_builtins(Config(node="gw1"))
    resolved["store"]["path"] = str(tmp_path / "store")
    resolved["logs"]["dir"] = str(tmp_path / "log")
    (tmp_path / "store").mkdir()
    return resolved


@pytest.fixture(name="process")
def process_(resolved: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The process, as the keeper starts it."""
    settings = os.memfd_create("settings")
    os.write(settings, json.dumps(resolved).encode())
    process = subprocess.Popen(
        [sys.executable, "-m", "anetcon.follow.main", "--settings", str(settings)],
        pass_fds=[settings],
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(settings)
    with process:
        yield process
        process.kill()


def test_no_thread_is_there_before_signals_are_blocked() -> None:
    """pyarrow starts threads when it is imported: one of them would take a signal of ours, which would end us."""
    script = "import anetcon.follow.main, sys; sys.exit('pyarrow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_process_follows_seals_reopens_and_stops(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    """Lines appear while it runs; SIGHUP opens new logs; SIGTERM writes and seals what is left, and it ends well."""
    log = tmp_path / "log" / "anetcon.nat.log"
    making = Making(tmp_path / "store").add(start(src_port=1))
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 1, 20, "the first line")
    assert Path(f"/proc/{process.pid}/comm").read_text() == "anetcon-follow\n"
    log.rename(log.with_suffix(".log.1"))
    process.send_signal(signal.SIGHUP)
    wait_until(log.exists, 20, "a new log")
    making.rotate().add(*whole(src_port=2))
    wait_until(lambda: log.read_text().count("\n") == 1, 20, "the second line")
    making.add(start(src_port=3)).close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(40) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert log.read_text().count("\n") == 2
    state = manifest.replay(tmp_path / "store")
    assert state.through == {"connections": 2}
    assert [entry.rows for entry in state.of("connections")] == [1]
    assert [entry.rows for entry in state.of("open")] == [2]


def test_sealing_goes_on_while_the_logs_fail(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    """A folder of logs that is none is said once; what is closed is sealed, and kept for when it works again."""
    (tmp_path / "log").write_text("not a folder")
    making = Making(tmp_path / "store").add(start(src_port=1)).rotate()
    wait_until(lambda: manifest.replay(tmp_path / "store").seal == 1, 20, "a seal")
    (tmp_path / "log").unlink()
    process.send_signal(signal.SIGHUP)
    log = tmp_path / "log" / "anetcon.nat.log"
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 1, 20, "the line")
    process.send_signal(signal.SIGTERM)
    assert process.wait(40) == 0
    assert process.stderr is not None
    said = process.stderr.read().splitlines()
    assert len(said) == 2
    assert "trying again, nothing is lost" in said[0]
    assert said[1] == "anetcon-follow: text logs: works again"
    making.close()


def test_without_logs_there_is_no_text_follower(tmp_path: Path, resolved: dict[str, Any]) -> None:
    """Only the sealer takes turns, and nothing is kept for logs that nobody wants."""
    resolved["logs"]["enabled"] = False
    process = main.Process(Settings.of(resolved))
    Making(tmp_path / "store").add(*whole()).close()
    assert process.turn()
    assert not process.turn()
    assert not (tmp_path / "log").exists()
