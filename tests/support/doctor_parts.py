"""A machine and a namespace in which all is well, for tests to spoil."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anetcon.config.load import load
from anetcon.doctor.finding import Finding, Severity
from anetcon.doctor.look import NamespaceLook
from anetcon.doctor.machine import DaemonState, Machine
from anetcon.doctor.processes import HostProcess

NOW = 1_795_000_000.0
KEEPER, CAPTURE, FOLLOW = 100, 101, 102
STATUS = {
    "pid": KEEPER,
    "started": "2026-11-18T11:00:00.000000Z",
    "updated": "2026-11-18T11:06:39.000000Z",
    "settings_file": None,
    "capture": {"pid": CAPTURE, "restarts": 0},
    "follow": {"pid": FOLLOW, "restarts": 0},
    "totals": {"unwritten": 0},
    "namespaces": [
        {
            "netns": "qrouter-1",
            "inode": 9,
            "state": "attached",
            "since": "2026-11-18T11:00:00.000000Z",
            "message": None,
            "drops": 0,
            "undecodable": 0,
        }
    ],
}
"""What a daemon that is well said a second before NOW."""

DAEMON = DaemonState(KEEPER, frozenset({KEEPER, CAPTURE, FOLLOW}), STATUS, int((NOW - 1) * 1_000_000))


def process(pid: int, name: str, *words: str, state: str = "S", parent: int = 1) -> HostProcess:
    """A process."""
    return HostProcess(pid, parent, name, state, words)


PROCESSES = {
    KEEPER: process(KEEPER, "anetcon-keeper"),
    CAPTURE: process(CAPTURE, "anetcon-capture", parent=KEEPER),
    FOLLOW: process(FOLLOW, "anetcon-follow", parent=KEEPER),
    7: process(7, "conntrack", "conntrack", "-E"),
}


def machine(root: Path = Path("/nowhere"), daemon: DaemonState = DAEMON, **settings: Any) -> Machine:
    """A machine with a daemon; settings by `table__key`."""
    resolved: dict[str, Any] = load(None, environment={}).resolved()
    resolved["settings_file"] = None
    for name, value in settings.items():
        table, _, key = name.partition("__")
        resolved[table][key] = value
    return Machine(resolved, daemon, PROCESSES, {50: (KEEPER, CAPTURE)}, root, NOW)


def without_daemon(root: Path = Path("/nowhere"), **settings: Any) -> Machine:
    """A machine on which none runs."""
    return dataclasses.replace(machine(root, DaemonState(), **settings), processes={}, owners={})


def said(**changes: Any) -> DaemonState:
    """A daemon whose status differs."""
    return dataclasses.replace(DAEMON, status=STATUS | changes)


def look(**changes: Any) -> NamespaceLook:
    """The namespace qrouter-1."""
    sysctls = {
        **{f"nf_conntrack_{name}": "1" for name in ("events", "timestamp", "acct")},
        "nf_conntrack_count": "5",
        "nf_conntrack_max": "1000",
        "nf_conntrack_buckets": "1000",
    }
    made = NamespaceLook("qrouter-1", Path("/run/netns/qrouter-1"), inode=9, sysctls=sysctls)
    return dataclasses.replace(made, **changes)


def ill(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are not well. Each says what it means and what to do."""
    found = [each for each in findings if each.severity is not Severity.OK]
    for each in found:
        assert each.found, each
        assert each.means, each
        assert each.remedy, each
        assert not each.found.endswith("."), each
    return found


def one(findings: Iterable[Finding]) -> Finding:
    """The only one that is not well."""
    (found,) = ill(findings)
    return found


def root_with(folder: Path, files: dict[str, str]) -> Path:
    """A folder that stands for the root of the file system."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
