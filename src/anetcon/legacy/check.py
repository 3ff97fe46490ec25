"""What the doctor says of the bash ANetCon beside this one: that it runs, or starts at the next boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anetcon.doctor.finding import Finding, Severity
from anetcon.doctor.machine import Machine
from anetcon.doctor.processes import HostProcess
from anetcon.install.places import UNIT
from anetcon.legacy.find import SCRIPT, first, scripts

UNITS = ("etc/systemd/system", "lib/systemd/system", "usr/lib/systemd/system")
TAKEOVER = "`anetcon install` (with --dry-run it says how)"
"""Without a moment in which nobody records, which is for where our daemon does not run."""


def running(every: Mapping[int, HostProcess]) -> Iterator[HostProcess]:
    """Its processes, subshells left out."""
    yield from first(every)


def script(machine: Machine) -> Iterator[Finding]:
    """Whether it runs, or its unit is enabled."""
    unit = _unit(machine)
    for each in machine.others:
        means = "it writes its rules into the same namespaces: lines double, and either removes what the other needs"
        stop = f"systemctl disable --now {UNIT}" if unit else f"kill {each.pid}"
        found = f"the bash ANetCon ({SCRIPT}) runs as process {each.pid}"
        remedy = f"stop it: `{stop}`" if machine.daemon.runs else f"take over from it: {TAKEOVER}"
        yield Finding("old", Severity.PROBLEM, found, means, remedy)
    if not machine.others and unit:
        means = "at the next boot it starts beside this one, or instead of it"
        remedy = f"disable it: `systemctl disable {UNIT}`"
        yield Finding("old", Severity.WARNING, f"{unit} starts {SCRIPT} and is enabled", means, remedy)
    elif not machine.others:
        yield Finding("old", Severity.OK, f"no {SCRIPT} runs or is enabled")


def _unit(machine: Machine) -> str:
    """The unit that starts it, if that is there and enabled."""
    wants = machine.root / "etc/systemd/system/multi-user.target.wants" / UNIT
    if not wants.is_symlink() and not wants.exists():
        return ""
    starts = (f"/{folder}/{UNIT}" for folder in UNITS if scripts(machine.text(f"{folder}/{UNIT}"), machine.root))
    return next(starts, "")
