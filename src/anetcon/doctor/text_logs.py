"""Whether syslog and logrotate are configured for who writes the text logs now."""

from __future__ import annotations

from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity
from anetcon.doctor.machine import Machine

RSYSLOG = "etc/rsyslog.d/30-anetcon.conf"
LOGROTATE = "etc/logrotate.d/anetcon"


def _runs(machine: Machine, name: str) -> bool:
    return any(each.name == name for each in machine.processes.values())


def files(machine: Machine) -> Iterator[Finding]:
    """Configuration of syslog and of logrotate that does not fit who writes the text logs now."""
    logs = machine.resolved["logs"]
    if machine.logs_rules and logs["enabled"] and logs["writer"] == "anetcon" and machine.text(RSYSLOG):
        means = "rsyslog writes the kernel's lines into the text logs, as the daemon does: every line is there twice"
        remedy = (
            f'let one of them write: set `writer = "rsyslog"` under [logs] in {machine.file}, '
            f"or remove it: `rm /{RSYSLOG} && systemctl restart rsyslog`"
        )
        yield Finding("syslog", Severity.WARNING, f"/{RSYSLOG} is there", means, remedy)
    elif machine.logs_rules and logs["enabled"] and logs["writer"] == "rsyslog" and not _runs(machine, "rsyslogd"):
        means = "logs.writer leaves the two text logs to rsyslog: they get no line (the store has all)"
        yield Finding("syslog", Severity.WARNING, "no rsyslogd runs", means, "start it: `systemctl start rsyslog`")
    elif not machine.logs_rules and "anetcon" in machine.text(RSYSLOG).lower():
        means = "it sorts the lines of LOG rules, of which this engine has none; lines of rules left over come twice"
        remedy = f"remove it once no such rule is left: `rm /{RSYSLOG} && systemctl restart rsyslog`"
        yield Finding("syslog", Severity.NOTE, f"/{RSYSLOG} is left of a LOG engine", means, remedy)
    rotation = machine.text(LOGROTATE)
    if "restart anetcon" in rotation:
        means = "at every rotation the daemon is restarted, which makes a gap each time"
        remedy = f"let it send a signal instead: `anetcon config logrotate >/{LOGROTATE}`"
        yield Finding("syslog", Severity.WARNING, f"/{LOGROTATE} restarts the daemon", means, remedy)
