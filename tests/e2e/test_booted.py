"""The Debian that other tests boot is what it claims to be."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.booted import PROGRAM, booted


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
