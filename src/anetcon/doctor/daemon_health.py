"""How the running daemon is doing, from status.json, the journal and /proc."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.machine import Machine, seconds
from anetcon.store.coverage import SECOND, STALE

FRESH_SECONDS = 20.0
"""The keeper writes its status every five or ten seconds, on a machine under load later."""
STUCK = {"T": "stopped", "t": "stopped by a debugger", "Z": "ended", "D": "waiting for a disk"}
UNITS = [f"{folder}/systemd/system/anetcon.service" for folder in ("etc", "lib", "usr/lib")]
OUR_UNIT = re.compile(r"^ExecStart=\S*/anetcon run\b", re.MULTILINE)
"""The bash ANetCon's has the same name."""
CHILDREN = ("capture", "follow", "kmsg")
"""The last one under LOG engines only."""


def daemon(machine: Machine) -> Iterator[Finding]:
    """Everything about it; one problem where none runs."""
    if machine.daemon.unreadable:
        yield unchecked("daemon", machine.daemon.unreadable, "be root or a member of group adm")
        return
    if not machine.daemon.runs:
        found = f"no daemon runs with the store {machine.store}"
        last = machine.daemon.status.get("updated")
        found += f"; the last one wrote its status at {last}" if last else ""
        installed = any(OUR_UNIT.search(machine.text(path)) for path in UNITS)
        remedy = "start it: `systemctl start anetcon`" if installed else "install it as a service: `anetcon install`"
        remedy += ", or `anetcon run` with the same options"
        yield Finding("daemon", Severity.PROBLEM, found, "nothing is recorded", remedy)
        return
    found_ill = [*_keeper(machine), *_children(machine), *_capture(machine), *_counted(machine), *_file(machine)]
    yield from found_ill
    if not any(each.severity in (Severity.WARNING, Severity.PROBLEM) for each in found_ill):
        found = f"the daemon runs as process {machine.daemon.pid}, and records"
        yield Finding("daemon", Severity.OK, found)


def _keeper(machine: Machine) -> Iterator[Finding]:
    updated = seconds(machine.daemon.status.get("updated"))
    if updated is None or machine.now - updated <= FRESH_SECONDS:
        return
    state = _state(machine, machine.daemon.pid)
    found = f"status.json is {machine.now - updated:.0f} s old" + (f"; the keeper is {state}" if state else "")
    means = "the keeper does not move, or cannot write the store: nobody guards the connection table"
    remedy = f"wake it: `kill -CONT {machine.daemon.pid}`; if that does not help see the daemon's log and free space"
    yield Finding("daemon", Severity.PROBLEM, found, means, remedy)


def _state(machine: Machine, pid: int | None) -> str:
    process = machine.processes.get(pid or 0)
    return STUCK.get(process.state, "") if process else ""


def _children(machine: Machine) -> Iterator[Finding]:
    for name in CHILDREN:
        said = machine.daemon.status.get(name)
        if said is None:
            continue
        pid, restarts = said.get("pid"), said.get("restarts", 0)
        state = _state(machine, pid)
        if pid is None or (machine.processes and pid not in machine.processes and machine.daemon.family):
            means = "the keeper starts it again, after a pause that grows to 10 s; what it reads waits"
            remedy = "see why it ended, in the daemon's log: `journalctl -u anetcon -n 50`"
            yield Finding("daemon", Severity.PROBLEM, f"{name} does not run", means, remedy)
        elif state and state != STUCK["D"]:
            means = "what it should read waits, as long as there is room for it"
            yield Finding("daemon", Severity.PROBLEM, f"{name} is {state}", means, f"wake it: `kill -CONT {pid}`")
        if restarts:
            found = f"{name} was started again {restarts} times since the daemon started"
            means = (
                "each time what capture had not flushed is a gap" if name == "capture" else "it reads late what waited"
            )
            remedy = "see why, in the daemon's log: `journalctl -u anetcon`; and `anetcon gaps`"
            yield Finding("daemon", Severity.NOTE, found, means, remedy)


def _capture(machine: Machine) -> Iterator[Finding]:
    status = machine.daemon.status
    started = seconds(status.get("started"))
    last = max((machine.daemon.flushed or 0) / SECOND, started or 0)
    if last and machine.now - last > STALE / SECOND:
        found = f"capture wrote the journal last {machine.now - last:.0f} s ago"
        means = "connections wait in the kernel, which drops and counts those that it has no room for"
        remedy = "see the daemon's log, and free space: `journalctl -u anetcon -n 50`"
        yield Finding("daemon", Severity.PROBLEM, found, means, remedy)
    if waits := status.get("capture", {}).get("unwritten"):
        found = f"capture cannot write the journal since {waits['since']}: {waits['reason']}"
        means = f"{waits['waiting_rows']} rows wait in memory; capture drops and counts what does not fit there"
        remedy = f"make room or mount it writable: `df -h {machine.store}`"
        yield Finding("daemon", Severity.PROBLEM, found, means, remedy)


def _counted(machine: Machine) -> Iterator[Finding]:
    for entry in machine.daemon.status.get("namespaces", []):
        name = entry["netns"]
        if entry["state"] == "retrying":
            found = f"not attached: {entry.get('message') or 'no reason given'}"
            remedy = "do what the message says; the daemon tries again by itself"
            yield Finding("attached", Severity.PROBLEM, found, "nothing is recorded here", remedy, name)
        if entry.get("undecodable"):
            found = f"{entry['undecodable']} messages that capture could not read"
            means = "each is in a gap record; this kernel sends something unknown"
            remedy = "please report it, with the daemon's log and `uname -r`"
            yield Finding("attached", Severity.WARNING, found, means, remedy, name)
        if entry.get("drops"):
            hold = machine.settings.hold
            found = f"{entry['drops']} messages did not fit into the socket at once"
            means = "in hold these are retries; what was lost is in `anetcon gaps`" if hold else "they are lost"
            remedy = "larger buffers: " + machine.setting("audit.buffer_bytes", str(8 << 20))
            yield Finding("attached", Severity.NOTE, found, means, remedy, name)


def _file(machine: Machine) -> Iterator[Finding]:
    """Whether the daemon runs with the configuration that is looked at here."""
    theirs, asked = machine.daemon.status.get("settings_file"), machine.resolved.get("settings_file")
    if theirs != asked:
        found = f"the daemon runs with {theirs or 'no configuration file'}, this looked at {asked or 'the defaults'}"
        remedy = f"ask with the same one: `anetcon doctor -c {theirs}`" if theirs else "ask with the same options"
        yield Finding(
            "daemon", Severity.NOTE, found, "what doctor says about namespaces may not fit the daemon", remedy
        )
