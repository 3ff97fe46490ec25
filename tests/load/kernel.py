"""What conntrack itself counts in a namespace, how to make it end what has expired, and the one switch of the machine's
that the LOG engines need.

An expired connection stays in the table, and its END is not sent, until somebody walks over it: a lookup, a dump, or
the kernel's own collector, which may take a minute. A dump walks over all there are, in every namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from anetcon.errors import AnetconError
from anetcon.testbed.bed import Namespace
from tests.support.waiting import wait_until

NETLINK_NETFILTER = 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
IPCTNL_MSG_CT_GET = 1 << 8 | 1
NLM_F_REQUEST_DUMP = 0x301

LOG_ALL_NETNS = Path("/proc/sys/net/netfilter/nf_log_all_netns")
LOG_LOCK = Path("/run/lock/anetcon-nf-log.lock")

FAILURES = ("insert_failed", "drop", "early_drop")
"""Columns of the statistics that say a packet was refused or a connection thrown out before its time."""


def count(namespace: Namespace) -> int:
    """Connections in the namespace's table now."""
    with namespace.inside():
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())


def statistics(namespace: Namespace) -> dict[str, int]:
    """Conntrack's own counters since the namespace exists, summed over the processors."""
    with namespace.inside():
        head, *rows = Path("/proc/thread-self/net/stat/nf_conntrack").read_text().splitlines()
    columns = zip(*(row.split() for row in rows), strict=True)
    return {name: sum(int(v, 16) for v in column) for name, column in zip(head.split(), columns, strict=True)}


def failures(namespaces: Sequence[Namespace]) -> dict[str, int]:
    """Every refusal that conntrack counted in the namespaces; empty when each packet made its connection."""
    totals = {name: sum(statistics(namespace)[name] for namespace in namespaces) for name in FAILURES}
    return {name: value for name, value in totals.items() if value}


def queued(namespace: Namespace) -> dict[int, int]:
    """Bytes that wait in each netfilter netlink socket of the namespace, by its port id (mostly the process id)."""
    with namespace.inside():
        rows = [row.split() for row in Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]]
    return {int(row[2]): int(row[4]) for row in rows if int(row[1]) == NETLINK_NETFILTER and row[2] != "0"}


def dump(namespace: Namespace) -> None:
    """Ask ctnetlink for every connection and throw the answer away."""
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.send(struct.pack("=IHHIIBBH", 20, IPCTNL_MSG_CT_GET, NLM_F_REQUEST_DUMP, 1, 0, 0, 0, 0))
        while struct.unpack_from("=IH", netlink.recv(1 << 16))[1] not in (NLMSG_ERROR, NLMSG_DONE):
            pass


def wait_empty(namespaces: Sequence[Namespace], seconds: float = 30.0) -> None:
    """Dump until every connection has expired and ended; AssertionError when that takes longer."""

    def empty() -> bool:
        left = sum(count(namespace) for namespace in namespaces)
        if left:
            dump(namespaces[0])
        return not left

    wait_until(empty, seconds, "every connection has left the table", every=0.05)


@contextlib.contextmanager
def log_all_netns(value: int = 1) -> Iterator[None]:
    """Inside the block the kernel prints what LOG rules of every namespace say (with `value` 0 of the first alone).

    For the whole machine, so one process at a time is inside, the others wait; not to be nested. What the switch was
    before is put back, by the next one inside if this process is killed. The caller is in the first namespace.
    """
    if not LOG_ALL_NETNS.exists():
        raise AnetconError(f"{LOG_ALL_NETNS} is not there: LOG rules can be tried from the first namespace only")
    lock = os.open(LOG_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = os.pread(lock, 16, 0).decode() or LOG_ALL_NETNS.read_text().strip()
        os.pwrite(lock, found.encode(), 0)
        LOG_ALL_NETNS.write_text(str(value))
        try:
            yield
        finally:
            LOG_ALL_NETNS.write_text(found)
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)
