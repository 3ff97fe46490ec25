"""The three sysctls of conntrack that the engine conntrack needs at 1 in each namespace, and one that weakens proof."""

from __future__ import annotations

from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity, inside
from anetcon.doctor.look import LIBERAL, LOOSE, Look
from anetcon.doctor.machine import Machine
from anetcon.link import counters
from anetcon.netlink.ct_sysctls import SYSCTLS

MEANS = {
    "nf_conntrack_events": "connections opened now may never report their end",
    "nf_conntrack_timestamp": "connections opened now have no times of the kernel's",
    "nf_conntrack_acct": "connections opened now have no packets and bytes",
}
AFTER_ATTACH = counters.STATES


def sysctls(look: Look, machine: Machine) -> Iterator[Finding]:
    """Whether each is 1, and if not, whether the daemon is going to set it."""
    if machine.logs_rules or not look.audited:
        return
    wrong = {name: look.sysctls[name] for name in SYSCTLS if look.sysctls.get(name, "1") != "1"}
    if SYSCTLS[0] not in look.sysctls:
        yield Finding(
            "sysctls",
            Severity.NOTE,
            "conntrack's netlink is not loaded",
            "the daemon has the kernel load it when it attaches; nothing is recorded before",
            "load it at boot: `modprobe nf_conntrack_netlink`",
            look.netns,
        )
    elif not wrong:
        yield Finding("sysctls", Severity.OK, f"{', '.join(SYSCTLS)} are 1", netns=look.netns)
    else:
        yield _wrong(look, machine, wrong)


def _wrong(look: Look, machine: Machine, wrong: dict[str, str]) -> Finding:
    found = ", ".join(f"{name} is {value}" for name, value in wrong.items()) + ", not 1"
    means = "; ".join(MEANS[name] for name in wrong)
    command = inside(look.path, f"sysctl -w {' '.join(f'net.netfilter.{name}=1' for name in wrong)}")
    if machine.daemon.state(look.netns) in AFTER_ATTACH:
        means += "; somebody changed it after the daemon had set it"
        return Finding("sysctls", Severity.PROBLEM, found, means, f"put it back: `{command}`", look.netns)
    means = f"the daemon sets it when it attaches; until then {means}"
    return Finding("sysctls", Severity.NOTE, found, means, f"to have it now: `{command}`", look.netns)


def liberal(look: Look, machine: Machine) -> Iterator[Finding]:
    """Whether conntrack takes TCP packets outside of the window for valid: what came back proves less then."""
    if machine.logs_rules or not look.audited or look.sysctls.get(LIBERAL, "0") == "0":
        return
    yield Finding(
        "liberal",
        Severity.WARNING,
        f"{LIBERAL} is {look.sysctls[LIBERAL]}",
        "TCP packets with forged sequence numbers count as valid: `handshake completed` does not prove a source",
        f"set it back, if no path here is asymmetric: `{inside(look.path, f'sysctl -w net.netfilter.{LIBERAL}=0')}`",
        look.netns,
    )


def loose(look: Look, machine: Machine) -> Iterator[Finding]:
    """Whether conntrack takes up TCP connections in the middle: of those nobody saw a handshake."""
    if machine.logs_rules or not look.audited or look.sysctls.get(LOOSE, "0") == "0":
        return
    yield Finding(
        "loose",
        Severity.NOTE,
        f"{LOOSE} is {look.sysctls[LOOSE]}",
        "a TCP connection that ran before it was tracked is taken up in the middle, and `handshake completed` says of "
        "it no more than that packets went both ways",
        "nothing; or, where such connections may break when a router is set up anew: "
        f"`{inside(look.path, f'sysctl -w net.netfilter.{LOOSE}=0')}`",
        look.netns,
    )
