"""The Debian that other tests boot is what it claims to be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.booted import PROGRAM, _cgroup, booted
from tests.support.waiting import wait_until

KILLED = """
import contextlib, os, pathlib, signal, sys
from tests.support import booted
booted._cgroup = lambda: contextlib.nullcontext(pathlib.Path(sys.argv[1]))
with booted.disk() as kept, booted.booted(program=False, kept=kept):
    print(kept.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""A test that is killed while a system runs."""


@pytest.mark.timeout(200)
def test_a_system_of_its_own() -> None:
    """systemd is process 1 of a system that cannot change the machine's settings, host name or networks."""
    with booted() as machine:
        assert machine.run("cat", "/proc/1/comm").stdout == "systemd\n"
        assert machine.run("hostname").stdout.strip() == "booted" != socket.gethostname()
        assert machine.run("ls", "/sys/class/net").stdout.split() == ["lo"]
        assert machine.run("sh", "-c", "echo 1 >/proc/sys/kernel/printk", check=False).returncode
        machine.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        assert machine.run(PROGRAM, "--version").stdout.startswith("anetcon")
        machine.run("systemd-run", "--wait", "--property=ProtectSystem=strict", "sh", "-c", "! touch /usr/x")
        group = Path(f"/proc/{machine.pid}/cgroup").read_text()
        pid = machine.pid
    assert "anetcon-test-" in group
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.timeout(200)
def test_nothing_runs_on_when_a_test_is_killed(tmp_path: Path) -> None:
    """All its processes end, and what they had mounted goes with them."""
    with _cgroup() as group:
        try:
            done = subprocess.run(
                [sys.executable, "-c", KILLED, str(group)], check=False, stdout=subprocess.PIPE,
                env={**os.environ, "TMPDIR": str(tmp_path)}, cwd=Path(__file__).parents[2],
            )  # fmt: skip
            assert done.returncode == -signal.SIGKILL
            events = group / "cgroup.events"
            wait_until(lambda: "populated 0" in events.read_text(), 60, "the system has ended")
            namespace = Path(f"/proc/{int(done.stdout)}/ns/mnt")
            wait_until(lambda: not namespace.exists(), 60, "its disk is gone")
        finally:
            (group / "cgroup.kill").write_text("1")
