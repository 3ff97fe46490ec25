"""Syslog and logrotate, configured for somebody else than writes the text logs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from anetcon.doctor import text_logs
from anetcon.doctor.finding import Severity
from tests.support.doctor_parts import machine, one, process, root_with, without_daemon


def test_what_is_left_of_syslog_s_configuration(tmp_path: Path) -> None:
    """Beside a LOG engine that writes itself the lines would be doubled; otherwise the file is only left over."""
    root_with(tmp_path, {text_logs.RSYSLOG: ':msg, contains, "[ANETCON]" /var/log/anetcon/anetcon.nat.log\n'})
    assert one(text_logs.files(machine(tmp_path))).severity is Severity.NOTE
    log = without_daemon(tmp_path, audit__engine="iptables-log", logs__writer="anetcon")
    assert one(text_logs.files(log)).severity is Severity.WARNING
    theirs = without_daemon(tmp_path, audit__engine="iptables-log", logs__writer="rsyslog")
    assert "systemctl start rsyslog" in one(text_logs.files(theirs)).remedy
    assert list(text_logs.files(dataclasses.replace(theirs, processes={9: process(9, "rsyslogd")}))) == []


def test_a_rotation_that_restarts_the_daemon(tmp_path: Path) -> None:
    """Each rotation would be a gap."""
    root_with(tmp_path, {text_logs.LOGROTATE: "postrotate\n systemctl restart anetcon\nendscript\n"})
    assert "`anetcon config logrotate >/etc/logrotate.d/anetcon`" in one(text_logs.files(machine(tmp_path))).remedy
    root_with(tmp_path, {text_logs.LOGROTATE: "postrotate\n systemctl kill -s HUP anetcon\nendscript\n"})
    assert list(text_logs.files(machine(tmp_path))) == []
