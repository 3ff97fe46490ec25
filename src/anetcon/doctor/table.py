"""The connection table of a namespace: does conntrack run, is the table large enough, was anything refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from anetcon.doctor.finding import Finding, Severity, inside
from anetcon.doctor.look import NamespaceLook
from anetcon.doctor.machine import Machine
from anetcon.netlink import active
from anetcon.rules import invalid_sample

FULL, CALM = 0.95, 0.5
"""Shares of the table: above the first connections are refused any moment, below the second a refusal is history."""

LONG_CHAINS = 8
"""Connections a bucket above which looking one up costs noticeably more."""
_EXTENSION = re.compile(r"-(?:m|j) (\S+)")
_USES = {name.decode() for name in active.EXTENSIONS}


def tracked_families(look: NamespaceLook) -> set[str]:
    """`ip` and `ip6`, whichever conntrack follows here: the kernel tracks a family only where a rule of it needs it."""
    found = {rule.family for rule in look.rules.rules if rule.tracks}
    found |= {family for family, text in look.legacy.items() if _USES & set(_EXTENSION.findall(text))}
    if "inet" in found:
        found |= {"ip", "ip6"}
    return found & {"ip", "ip6"}


def tracking(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Whether any rule makes conntrack run, for both families."""
    if not look.audited or "rules" in look.failed:
        return
    families = tracked_families(look)
    if not families and machine.daemon.finds_new(look.netns, look.inode, machine.now):
        found = "no rule uses conntrack yet: the namespace is new"
        yield Finding("conntrack", Severity.OK, found, netns=look.netns)
    elif not families and not look.number("nf_conntrack_count"):
        means = "the kernel tracks nothing here, so nothing is recorded"
        set_it = machine.setting("audit.activate_conntrack", "true")
        remedy = f"see who should write its rules; where none should be, {set_it}"
        if machine.resolved["audit"]["activate_conntrack"] and machine.daemon.runs:
            remedy = "see why the daemon could not make it run: `anetcon status`, and its log"
        yield Finding("conntrack", Severity.WARNING, "no rule uses conntrack", means, remedy, look.netns)
    elif families == {"ip"} and look.forwards6:
        means = "IPv6 connections that are forwarded here are not recorded"
        table = "'add table ip6 tracked; add chain ip6 tracked here; add rule ip6 tracked here ct state new'"
        remedy = f"add a rule without effect that makes it run: `{inside(look.path, f'nft {table}')}`"
        found = "conntrack follows IPv4 only, and IPv6 is forwarded"
        yield Finding("conntrack", Severity.WARNING, found, means, remedy, look.netns)
    else:
        names = " and ".join(INTERNET[family] for family in sorted(families))
        yield Finding("conntrack", Severity.OK, f"conntrack runs for {names or 'what it counts'}", netns=look.netns)


