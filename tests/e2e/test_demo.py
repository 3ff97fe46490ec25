"""`anetcon demo`, as a stranger runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anetcon.testbed.bed import RUN_NETNS, owner
from tests.support.waiting import wait_until

ANETCON = str(Path(sys.executable).parent / "anetcon")


def left_by(pid: int) -> list[str]:
    """Namespaces that a process made and that are still there."""
    if not RUN_NETNS.is_dir():
        return []
    return [n.name for n in RUN_NETNS.iterdir() if owner(pid) in n.name]


@pytest.mark.timeout(150)
def test_the_demo_gives_the_right_answer_and_leaves_nothing(tmp_path: Path) -> None:
    """It ends well, names the instance in the answer, and neither namespace nor folder stays."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    with subprocess.Popen([ANETCON, "demo"], stdout=subprocess.PIPE, text=True, env=environment) as demo:
        said = demo.communicate(timeout=120)[0]
    assert demo.returncode == 0, said
    assert " was 10.1.0.11:" in said
    assert "all 7 connections are recorded" in said
    assert "everything removed" in said
    assert left_by(demo.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_kept(tmp_path: Path) -> None:
    """It goes on with traffic that `follow` shows, until the command that it has named removes all of it."""
    tmp_path.chmod(0o755)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([ANETCON, "demo", "--keep"], capture_output=True, text=True, env=environment, check=False)
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
    remove = said["remove"].partition(" #")[0]
    kept = int(remove.split()[1])
    try:
        assert (done.returncode, "everything goes on" in said["done"]) == (0, True), done.stderr
        words = [ANETCON, *said["look"].split()[1:], "--format", "jsonl"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as follow:
            assert follow.stdout is not None
            seen = [json.loads(follow.stdout.readline())["src_ip"] for _ in range(2)]
            follow.terminate()
        assert seen == ["10.1.0.11"] * 2
        assert len(left_by(kept)) == 3
    finally:
        subprocess.run(["sh", "-c", remove], check=True)
        wait_until(lambda: not Path(f"/proc/{kept}").exists(), 60, "it has ended")
    assert left_by(kept) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_ended_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM in the middle removes everything too."""
    tmp_path.chmod(0o755)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([ANETCON, "demo"], stdout=subprocess.PIPE, text=True, env=environment) as demo:
        wait_until(lambda: left_by(demo.pid), 20, "the demo builds something")
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=40)
    assert demo.returncode == 128 + signal.SIGTERM
    assert left_by(demo.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_without_root_the_demo_says_so() -> None:
    """One sentence and the exit status of a missing permission."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ANETCON, "demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert done.stderr == "anetcon: making network namespaces needs root: run it with sudo\n"
