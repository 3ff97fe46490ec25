"""What the kernel can, as the probe found by trying it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator, Mapping

from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.machine import Machine, can_enter
from anetcon.doctor.probe import OPTIONS
from anetcon.system.process import python

PATIENCE = 60.0
PROBLEMS = {
    "setns": (
        "no other namespace can be audited",
        "run a kernel with CONFIG_NET_NS, outside of a restricted container",
    ),
    "SO_RCVBUFFORCE": (
        "receive buffers stay at net.core.rmem_max: bursts are lost",
        "give CAP_NET_ADMIN in the first user namespace, or raise the limit: `sysctl -w net.core.rmem_max=4194304`",
    ),
    "ctnetlink": ("no connection can be learnt from conntrack", "load it: `modprobe nf_conntrack_netlink`"),
    "conntrack sysctls": (
        "connections have no times and counters, or no events",
        "run a kernel with CONFIG_NF_CONNTRACK_EVENTS and CONFIG_NF_CONNTRACK_TIMESTAMP",
    ),
    "NETLINK_NO_ENOBUFS": ("one overrun would silence the events until the queue is empty", "run a newer kernel"),
    "NETLINK_BROADCAST_ERROR": (
        "the kernel cannot hold back the ends that a slow reader missed",
        'run a newer kernel, or set `on_overload = "shed"` under [audit]',
    ),
    "SO_MEMINFO": ("losses cannot be counted", "run a kernel of 4.12 or later"),
    "events": ("connections would not be recorded", "load it: `modprobe nf_conntrack_netlink`"),
    "nf_tables": (
        "whether conntrack runs cannot be read from the rules",
        "load it: `modprobe nf_tables`; namespaces with iptables-legacy alone do without",
    ),
    "nft": ("audit.activate_conntrack has no effect", "install it: `apt-get install nftables`"),
    "nft sample": (
        "audit.record_invalid has no effect",
        "install nftables, and run a kernel with CONFIG_NETFILTER_NETLINK_LOG: `modprobe nfnetlink_log`",
    ),
    "nft log rules": ("the engine nftables-log logs nothing", "install it: `apt-get install nftables`"),
    "iptables log rules": ("the engine iptables-log logs no IPv4", "install it: `apt-get install iptables`"),
    "ip6tables log rules": ("the engine iptables-log logs no IPv6", "install it: `apt-get install iptables`"),
}
"""What it means that a feature is missing, and what to do."""

OPTIONAL = {
    "CTA_TIMESTAMP_EVENT": "a start is dated by the time it was read, some milliseconds late, until its end is known",
}
"""What the audit does without, and what that costs."""


def probe(machine: Machine) -> Iterator[Finding]:
    """Try every feature that the engine needs."""
    if not can_enter():
        yield unchecked(
            "kernel", "the kernel's features were not tried: that needs root", "run `anetcon doctor` as root"
        )
        return
    audit = machine.resolved["audit"]
    needs = [f"--{name}" for name in OPTIONS if audit[name]]
    words = python("anetcon.doctor.probe", audit["engine"], *needs)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        found = {"unshare": "the program that tries them failed"}
    yield from findings(found, platform.release())


def findings(found: Mapping[str, str], release: str) -> Iterator[Finding]:
    """What the probe's answer means."""
    if "unshare" in found:
        yield unchecked(
            "kernel",
            f"the kernel's features were not tried: no network namespace can be made ({found['unshare']})",
            "run `anetcon doctor` as root outside of a restricted container",
        )
        return
    for feature, failure in found.items():
        if not failure:
            continue
        what = f"{feature} does not work on Linux {release}: {failure}"
        if feature in OPTIONAL:
            means = OPTIONAL[feature]
            yield Finding("kernel", Severity.NOTE, what, means, "nothing has to be done; newer kernels have it")
        else:
            means, remedy = PROBLEMS[feature]
            yield Finding("kernel", Severity.PROBLEM, what, means, remedy)
    if not any(found.values()):
        yield Finding("kernel", Severity.OK, f"Linux {release}: {', '.join(found)} work, each was tried")
