"""What is known of the daemon."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from anetcon.doctor.machine import daemon
from tests.support.doctor_parts import STATUS, machine, process, said, without_daemon


def test_the_daemon_of_a_store(tmp_path: Path) -> None:
    """Who holds the lock runs, with its children; who does not has left its status."""
    assert not daemon(tmp_path / "none", {}).runs
    (tmp_path / "status.json").write_text(json.dumps(STATUS))
    assert daemon(tmp_path, {}).status == STATUS
    assert daemon(tmp_path, {}).state("qrouter-1") == ""
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.write(lock, b"100\n")
    fcntl.flock(lock, fcntl.LOCK_EX)
    found = daemon(tmp_path, {101: process(101, "anetcon-capture", parent=100)})
    assert (found.pid, found.family, found.state("qrouter-1")) == (100, frozenset({100, 101}), "attached")
    os.close(lock)


def test_a_status_that_cannot_be_read(tmp_path: Path) -> None:
    """That is known, and no reason to fail."""
    (tmp_path / "status.json").write_text("{")
    assert daemon(tmp_path, {}).unreadable


def test_the_engine_is_that_of_the_daemon_that_runs() -> None:
    """What it says counts; without one what the settings say."""
    assert machine(daemon=said(engine="iptables-log")).logs_rules
    assert without_daemon(audit__engine="nftables-log").logs_rules
    assert not machine().logs_rules


def test_how_to_change_a_setting() -> None:
    """The file is named, and the signal by which a running daemon takes it."""
    assert machine().setting("audit.period", "5") == (
        "set `period = 5` under [audit] in /etc/anetcon/anetcon.toml, then `kill -HUP 100`"
    )
    assert "kill" not in without_daemon().setting("audit.period", "5")
