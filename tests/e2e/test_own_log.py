"""The daemon's own log in a file: options of `run`, rotation, replacement, its writer stopped or killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Testbed
from tests.support.daemon import PROGRAM, Daemon
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z anetcon-[a-z]+: .*")


class Logged(Daemon):
    """A daemon with `-l`, `-v` and more options of `run`."""

    def __init__(self, folder: Path, names: list[str], *options: str) -> None:
        super().__init__(folder, names)
        self.own = folder / "log" / "own.log"
        self.options = ["-l", str(self.own), *options]

    def start(self) -> None:
        """As a user starts it."""
        with self.said.open("ab") as said:
            words = [str(PROGRAM), "run", "-c", str(self.settings), *self.options]
            self._process = subprocess.Popen(words, stdout=said, stderr=said)

    def text(self) -> str:
        """What is in the log and the files it was renamed to."""
        files = sorted(self.own.parent.glob("own.log*"), key=lambda path: path.stat().st_mtime_ns)
        return "".join(path.read_text() for path in files)

    def has(self, words: str, times: int = 1) -> None:
        """Until that often it was said."""
        wait_until(lambda: self.text().count(words) >= times, 20, f"{words!r} {times} times", every=0.05)

    def writer(self, before: int | None = None) -> int:
        """The process that writes it, once there is one; another than `before`."""

        def found() -> int | None:
            for pid in self.children():
                with contextlib.suppress(OSError):  # some end at once
                    if pid != before and Path(f"/proc/{pid}/comm").read_text() == "anetcon-log\n":
                        return pid
            return None

        return wait_until(found, 20, "the log has a writer", every=0.05) or 0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Logged]]:
    """Starts one, and ends it afterwards."""
    made: list[Logged] = []

    def start(names: list[str], *options: str) -> Logged:
        made.append(Logged(tmp_path, names, *options))
        made[-1].run()
        return made[-1]

    yield start
    for each in made:
        each.stop()


def test_options_of_the_program_before(started: Callable[..., Logged], bed: Testbed) -> None:
    """-n names what is audited, -p how often it is looked at, -v says where each setting is from and what happens to
    each namespace; all of it is in the file, stamped, and nothing on standard error."""
    names = [bed.namespace("one").name, bed.namespace("two").name]
    daemon = started([], "-v", "-p", "2.5", "-n", f"^{names[0]}$", "-n", f"^{names[1]}$")
    daemon.wait_attached(names)
    daemon.has("audit.period = 2.5 (--period)")
    daemon.has(f'audit.namespaces = ["^{names[0]}$", "^{names[1]}$"] (--namespace)')
    daemon.has("(default)", 5)
    for name in names:
        daemon.has(f"debug: {name}: attached, slot ")
        daemon.has(f"anetcon-capture: debug: {name}: listening")
    daemon.has("debug: anetcon-capture is process ")
    assert daemon.own.stat().st_mode & 0o777 == 0o640
    assert daemon.stop() == 0
    lines = daemon.text().splitlines()
    assert [line for line in lines if not STAMPED.fullmatch(line)] == []
    assert f"auditing 2 network namespaces (audit.namespaces: ^{names[0]}$, ^{names[1]}$), engine" in daemon.text()
    assert lines[-1].endswith("anetcon-keeper: stopped: nothing is recorded before the next start")
    assert daemon.errors() == ""


def test_rotation_and_replacement_lose_no_line(started: Callable[..., Logged], bed: Testbed) -> None:
    """Renamed, SIGHUP, five times, with SIGUSR2 in between: every reload and both lives are in the files, once each."""
    daemon = started([bed.namespace("one").name])
    for turn in range(5):
        daemon.own.rename(daemon.own.with_name(f"own.log.{turn}"))
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(daemon.own.exists, 10, "a new file")
        daemon.has("the configuration is applied", turn + 1)
        if turn == 2:
            before, writer = daemon.capture_pid(), daemon.writer()
            daemon.process.send_signal(signal.SIGUSR2)
            wait_until(lambda: daemon.capture_pid() not in (None, before), 20, "replaced", every=0.05)  # noqa: B023
            daemon.writer(before=writer)
    assert daemon.stop() == 0
    assert daemon.text().count("the configuration is applied") == 5
    assert daemon.errors() == ""


def test_a_writer_stopped_or_killed_harms_nobody(started: Callable[..., Logged], bed: Testbed) -> None:
    """While it is stopped the daemon goes on; killed it is started again, and what was said meanwhile is written."""
    daemon = started([bed.namespace("one").name])
    writer = daemon.writer()
    os.kill(writer, signal.SIGSTOP)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_flushed()
    os.kill(writer, signal.SIGKILL)
    daemon.has("anetcon-log ended with status 137")
    daemon.has("the configuration is applied")
    assert daemon.stop() == 0


def test_the_last_lines_of_a_keeper_that_was_killed(started: Callable[..., Logged], bed: Testbed) -> None:
    """The writer is not killed with it: it writes what was said, ends, and leaves the store to the next daemon."""
    daemon = started([bed.namespace("one").name], "-v")
    writer = daemon.writer()
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait(10)
    wait_until(lambda: not Path(f"/proc/{writer}").exists(), 10, "the writer ended")
    daemon.run()
    daemon.has("debug: anetcon-log is process ", 2)


def test_a_full_disk_harms_nobody(started: Callable[..., Logged], bed: Testbed) -> None:
    """A log on a disk without room costs its lines alone."""
    daemon = started([bed.namespace("one").name], "-l", "/dev/full", "-v")
    daemon.wait_flushed()
    daemon.writer()
    assert daemon.stop() == 0
