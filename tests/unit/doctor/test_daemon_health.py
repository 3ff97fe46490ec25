"""The running daemon, by what it says of itself."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anetcon.doctor.daemon_health import daemon
from anetcon.doctor.finding import Severity
from anetcon.doctor.machine import DaemonState
from anetcon.install.unit import unit_text
from tests.support.doctor_parts import (
    CAPTURE,
    DAEMON,
    KEEPER,
    NOW,
    PROCESSES,
    STATUS,
    ill,
    machine,
    one,
    said,
    without_daemon,
)

FULL = {"since": "noon", "reason": "No space left on device", "waiting_rows": 5}
ENTRY: dict[str, Any] = dict(STATUS["namespaces"][0])  # type: ignore[index]


def test_one_that_is_well() -> None:
    """Nothing but that it runs."""
    assert datetime.fromtimestamp(NOW, UTC).isoformat() == "2026-11-18T11:06:40+00:00"
    (found,) = daemon(machine())
    assert (found.severity, found.found) == (Severity.OK, "the daemon runs as process 100, and records")


def test_none(tmp_path: Path) -> None:
    """Nothing is recorded, be it that none ever ran: a problem, with how to come by one."""
    found = one(daemon(without_daemon(tmp_path)))
    assert (found.severity, "`anetcon install`" in found.remedy) == (Severity.PROBLEM, True)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/anetcon.service").write_text(unit_text("/usr/local/bin/anetcon"))
    assert "`systemctl start anetcon`" in one(daemon(without_daemon(tmp_path))).remedy
    gone = DaemonState(status=STATUS)
    found = one(daemon(dataclasses.replace(machine(), daemon=gone)))
    assert (found.severity, "2026-11-18T11:06:39" in found.found) == (Severity.PROBLEM, True)
    assert not one(daemon(machine(daemon=DaemonState(unreadable="cannot read")))).checked


@pytest.mark.parametrize(
    ("changes", "severity", "words"),
    [
        ({"updated": "2026-11-18T11:06:10.000000Z"}, Severity.PROBLEM, "status.json is 30 s old"),
        ({"capture": {"pid": None, "restarts": 0}}, Severity.PROBLEM, "capture does not run"),
        ({"capture": {"pid": 999, "restarts": 0}}, Severity.PROBLEM, "capture does not run"),
        ({"follow": {"pid": 102, "restarts": 3}}, Severity.NOTE, "follow was started again 3 times"),
        ({"capture": STATUS["capture"] | {"unwritten": FULL}}, Severity.PROBLEM, "since noon: No space left"),  # type: ignore[operator]
        ({"kmsg": {"pid": None, "restarts": 0}}, Severity.PROBLEM, "kmsg does not run"),
        ({"namespaces": [ENTRY | {"state": "retrying", "message": "gone"}]}, Severity.PROBLEM, "not attached: gone"),
        ({"namespaces": [ENTRY | {"undecodable": 1}]}, Severity.WARNING, "1 messages that capture could not read"),
        ({"namespaces": [ENTRY | {"drops": 5}]}, Severity.NOTE, "5 messages did not fit"),
        ({"settings_file": "/etc/x.toml"}, Severity.NOTE, "the daemon runs with /etc/x.toml"),
    ],
)
def test_what_may_be_wrong(changes: dict[str, Any], severity: Severity, words: str) -> None:
    """Each is one finding, with what to do."""
    found = one(daemon(machine(daemon=said(**changes))))
    assert found.severity is severity
    assert words in found.found


def test_a_capture_that_does_not_move() -> None:
    """It is told by the journal, not by what the keeper says."""
    stuck = dataclasses.replace(DAEMON, flushed=int((NOW - 100) * 1e6))
    assert "capture wrote the journal last 100 s ago" in one(daemon(machine(daemon=stuck))).found


@pytest.mark.parametrize("pid", [CAPTURE, KEEPER])
def test_a_process_that_is_stopped(pid: int) -> None:
    """It is named, with the command that wakes it."""
    stopped = dataclasses.replace(PROCESSES[pid], state="T")
    daemon_then = said(updated="2026-11-18T11:06:00.000000Z") if pid == KEEPER else DAEMON
    seen = dataclasses.replace(machine(daemon=daemon_then), processes={**PROCESSES, pid: stopped})
    found = one(daemon(seen))
    assert "stopped" in found.found
    assert f"`kill -CONT {pid}`" in found.remedy
    assert ill([found]) == [found]
