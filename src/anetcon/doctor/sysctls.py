"""The three sysctls of conntrack that the engine conntrack needs at 1 in each namespace, and one that weakens proof."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from anetcon.doctor.finding import Finding, Severity, inside
from anetcon.doctor.look import LIBERAL, LOOSE, NamespaceLook
from anetcon.doctor.machine import Machine
from anetcon.link import counters
from anetcon.netlink.ct_sysctls import SYSCTLS

MEANS = {
    "nf_conntrack_events": "connections opened now may never report their end",
    "nf_conntrack_timestamp": "connections opened now have no times of the kernel's",
    "nf_conntrack_acct": "connections opened now have no packets and bytes",
}
AFTER_ATTACH = counters.STATES


def sysctls(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
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


def _wrong(look: NamespaceLook, machine: Machine, wrong: dict[str, str]) -> Finding:
    found = ", ".join(f"{name} is {value}" for name, value in wrong.items()) + ", not 1"
    means = "; ".join(MEANS[name] for name in wrong)
    command = inside(look.path, f"sysctl -w {' '.join(f'net.netfilter.{name}=1' for name in wrong)}")
    if machine.daemon.state(look.netns) in AFTER_ATTACH:
        means += "; somebody changed it after the daemon had set it"
        return Finding("sysctls", Severity.PROBLEM, found, means, f"put it back: `{command}`", look.netns)
    means = f"the daemon sets it when it attaches; until then {means}"
    return Finding("sysctls", Severity.NOTE, found, means, f"to have it now: `{command}`", look.netns)


class Weakness(NamedTuple):
    """A sysctl that weakens what a record proves when it is not 0. `when` says when to set it back."""

    check: str
    name: str
    severity: Severity
    means: str
    when: str


WEAKNESSES = (
    Weakness(
        "liberal",
        LIBERAL,
        Severity.WARNING,
        "TCP packets with forged sequence numbers count as valid: `handshake completed` does not prove a source",
        "set it back, if no path here is asymmetric",
    ),
    Weakness(
        "loose",
        LOOSE,
        Severity.NOTE,
        "conntrack takes up a TCP connection in the middle if it ran before; `handshake completed` then says no more "
        "than that packets went both ways",
        "do nothing; or, where such connections may break when a router is set up anew",
    ),
)


def weaknesses(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Whether conntrack takes more for a TCP connection than proves one."""
    if machine.logs_rules or not look.audited:
        return
    for check, name, severity, means, when in WEAKNESSES:
        if (value := look.sysctls.get(name, "0")) != "0":
            remedy = f"{when}: `{inside(look.path, f'sysctl -w net.netfilter.{name}=0')}`"
            yield Finding(check, severity, f"{name} is {value}", means, remedy, look.netns)
