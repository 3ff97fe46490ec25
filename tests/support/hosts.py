"""Hosts of a network namespace each, and another program that listens in one."""

from __future__ import annotations

import os
import socket

from anetcon.testbed.bed import Namespace, Testbed
from tests.load.kernel import NETLINK_NETFILTER
from tests.support.daemon import EVENTS


def bare(bed: Testbed, role: str = "bare") -> Namespace:
    """A host without any rule: connection tracking does not run in it."""
    host = bed.namespace(role)
    host.run("ip", "link", "set", "lo", "up")
    host.run("ip", "addr", "add", "192.0.2.1/24", "dev", "lo")
    return host


TRACKING = "table ip t {\nchain c {\ntype filter hook input priority 0\nct state new\n}\n}\n"


def tracked(bed: Testbed, role: str = "bare") -> Namespace:
    """A host in which connections are tracked."""
    host = bare(bed, role)
    host.run("nft", "-f", "-", text=TRACKING)
    host.sysctl(netfilter__nf_conntrack_udp_timeout=600)  # what a test opens stays open, however slow the machine
    return host


SOL_NETLINK, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS = 270, 4, 5


def stuck_listener(namespace: Namespace) -> socket.socket:
    """Another program's socket in reliable mode, that is never read."""
    made = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setsockopt(SOL_NETLINK, NETLINK_BROADCAST_ERROR, 1)
    made.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
    made.bind((os.getpid() + 1 << 12, EVENTS))
    return made
