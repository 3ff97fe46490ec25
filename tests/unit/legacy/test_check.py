"""The bash ANetCon beside this one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from anetcon.doctor.daemon_health import daemon
from anetcon.doctor.finding import Severity
from anetcon.doctor.machine import Machine
from anetcon.legacy import check
from tests.support.doctor_parts import ill, machine, one, process, root_with, without_daemon

UNIT = "etc/systemd/system/anetcon.service"
WANTS = "etc/systemd/system/multi-user.target.wants/anetcon.service"
RUNNING = {
    10: process(10, "anetcon.sh", "/bin/bash", "/usr/sbin/anetcon.sh", "-c", "/etc/anetcon.conf"),
    11: process(11, "anetcon.sh", "/bin/bash", "/usr/sbin/anetcon.sh", "-c", "/etc/anetcon.conf", parent=10),
    12: process(12, "vi", "vi", "x", "y", "/usr/sbin/anetcon.sh"),
    13: process(13, "anetcon-keeper", "python", "-m", "anetcon.keeper.main"),
}


def beside(machine: Machine) -> Machine:
    """That machine, with the script running on it."""
    return dataclasses.replace(machine, processes=RUNNING, others=tuple(check.running(RUNNING)))


def test_the_script_runs(tmp_path: Path) -> None:
    """It is found once, its subshells aside; the remedy ends it, or its unit where that would start it again. Where no
    daemon records it is to be taken over from."""
    seen = beside(machine(tmp_path))
    found = one(check.script(seen))
    assert (found.severity, "`kill 10`" in found.remedy) == (Severity.PROBLEM, True)
    root_with(tmp_path, {UNIT: "ExecStart=/usr/sbin/anetcon.sh\n", WANTS: ""})
    assert "`systemctl disable --now anetcon.service`" in one(check.script(seen)).remedy
    alone = beside(without_daemon(tmp_path))
    assert "`anetcon install`" in one(check.script(alone)).remedy
    assert "`anetcon install`" in one(daemon(alone)).remedy, "its unit may have the name of ours"


def test_the_unit_is_enabled(tmp_path: Path) -> None:
    """One that would start at the next boot is a warning; a unit of ours is none."""
    root_with(tmp_path, {UNIT: "ExecStart=/usr/sbin/anetcon.sh\n"})
    assert ill(check.script(machine(tmp_path))) == []
    root_with(tmp_path, {WANTS: ""})
    assert "systemctl disable anetcon.service" in one(check.script(machine(tmp_path))).remedy
    root_with(tmp_path, {UNIT: "ExecStart=/usr/bin/anetcon run\n"})
    assert ill(check.script(machine(tmp_path))) == []
