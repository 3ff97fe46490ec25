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
MEANS = {
    "setns": "no other namespace can be audited",
    "SO_RCVBUFFORCE": "receive buffers stay at net.core.rmem_max, so a burst is lost",
    "ctnetlink": "the daemon cannot learn connections from conntrack",
    "conntrack sysctls": "connections have no times and counters, or no events",
    "NETLINK_NO_ENOBUFS": "after one overrun the kernel sends no event until the queue is empty",
    "NETLINK_BROADCAST_ERROR": "the kernel cannot hold back the ends that a slow reader missed",
    "SO_MEMINFO": "the daemon cannot count losses",
    "events": "the daemon records no connection",
    "nf_tables": "the daemon cannot tell from the rules whether conntrack runs",
    "nft": "audit.activate_conntrack has no effect",
    "nft sample": "audit.record_invalid has no effect",
    "nft log rules": "the engine nftables-log logs nothing",
    "iptables log rules": "the engine iptables-log logs no IPv4",
    "ip6tables log rules": "the engine iptables-log logs no IPv6",
}
"""What it means that a feature is missing."""

_LOAD = "load it: `modprobe nf_conntrack_netlink`"
_NFTABLES, _IPTABLES = (f"install it: `apt-get install {package}`" for package in ("nftables", "iptables"))
REMEDIES = {
    "setns": "run a kernel with CONFIG_NET_NS, outside of a restricted container",
    "SO_RCVBUFFORCE": "give CAP_NET_ADMIN in the first user namespace, or raise the limit: "
    "`sysctl -w net.core.rmem_max=4194304`",
    "ctnetlink": _LOAD,
    "conntrack sysctls": "run a kernel with CONFIG_NF_CONNTRACK_EVENTS and CONFIG_NF_CONNTRACK_TIMESTAMP",
    "NETLINK_NO_ENOBUFS": "run a newer kernel",
    "NETLINK_BROADCAST_ERROR": 'run a newer kernel, or set `on_overload = "shed"` under [audit]',
    "SO_MEMINFO": "run a kernel of 4.12 or later",
    "events": _LOAD,
    "nf_tables": "load it: `modprobe nf_tables`; namespaces with iptables-legacy alone do without",
    "nft": _NFTABLES,
    "nft sample": "install nftables, and run a kernel with CONFIG_NETFILTER_NETLINK_LOG: `modprobe nfnetlink_log`",
    "nft log rules": _NFTABLES,
    "iptables log rules": _IPTABLES,
    "ip6tables log rules": _IPTABLES,
}
"""What to do then."""

OPTIONAL = {
    "CTA_TIMESTAMP_EVENT": "capture dates a start by when it reads it, some milliseconds late, until the end comes",
}
"""What the audit does without, and what that costs."""


def probe(machine: Machine) -> Iterator[Finding]:
    """Try every feature that the engine needs."""
    if not can_enter():
        yield unchecked(
            "kernel", "doctor did not try the kernel's features: that needs root", "run `anetcon doctor` as root"
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
            f"doctor could not try the kernel's features: it cannot make a network namespace ({found['unshare']})",
            "run `anetcon doctor` as root outside of a restricted container",
        )
        return
    for feature, failure in found.items():
        if not failure:
            continue
        what = f"{feature} does not work on Linux {release}: {failure}"
        if feature in OPTIONAL:
            remedy = "you need do nothing; newer kernels have it"
            yield Finding("kernel", Severity.NOTE, what, OPTIONAL[feature], remedy)
        else:
            yield Finding("kernel", Severity.PROBLEM, what, MEANS[feature], REMEDIES[feature])
    if not any(found.values()):
        yield Finding("kernel", Severity.OK, f"Linux {release}: {', '.join(found)} work, each was tried")
