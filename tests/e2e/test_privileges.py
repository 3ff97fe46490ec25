"""What the daemon and its commands do for other users of the machine: nothing that these could not do themselves."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.testbed.namespaces import Testbed
from tests.e2e.daemon import PROGRAM, Daemon
from tests.netns.waiting import wait_until

Start = Callable[..., Daemon]

HOSTILE = """
import os, sys
with open({!r}, "a") as file:
    print(os.getuid(), sys.orig_argv, __file__, file=file)
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder of modules with the names of Python's and ours; the file they write when one is executed."""
    said, folder = tmp_path / "executed", tmp_path / "of-nobody"
    for name in ("anetcon/__init__.py", "anetcon.py", "resource.py", "json.py", "typing.py", "pyarrow/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(HOSTILE.format(str(said)))
    monkeypatch.chdir(folder)
    return said


def test_modules_in_the_folder_a_daemon_is_started_in(hostile: Path, bed: Testbed, daemon: Start) -> None:
    """None is executed: by the daemon, by its children, by what resolves a reload, by a replacement in place."""
    namespace = bed.namespace("one")
    auditor = daemon(namespace.name)
    auditor.wait_attached([namespace.name])
    before = auditor.capture_pid()
    auditor.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: auditor.capture_pid() not in (None, before), 20, "the new program has a capture of its own")
    auditor.wait_written()
    assert auditor.stop() == 0, auditor.errors()
    assert not hostile.exists(), hostile.read_text()


@pytest.mark.parametrize("command", ["doctor", "demo"])
def test_modules_in_the_folder_a_command_is_started_in(command: str, hostile: Path, tmp_path: Path) -> None:
    """None is executed by a command that starts programs of ours."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    done = subprocess.run([PROGRAM, command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in ((0, 1, 3) if command == "doctor" else (0,)), done.stdout + done.stderr
    assert not hostile.exists(), hostile.read_text()
