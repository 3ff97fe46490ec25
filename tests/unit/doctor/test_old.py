"""The bash ANetCon beside this one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from anetcon.doctor import old
from anetcon.doctor.daemon_health import daemon
from anetcon.doctor.finding import Severity
from tests.support.doctor_parts import ill, machine, one, process, root_with, without_daemon

UNIT = "etc/systemd/system/anetcon.service"
WANTS = "etc/systemd/system/multi-user.target.wants/anetcon.service"
RUNNING = {
    10: process(10, "anetcon.sh", "/bin/bash", "/usr/sbin/anetcon.sh", "-c", "/etc/anetcon.conf"),
    11: process(11, "anetcon.sh", "/bin/bash", "/usr/sbin/anetcon.sh", "-c", "/etc/anetcon.conf", parent=10),
    12: process(12, "vi", "vi", "x", "y", "/usr/sbin/anetcon.sh"),
    13: process(13, "anetcon-keeper", "python", "-m", "anetcon.keeper.main"),
}


def test_the_script_runs(tmp_path: Path) -> None:
    """It is found once, its subshells aside; the remedy ends it, or its unit where that would start it again. Where no
    daemon records it is to be taken over from."""
    seen = dataclasses.replace(machine(tmp_path), processes=RUNNING)
    found = one(old.script(seen))
    assert (found.severity, "`kill 10`" in found.remedy) == (Severity.PROBLEM, True)
    root_with(tmp_path, {UNIT: "ExecStart=/usr/sbin/anetcon.sh\n", WANTS: ""})
    assert "`systemctl disable --now anetcon.service`" in one(old.script(seen)).remedy
    alone = dataclasses.replace(without_daemon(tmp_path), processes=RUNNING)
    assert "`anetcon install`" in one(old.script(alone)).remedy
    assert "`anetcon install`" in one(daemon(alone)).remedy, "its unit may have the name of ours"


def test_the_unit_is_enabled(tmp_path: Path) -> None:
    """One that would start at the next boot is a warning; a unit of ours is none."""
    root_with(tmp_path, {UNIT: "ExecStart=/usr/sbin/anetcon.sh\n"})
    assert ill(old.script(machine(tmp_path))) == []
    root_with(tmp_path, {WANTS: ""})
    assert "systemctl disable anetcon.service" in one(old.script(machine(tmp_path))).remedy
    root_with(tmp_path, {UNIT: "ExecStart=/usr/bin/anetcon run\n"})
    assert ill(old.script(machine(tmp_path))) == []


def test_what_it_left_of_syslog_s_configuration(tmp_path: Path) -> None:
    """Beside a LOG engine that writes itself the lines would be doubled; otherwise the file is only left over."""
    root_with(tmp_path, {old.RSYSLOG: ':msg, contains, "[ANETCON]" /var/log/anetcon/anetcon.nat.log\n'})
    assert one(old.files(machine(tmp_path))).severity is Severity.NOTE
    log = without_daemon(tmp_path, audit__engine="iptables-log", logs__writer="anetcon")
    assert one(old.files(log)).severity is Severity.WARNING
    theirs = without_daemon(tmp_path, audit__engine="iptables-log", logs__writer="rsyslog")
    assert "systemctl start rsyslog" in one(old.files(theirs)).remedy
    assert list(old.files(dataclasses.replace(theirs, processes={9: process(9, "rsyslogd")}))) == []


def test_a_rotation_that_restarts_the_daemon(tmp_path: Path) -> None:
    """Each rotation would be a gap."""
    root_with(tmp_path, {old.LOGROTATE: "postrotate\n systemctl restart anetcon\nendscript\n"})
    assert "`anetcon config logrotate >/etc/logrotate.d/anetcon`" in one(old.files(machine(tmp_path))).remedy
    root_with(tmp_path, {old.LOGROTATE: "postrotate\n systemctl kill -s HUP anetcon\nendscript\n"})
    assert list(old.files(machine(tmp_path))) == []
