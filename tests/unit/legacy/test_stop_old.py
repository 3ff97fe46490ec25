"""A script is ended so that its trap does not run, and nothing else is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.doctor import processes
from anetcon.legacy import stop_old
from anetcon.legacy.find import Running
from tests.support.waiting import wait_until

SCRIPT = """\
trap 'touch "$0.trapped"' EXIT TERM
read -r begin
sleep 1000
touch "$0.went-on"
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that works until it is told to sleep."""
    path = tmp_path / "anetcon.sh"
    path.write_text(SCRIPT)
    with subprocess.Popen(["bash", str(path)], stdin=subprocess.PIPE) as process:
        wait_until(lambda: processes.every()[process.pid].words == ("bash", str(path)), 30, "it runs")
        yield process
        process.kill()


def children(pid: int) -> list[int]:
    """Of a process."""
    return [each.pid for each in processes.every().values() if each.parent == pid]


def test_it_is_killed_in_its_sleep(script: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Neither its trap nor anything behind the sleep runs, and no sleep stays; what has to be just before is."""
    assert script.stdin is not None
    script.stdin.write(b"now\n")
    script.stdin.flush()
    asleep = wait_until(lambda: children(script.pid), 30, "it sleeps")
    alive: list[bool] = []
    running = Running(script.pid, ("bash", str(tmp_path / "anetcon.sh")))
    stop_old.end(running, lambda: alive.append(script.poll() is None))
    assert script.wait(10) == -signal.SIGKILL
    assert alive == [True]
    assert wait_until(lambda: not set(asleep) & set(processes.every()), 30, "its sleep is gone")
    assert [path.name for path in tmp_path.iterdir()] == ["anetcon.sh"]


def test_one_that_works_on_is_killed_in_the_end(
    script: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for for ever."""
    monkeypatch.setattr(stop_old, "CALM_SECONDS", 0.1)
    stop_old.end(Running(script.pid, ("bash", str(tmp_path / "anetcon.sh"))))
    assert script.wait(10) == -signal.SIGKILL


def test_another_process_of_that_number_is_left_alone(script: subprocess.Popen[bytes]) -> None:
    """Its number may mean somebody else by now, or nobody."""
    stop_old.end(Running(script.pid, ("bash", "/usr/sbin/anetcon.sh")))
    assert script.poll() is None
    stop_old.end(Running(2**22 - 1, ("bash", "/usr/sbin/anetcon.sh")))


def test_one_that_a_person_had_started_is_started_again(tmp_path: Path) -> None:
    """With its words, in its folder."""
    (tmp_path / "anetcon.sh").write_text('pwd >"$1.half"; mv "$1.half" "$1"\n')
    stop_old.begin_again(Running(1, ("bash", "anetcon.sh", "out"), folder=str(tmp_path)))
    wait_until((tmp_path / "out").exists, 30, "it has run")
    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"
