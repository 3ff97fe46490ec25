"""Who else listens to conntrack's events in a namespace, and whether we do.

Whether a stranger listens reliably (NETLINK_BROADCAST_ERROR) cannot be seen from outside. What can is whether it
reads: bytes that wait in its socket, and messages it lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.look import NamespaceLook, NetlinkSocket
from anetcon.doctor.machine import Machine
from anetcon.system import syscalls as sc

NEW, UPDATE, DESTROY = 1, 2, 4
NAMES = {NEW: "NEW", UPDATE: "UPDATE", DESTROY: "DESTROY"}
BEHIND = 64 << 10
"""Bytes in a socket from which on its owner is said not to read."""


def of_conntrack(look: NamespaceLook) -> list[NetlinkSocket]:
    """The sockets that get events of connections."""
    groups = NEW | UPDATE | DESTROY
    return [each for each in look.sockets if each.protocol == sc.NETLINK_NETFILTER and each.groups & groups]


def others(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Listeners that are not ours."""
    strangers = [each for each in of_conntrack(look) if not machine.daemon.family & set(_owners(each, machine))]
    for each in strangers if look.audited else []:
        yield _stranger(look, machine, each)
    if look.audited and not strangers:
        yield Finding("listeners", Severity.OK, "nobody else listens to conntrack", netns=look.netns)


def ours(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Where the daemon says that it listens, it has a socket that does."""
    if machine.logs_rules or not look.audited or machine.daemon.state(look.netns) != "attached":
        return
    mine = [each for each in of_conntrack(look) if machine.daemon.family & set(_owners(each, machine))]
    if any(each.groups & DESTROY for each in mine):
        yield Finding("attached", Severity.OK, "the daemon listens here", netns=look.netns)
    elif not any(machine.owners.values()):
        yield unchecked(
            "attached",
            "doctor cannot see whose sockets these are",
            "run `anetcon doctor` as root in the daemon's pid namespace",
            look.netns,
        )
    else:
        means = "the daemon says it is attached, yet has no socket here that gets ends: nothing is recorded"
        remedy = f"start it again: `kill -TERM {machine.daemon.pid}`, then as it is usually started"
        yield Finding("attached", Severity.PROBLEM, "no socket of the daemon's", means, remedy, look.netns)


def _owners(each: NetlinkSocket, machine: Machine) -> tuple[int, ...]:
    return machine.owners.get(each.inode, ())


def _stranger(look: NamespaceLook, machine: Machine, each: NetlinkSocket) -> Finding:
    pids = _owners(each, machine)
    who = ", ".join(f"{machine.processes[pid].name} (process {pid})" for pid in pids if pid in machine.processes)
    groups = "+".join(name for bit, name in NAMES.items() if each.groups & bit)
    found = f"{who or 'a process that cannot be seen from here'} listens to {groups}"
    found += f", has {each.waiting} bytes unread" if each.waiting else ""
    found += f", lost {each.drops} messages" if each.drops else ""
    numbers = " ".join(map(str, pids))
    remedy = f"if nobody needs it, end it: `kill {numbers}`" if pids else "find it on the host: `ss -f netlink -p`"
    if any(machine.processes[pid].name.startswith("anetcon-") for pid in pids if pid in machine.processes):
        means = (
            "another ANetCon, with another store, audits this namespace too; each of the two guards its own hold only"
        )
        remedy = f"look at its own settings: `ps -o args= {numbers}`; if nobody needs it, end its anetcon-keeper"
        return Finding("listeners", Severity.NOTE, found, means, remedy, look.netns)
    if each.waiting >= BEHIND:
        means = (
            "it does not keep up or does not read. In reliable mode (which cannot be seen from outside) ends stay in "
            "the table until it reads: the table fills, ends come many times and late"
        )
        return Finding("listeners", Severity.WARNING, found, means, remedy, look.netns)
    means = "it costs some speed; if it listens in reliable mode and stops reading, ends stay in the table"
    return Finding("listeners", Severity.NOTE, found, means, remedy, look.netns)
