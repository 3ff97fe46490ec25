"""The host around the audit: memory, processors, inotify, containers, the folder of namespaces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from anetcon.doctor.finding import Finding, Severity
from anetcon.doctor.machine import Machine

FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""The kernel's first pid namespace (linux/proc_ns.h, PROC_PID_INIT_INO)."""
LOG_ALL_NETNS = "/proc/sys/net/netfilter/nf_log_all_netns"
MEMORY_SHARE = 0.25
_MEMORY = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


def memory(machine: Machine, namespaces: int) -> Iterator[Finding]:
    """Whether the receive buffers, all full, fit: they are the kernel's memory, outside any limit of a unit."""
    there = {name: int(value) << 10 for name, value in _MEMORY.findall(machine.text("/proc/meminfo"))}
    audit = machine.resolved["audit"]
    asked = min(audit["buffers_total_bytes"], 2 * audit["buffer_bytes"] * max(1, namespaces))
    if "MemTotal" not in there or machine.logs_rules:
        return
    found = f"buffers may grow to {asked >> 20} MiB, {there.get('MemAvailable', 0) >> 20} MiB are available"
    if asked > min(MEMORY_SHARE * there["MemTotal"], there.get("MemAvailable", there["MemTotal"])):
        means = "a burst in all namespaces could take the memory that the host needs"
        smaller = max(16 << 20, int(MEMORY_SHARE * there["MemTotal"]) // 2)
        remedy = machine.setting("audit.buffers_total_bytes", str(smaller))
        yield Finding("memory", Severity.WARNING, found, means, remedy)
    else:
        yield Finding("memory", Severity.OK, found)


def processors(machine: Machine) -> Iterator[Finding]:
    """Whether there is a processor left."""
    count = os.cpu_count() or 1
    load = machine.text("/proc/loadavg").split()[:1]
    found = f"{count} processors, load {load[0] if load else 'unknown'}"
    if load and float(load[0]) > 2 * count:
        means = "capture gets its turn late: in bursts the kernel holds ends back and may drop starts"
        remedy = "see what runs: `top -b -n 1 -o %CPU`; give the daemon's unit a larger CPUWeight="
        yield Finding("processors", Severity.NOTE, found, means, remedy)
    else:
        yield Finding("processors", Severity.OK, found)


def containers(machine: Machine, own_namespace: str) -> Iterator[Finding]:
    """Whether we see the whole machine. `own_namespace` is what /proc/self/ns/pid says."""
    first_network = (machine.root / LOG_ALL_NETNS.lstrip("/")).exists() or not _conntrack(machine)
    if own_namespace and own_namespace != FIRST_PID_NAMESPACE:
        found = "this runs in a pid namespace of its own, as in a container"
        means = "doctor cannot see the host's other processes: who listens, whether an old daemon runs"
        remedy = "run the container with the host's: `--pid=host`"
        yield Finding("container", Severity.NOTE, found, means, remedy)
    if not first_network:
        severity = Severity.PROBLEM if machine.logs_rules else Severity.NOTE
        if machine.settings.with_default:
            severity = max(severity, Severity.WARNING, key=lambda each: each.rank)
        found = "this runs in a network namespace that is not the host's"
        means = "`default` is the container's namespace, and the daemon cannot set nf_log_all_netns from here"
        yield Finding("container", severity, found, means, "run the container with the host's: `--network=host`")
    elif own_namespace in ("", FIRST_PID_NAMESPACE):
        yield Finding("container", Severity.OK, "this runs in the host's network and pid namespace")


def _conntrack(machine: Machine) -> bool:
    return (machine.root / "proc/sys/net/netfilter/nf_conntrack_max").exists()


def log_switch(machine: Machine) -> Iterator[Finding]:
    """LOG engines: whether the kernel prints lines of other namespaces."""
    value = machine.text(LOG_ALL_NETNS).strip()
    if not machine.logs_rules or not value:
        return
    if value != "1" and machine.daemon.runs:
        means = "LOG rules in other namespaces print nothing: no connection there is recorded"
        remedy = "the daemon puts it back every period; at once: `sysctl -w net.netfilter.nf_log_all_netns=1`"
        yield Finding("log-switch", Severity.PROBLEM, "nf_log_all_netns is 0", means, remedy)
    else:
        yield Finding("log-switch", Severity.OK, f"nf_log_all_netns is {value}; the daemon sets it to 1")


def inotify(machine: Machine) -> Iterator[Finding]:
    """Whether the daemon gets the one inotify instance by which it sees new namespaces."""
    limit = machine.text("/proc/sys/fs/inotify/max_user_instances").strip()
    if limit.isdecimal() and int(limit) < 16:
        means = "the daemon needs one to see new namespaces, and other programs of root need theirs"
        remedy = "raise it: `sysctl -w fs.inotify.max_user_instances=128`"
        yield Finding("inotify", Severity.WARNING, f"a user may have {limit} inotify instances", means, remedy)
    elif limit:
        yield Finding("inotify", Severity.OK, f"a user may have {limit} inotify instances")


def folder(machine: Machine, plain: list[str]) -> Iterator[Finding]:
    """Whether names in the folder of namespaces are namespaces. `plain` are selected names that are plain files."""
    where = Path(machine.settings.netns_dir)
    for name in plain:
        found = f"{where / name} is a plain file, no namespace is mounted on it"
        means = "somebody left it behind, or mounted a namespace where we do not see it, which nobody audits then"
        remedy = (
            f"see on the host: `findmnt {where / name}`; a container needs the folder mounted with rslave "
            f"(`-v {where}:{where}:rslave`)"
        )
        yield Finding("folder", Severity.WARNING, found, means, remedy)
    if machine.daemon.pid:
        yield from _propagation(machine, where)


def _propagation(machine: Machine, where: Path) -> Iterator[Finding]:
    """Whether mounts made later will be seen by the daemon, when it has mounts of its own."""
    theirs = machine.text(f"/proc/{machine.daemon.pid}/mountinfo")
    mount = mount_of(where, theirs)
    if not theirs or mount is None or _same_mounts(machine):
        return
    if not mount.propagates:
        found = f"the daemon has mounts of its own, and {mount.point} in them gets no new ones"
        means = "a namespace made from now on is a plain file for the daemon, and not audited"
        remedy = f"set `MountFlags=slave` in its unit, or give its container `-v {where}:{where}:rslave`"
        yield Finding("folder", Severity.PROBLEM, found, means, remedy)
    else:
        yield Finding("folder", Severity.OK, f"the daemon sees what is mounted below {mount.point}")


def _same_mounts(machine: Machine) -> bool:
    """Whether the daemon has the mounts of this process."""
    links = (machine.root / "proc" / pid / "ns/mnt" for pid in ("self", str(machine.daemon.pid)))
    try:
        return len({str(link.readlink()) for link in links}) == 1
    except OSError:
        return False


class Mount:
    """A line of /proc/PID/mountinfo."""

    def __init__(self, line: str) -> None:
        before, _, after = line.partition(" - ")
        cells = before.split()
        self.point = cells[4].encode().decode("unicode_escape")
        self.options = set(cells[5].split(","))
        self.propagates = any(cell.startswith(("shared:", "master:")) for cell in cells[6:])
        rest = after.split()
        self.kind = rest[0]
        self.source = rest[1] if len(rest) > 1 else ""


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """The mount that a path is on; the last of those on one point, which hides the others."""
    found = None
    for line in mountinfo.splitlines():
        try:
            mount = Mount(line)
        except (IndexError, ValueError):
            continue
        if path.is_relative_to(mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found
