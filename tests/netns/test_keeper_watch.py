"""What somebody switches off in a namespace is put back and told; what a full table refuses is counted."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anetcon.keeper.watched import CAUSES
from anetcon.netlink.ct_sysctls import SYSCTLS
from anetcon.system import syscalls as sc
from anetcon.testbed.bed import Namespace, Testbed
from tests.support.keeper_daemon import TRACKING, Daemon, ours
from tests.support.waiting import wait_until

SLACK = 10_000_000
"""Microseconds by which a gap may be wider than the fault on a busy machine; on a quiet one it is one look."""


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    """A namespace in which connections are tracked."""
    made = bed.namespace("watched")
    made.run("ip", "link", "set", "lo", "up")
    made.run("nft", "-f", "-", text=TRACKING)
    return made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A keeper, not started yet."""
    keeper = Daemon(tmp_path, [ours()])
    yield keeper
    keeper.close()


def attached(daemon: Daemon, namespace: Namespace) -> None:
    """Start the daemon, and wait until it watches the namespace."""
    daemon.run().wait_heard("attach", netns=namespace.name)
    daemon.wait_watched()


def now() -> int:
    """Microseconds of wall clock."""
    return time.time_ns() // 1000


def value(namespace: Namespace, name: str) -> str:
    """A sysctl of the namespace."""
    return namespace.run("cat", f"/proc/sys/net/netfilter/{name}").strip()


def told(daemon: Daemon, namespace: Namespace, cause: str) -> dict[str, Any]:
    """The one gap of a cause that capture was told."""
    gap = daemon.wait_heard("gap", 10, netns=namespace.name, cause=cause)
    assert len(daemon.heard("gap", netns=namespace.name, cause=cause)) == 1
    return gap


@pytest.mark.parametrize(("name", "cause"), list(zip(SYSCTLS, CAUSES, strict=True)))
def test_what_is_switched_off_is_put_back(daemon: Daemon, namespace: Namespace, name: str, cause: str) -> None:
    """At the next look, with a gap that has the bounds of the fault, and a line that names the sysctl."""
    attached(daemon, namespace)
    with daemon.frozen():  # what it saw last was before, whenever that is
        off = now()
        namespace.sysctl(**{f"netfilter__{name}": 0})
    gap = told(daemon, namespace, cause)
    assert value(namespace, name) == "1"
    assert off - SLACK <= gap["from"] <= off
    assert off < gap["to"] <= off + SLACK
    assert gap["lost"] is None
    wait_until(lambda: f"{name} in {namespace.name} was switched off" in daemon.log(), 5, "the log names it")
    assert {each["cause"] for each in daemon.heard("gap", netns=namespace.name)} == {cause}


def test_events_for_whoever_listens(daemon: Daemon, namespace: Namespace) -> None:
    """The kernel's own default, 2, loses nothing while we listen: it is put back without a gap."""
    attached(daemon, namespace)
    namespace.sysctl(netfilter__nf_conntrack_events=2)
    wait_until(lambda: "was set to 2 and is 1 again" in daemon.log(), 5, "it is 1 again")
    assert value(namespace, "nf_conntrack_events") == "1"
    assert daemon.heard("gap", netns=namespace.name) == []


def test_watching_keeps_no_namespace_alive(daemon: Daemon, bed: Testbed, namespace: Namespace) -> None:
    """A namespace that is deleted dies although its files are open: its end of a cable is gone at once."""
    other = bed.namespace("other")
    namespace.run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", other.name)
    attached(daemon, namespace)
    namespace.close()
    wait_until(lambda: "there" not in other.run("ip", "-o", "link"), 5, "the namespace is gone")
    wait_until(lambda: daemon.namespace(namespace.name)["state"] == "gone", 10, "status says so")
    assert "cannot" not in daemon.log(), "nobody complains"


def test_a_full_table(daemon: Daemon, namespace: Namespace) -> None:
    """Connections that the kernel refuses are counted exactly, in a gap that begins and ends with the refusals."""
    attached(daemon, namespace)
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, sc.NETLINK_NETFILTER) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setsockopt(sc.SOL_NETLINK, sc.NETLINK_NO_ENOBUFS, 1)
        stuck.setsockopt(sc.SOL_NETLINK, sc.NETLINK_BROADCAST_ERROR, 1)
        stuck.bind((0, 0))
        stuck.setsockopt(sc.SOL_NETLINK, sc.NETLINK_ADD_MEMBERSHIP, sc.NFNLGRP_CONNTRACK_DESTROY)
        limit = int(value(namespace, "nf_conntrack_max"))
        connect(namespace, limit - 100, 2)
        begin = now()
        namespace.run("conntrack", "-F")  # deleted, and still there: the kernel cannot tell the stuck one
        refused = connect(namespace, 300, 30)
        end = now()
        assert refused > 0
        cause = {"netns": namespace.name, "cause": "table-full"}
        wait_until(lambda: sum(g["lost"] for g in daemon.heard("gap", **cause)) >= refused, 10, "all are told")
    gaps = daemon.heard("gap", **cause)
    assert begin - SLACK <= gaps[0]["from"] <= end
    assert begin <= gaps[-1]["to"] <= end + SLACK
    assert sum(gap["lost"] for gap in gaps) == refused
    assert "connection table is full" in daemon.log()


def connect(namespace: Namespace, count: int, first: int) -> int:
    """New connections that nobody answers, to addresses from 127.0.0.`first` on; how many were refused."""
    refused = 0
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            high, port = divmod(number, 60000)
            try:
                sender.sendto(b"x", (f"127.0.0.{first + high}", 1 + port))
            except PermissionError:
                refused += 1
    return refused
