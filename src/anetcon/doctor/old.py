"""The bash ANetCon beside this one: running, enabled, or what it left of syslog's and logrotate's configuration."""

from __future__ import annotations

from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity
from anetcon.doctor.machine import OLD_SCRIPT, Machine

UNIT = "anetcon.service"
UNITS = ("etc/systemd/system", "lib/systemd/system", "usr/lib/systemd/system")
TAKEOVER = "`anetcon install` (with --dry-run it says how)"
"""Without a moment in which nobody records, which is for where our daemon does not run."""
RSYSLOG = "etc/rsyslog.d/30-anetcon.conf"
LOGROTATE = "etc/logrotate.d/anetcon"


def script(machine: Machine) -> Iterator[Finding]:
    """The old daemon itself."""
    found = machine.old_daemons
    pids = {each.pid for each in found}
    first = [each for each in found if each.parent not in pids]
    for each in first:
        means = "it writes its rules into the same namespaces: lines double, and either removes what the other needs"
        unit = _unit(machine)
        stop = f"systemctl disable --now {UNIT}" if unit else f"kill {each.pid}"
        found_text = f"the old {OLD_SCRIPT} runs as process {each.pid}"
        remedy = f"stop it: `{stop}`" if machine.daemon.runs else f"take over from it: {TAKEOVER}"
        yield Finding("old", Severity.PROBLEM, found_text, means, remedy)
    if not first and (unit := _unit(machine)):
        means = "at the next boot it starts beside this one, or instead of it"
        remedy = f"disable it: `systemctl disable {UNIT}`"
        yield Finding("old", Severity.WARNING, f"{unit} starts {OLD_SCRIPT} and is enabled", means, remedy)
    elif not first:
        yield Finding("old", Severity.OK, f"no {OLD_SCRIPT} runs or is enabled")


def _unit(machine: Machine) -> str:
    """The unit that starts the old script, if it is there and enabled."""
    wants = machine.root / "etc/systemd/system/multi-user.target.wants" / UNIT
    if not wants.is_symlink() and not wants.exists():
        return ""
    starts = (f"/{folder}/{UNIT}" for folder in UNITS if OLD_SCRIPT in machine.text(f"{folder}/{UNIT}"))
    return next(starts, "")


def _runs(machine: Machine, name: str) -> bool:
    return any(each.name == name for each in machine.processes.values())


def files(machine: Machine) -> Iterator[Finding]:
    """Configuration of syslog and of logrotate that does not fit who writes the text logs now."""
    logs = machine.resolved["logs"]
    if machine.logs_rules and logs["enabled"] and logs["writer"] == "anetcon" and machine.text(RSYSLOG):
        means = "rsyslog writes the kernel's lines into the text logs, and so do we: every line is there twice"
        remedy = (
            f'let one of them write: set `writer = "rsyslog"` under [logs] in {machine.file}, '
            f"or remove it: `rm /{RSYSLOG} && systemctl restart rsyslog`"
        )
        yield Finding("syslog", Severity.WARNING, f"/{RSYSLOG} is there", means, remedy)
    elif machine.logs_rules and logs["enabled"] and logs["writer"] == "rsyslog" and not _runs(machine, "rsyslogd"):
        means = "logs.writer leaves the two text logs to it: they get no line (the store has all)"
        yield Finding("syslog", Severity.WARNING, "no rsyslogd runs", means, "start it: `systemctl start rsyslog`")
    elif not machine.logs_rules and "anetcon" in machine.text(RSYSLOG).lower():
        means = "it sorts the lines of LOG rules, of which this engine has none; lines of old rules would be doubled"
        remedy = f"remove it once no old rule is left: `rm /{RSYSLOG} && systemctl restart rsyslog`"
        yield Finding("syslog", Severity.NOTE, f"/{RSYSLOG} is left of the old one", means, remedy)
    rotation = machine.text(LOGROTATE)
    if OLD_SCRIPT in rotation or "restart anetcon" in rotation:
        means = "at every rotation the daemon is restarted, which makes a gap each time"
        remedy = f"let it send a signal instead: `anetcon config logrotate >/{LOGROTATE}`"
        yield Finding("syslog", Severity.WARNING, f"/{LOGROTATE} restarts the daemon", means, remedy)
