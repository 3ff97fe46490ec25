"""What this machine can test: probed once a run, without leaving a trace."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("ip", "nft", "iptables", "conntrack", "ulogd", "rsyslogd", "logrotate", "nsenter")
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

# Run in a fresh namespace: asks ctnetlink for a dump, which also makes the kernel load its modules.
_PROBE_CONNTRACK = """
import pathlib, socket, struct
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # NETLINK_NETFILTER
    netlink.settimeout(5)
    netlink.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 1, 0x301, 1, 0, 0, 0, 0))  # IPCTNL_MSG_CT_GET, a dump
    kind = struct.unpack_from("=IH", netlink.recv(65536))[1]
assert kind != 2  # NLMSG_ERROR
assert pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_events").exists()
"""


def _in_fresh_namespace(*command: str) -> bool:
    try:
        done = subprocess.run(["unshare", "--net", *command], check=False, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _has(program: str) -> Callable[[], bool]:
    return lambda: shutil.which(program, path=PATH) is not None


CAPABILITIES: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "namespaces": lambda: _in_fresh_namespace("true"),
    "conntrack-events": lambda: _in_fresh_namespace(sys.executable, "-c", _PROBE_CONNTRACK),
    **{program: _has(program) for program in PROGRAMS},
    "anetcon": lambda: (Path(sys.executable).parent / "anetcon").exists(),
    "systemd": lambda: Path("/run/systemd/system").exists(),
}
"""Every word the marker `needs` takes, and how it is found out."""

TIERS: dict[str, tuple[str, ...]] = {
    "netns": ("root", "namespaces", "conntrack-events", "ip"),
    "e2e": ("root", "namespaces", "conntrack-events", "ip", "anetcon"),
}
"""What every test of a tier needs; a tier is a folder of tests/ and a marker."""


@functools.cache
def can(capability: str) -> bool:
    """Whether this machine has it."""
    return CAPABILITIES[capability]()


def lacking(needs: tuple[str, ...]) -> list[str]:
    """Those of `needs` that this machine does not have."""
    return [need for need in needs if not can(need)]