def size(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Whether the table holds the load, below the share from which the daemon no longer holds ends back."""
    count, limit, buckets = (look.number(f"nf_conntrack_{name}") for name in ("count", "max", "buckets"))
    if not look.audited or count is None or limit is None:
        return
    if not limit:
        means = "the table may grow without end, so the daemon lets the kernel hold no end back: a burst loses some"
        remedy = "on the host: `sysctl -w net.netfilter.nf_conntrack_max=262144`"
        yield Finding("table", Severity.WARNING, "nf_conntrack_max is 0: no limit", means, remedy, look.netns)
        return
    share, guard = count / limit, machine.settings.guard_share
    found = f"{count} of {limit} connections ({share:.0%})"
    remedy = f"on the host: `sysctl -w net.netfilter.nf_conntrack_max={_twice(limit)}`"
    if share >= FULL:
        means = "the router refuses connections, which are then in no record"
        yield Finding("table", Severity.PROBLEM, f"the table is full: {found}", means, remedy, look.netns)
    elif share >= guard and machine.settings.hold and not machine.logs_rules:
        means = f"above guard_share ({guard:g}) the kernel drops and counts ends that capture has not read in time"
        yield Finding("table", Severity.WARNING, found, means, remedy, look.netns)
    elif buckets and count > LONG_CHAINS * buckets:
        means = "every lookup walks long chains: packets and dumps cost more"
        remedy = f"on the host: `sysctl -w net.netfilter.nf_conntrack_buckets={_twice(buckets)}`"
        found = f"{count} connections in {buckets} buckets"
        yield Finding("table", Severity.WARNING, found, means, remedy, look.netns)
    else:
        yield Finding("table", Severity.OK, found, netns=look.netns)


def refused(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:  # noqa: ARG001 - the shape of a check
    """Whether the kernel counted connections that it refused or threw out, since the namespace was made."""
    if not look.audited or not look.statistics:
        return
    seen = {name: look.statistics.get(name, 0) for name in ("drop", "early_drop", "insert_failed", "chain_toolong")}
    if not any(seen.values()):
        yield Finding("refusals", Severity.OK, "conntrack refused nothing", netns=look.netns)
        return
    count, limit = look.number("nf_conntrack_count") or 0, look.number("nf_conntrack_max") or 0
    grave = bool(seen["drop"] or seen["early_drop"]) and limit > 0 and count > CALM * limit
    counted = ", ".join(f"{name} {value}" for name, value in seen.items() if value)
    means = "the kernel dropped packets or ended connections early (table full), or two packets raced for one tuple"
    if seen["drop"] or seen["early_drop"]:
        remedy = f"on the host: `sysctl -w net.netfilter.nf_conntrack_max={_twice(limit)}`, if it happens again"
    elif seen["chain_toolong"]:
        buckets = look.number("nf_conntrack_buckets") or 0
        remedy = f"on the host: `sysctl -w net.netfilter.nf_conntrack_buckets={_twice(buckets)}`, if it grows"
    else:
        remedy = f"see whether it grows: `{inside(look.path, 'conntrack -S')}`; a few insert_failed are ordinary"
    severity = Severity.WARNING if grave else Severity.NOTE
    yield Finding("refusals", severity, f"since it was made: {counted}", means, remedy, look.netns)


def untracked(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Whether what conntrack calls invalid is dropped: it crosses the router untranslated and unrecorded. And whether
    the rule stands that counts and samples it, where one is to."""
    families = tracked_families(look)
    if not look.audited or machine.logs_rules or "rules" in look.failed or not families:
        return
    counted = {family for family in families if tuple(invalid_sample.made(family).name.split()) in look.rules.tables}
    wanted = machine.settings.record_invalid and machine.daemon.runs
    if wanted and not counted >= tracked_families(replace(look, legacy={})):  # legacy's are known by connections alone
        means = "the daemon neither counts nor samples packets here that conntrack calls invalid"
        remedy = "see in the daemon's log why it could not write its table; if it has just started, wait a second"
        found = "audit.record_invalid is set, and its table is not there"
        yield Finding("invalid", Severity.WARNING, found, means, remedy, look.netns)
    if look.rules.drops_invalid >= {"ip", "ip6"}:
        yield Finding(
            "invalid", Severity.OK, "packets that conntrack calls invalid are not forwarded", netns=look.netns
        )
        return
    missing = " and ".join(INTERNET[family] for family in sorted({"ip", "ip6"} - look.rules.drops_invalid))
    count = sum(look.statistics.get(name, 0) for name in ("invalid", "error"))
    found = f"packets that conntrack calls invalid may be forwarded, of {missing}; it counted {count} since it was made"
    told = (
        "the daemon counts those that leave and records a sample" if wanted and counted else "no record tells of them"
    )
    means = f"such packets (scans by FIN or NULL, unasked replies) cross untranslated, and {told}"
    chain = "{ type filter hook forward priority 0; }"
    command = f"nft 'add table inet invalid; add chain inet invalid forward {chain}; {_DROP}'"
    yield Finding("invalid", Severity.NOTE, found, means, f"drop them: `{inside(look.path, command)}`", look.netns)


_DROP = "add rule inet invalid forward ct state invalid drop"
INTERNET = {"ip": "IPv4", "ip6": "IPv6"}


def _twice(number: int) -> int:
    return max(2 * number, 65536)
