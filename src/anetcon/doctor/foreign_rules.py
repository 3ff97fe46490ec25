"""Rules of others that keep connections, or parts of them, from the record."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity, inside, unchecked
from anetcon.doctor.look import NamespaceLook
from anetcon.doctor.machine import Machine
from anetcon.doctor.ruleset import Chain, Rule

NF_INET_POST_ROUTING = 4
OUR_PRIORITY = 99
"""Of the engine nftables-log; a nat chain before it that translates ends the packet's way through nat."""

_LEGACY = re.compile(r"^-A (?P<rule>.*-j (?:NOTRACK|CT)\b.*)$", re.MULTILINE)
_EVENTS = re.compile(r"--ctevents (\S+)")
UNTRACKED = "the kernel does not track what it matches, so nobody records it"
SILENT = "the kernel tells only part of what it matches: a connection without its end, or none at all"


def hiding(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Rules by which the kernel does not track, or does not tell."""
    if not look.audited or (machine.logs_rules and not look.rules.rules):
        return
    if "rules" in look.failed or "legacy rules" in look.failed:
        why = look.failed.get("rules") or look.failed["legacy rules"]
        yield unchecked("rules", f"doctor could not read the rules: {why}", "see `nft list ruleset` there", look.netns)
        return
    found = list(_found(look))
    yield from found
    if not found:
        yield Finding("rules", Severity.OK, "no rule hides connections", netns=look.netns)


def _found(look: NamespaceLook) -> Iterator[Finding]:
    for rule in look.rules.rules:
        if rule.hides:
            remedy = f"delete it, unless you want that: `{inside(look.path, _delete(rule))}`"
            means = SILENT if "events" in rule.hides else UNTRACKED
            found = f"{rule.hides} (handle {rule.handle})"
            yield Finding("rules", Severity.WARNING, found, means, remedy, look.netns)
    for family, text in look.legacy.items():
        program = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}[family]
        for match in _LEGACY.finditer(text):
            if means := _hides_legacy(match["rule"]):
                command = inside(look.path, f"{program} -w -t raw -D {match['rule']}")
                remedy = f"delete it, unless you want that: `{command}`"
                found = f"rule of {program}, table raw: {match['rule']}"
                yield Finding("rules", Severity.WARNING, found, means, remedy, look.netns)


def _hides_legacy(rule: str) -> str:
    """What a rule with the target CT or NOTRACK means for the record; empty when it hides nothing."""
    if "-j NOTRACK" in rule or "--notrack" in rule:
        return UNTRACKED
    events = _EVENTS.search(rule)
    return SILENT if events and not {"new", "destroy"} <= set(events[1].split(",")) else ""


def _delete(rule: Rule) -> str:
    names = " ".join(shlex.quote(name) for name in (rule.family, rule.table, rule.chain))
    return f"nft delete rule {names} handle {rule.handle}"


def offload(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Flowtables: packets that pass them are not counted, unless the flowtable counts."""
    if not look.audited or machine.logs_rules:
        return
    for each in look.rules.flowtables:
        if not each.counts:
            found = f"flowtable {each.family} {each.table} {each.name} has no counter"
            means = "connections that it carries are recorded, but with too few packets and bytes"
            remedy = (
                "add the line `counter` to its definition where the rules come from, and load them again; to see it: "
                f"`{inside(look.path, f'nft list flowtable {each.family} {each.table} {each.name}')}`"
            )
            yield Finding("offload", Severity.WARNING, found, means, remedy, look.netns)


def before_ours(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """LOG engines: rules that end a packet's way through nat before it comes to ours."""
    if not look.audited or not machine.logs_rules:
        return
    if machine.engine == "nftables-log":
        yield from _translating_chains(look, machine.resolved["audit"]["chain"])
    elif machine.daemon.runs:
        yield from _jump_not_first(look, machine)


def _translating_chains(look: NamespaceLook, ours: str) -> Iterator[Finding]:
    for chain in look.rules.chains:
        if (
            chain.table != ours
            and _is_postrouting(chain)
            and chain.priority < OUR_PRIORITY
            and _translates(look, chain)
        ):
            place = f"{chain.family} {chain.table} {chain.name}"
            found = f"chain {place} translates at priority {chain.priority}, before ours at {OUR_PRIORITY}"
            means = "our LOG rules never see what it translates"
            remedy = f"give it priority 100 where it comes from: `{inside(look.path, f'nft list chain {place}')}`"
            yield Finding("order", Severity.WARNING, found, means, remedy, look.netns)


def _is_postrouting(chain: Chain) -> bool:
    return chain.kind == "nat" and chain.hook == NF_INET_POST_ROUTING


def _translates(look: NamespaceLook, chain: Chain) -> bool:
    names = {"nat", "masq", "redir"}
    rules = (r for r in look.rules.rules if (r.family, r.table, r.chain) == (chain.family, chain.table, chain.name))
    return any(e.name in names or e.jump or e.extension in ("SNAT", "MASQUERADE") for r in rules for e in r.expressions)


def _jump_not_first(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    name = machine.resolved["audit"]["chain"]
    for family, program in (("ip", "iptables"), ("ip6", "ip6tables")):
        if family in look.legacy:
            rules = [line for line in look.legacy[family].splitlines() if line.startswith("-A POSTROUTING ")]
            first = bool(rules) and rules[0].endswith(f"-j {name}")
        else:
            chain = [r for r in look.rules.rules if (r.family, r.table, r.chain) == (family, "nat", "POSTROUTING")]
            first = bool(chain) and any(e.jump == name for e in chain[0].expressions)
        if not first:
            found = f"the jump to {name} is not the first rule of {program}'s nat POSTROUTING"
            means = "our rules do not log connections that an earlier rule translates or accepts"
            jump = f"{program} -w -t nat -D POSTROUTING -j {name}; {program} -w -t nat -I POSTROUTING -j {name}"
            command = inside(look.path, f"sh -c {shlex.quote(jump)}")
            remedy = f"the daemon repairs it within seconds; if it stays: `{command}`"
            yield Finding("order", Severity.PROBLEM, found, means, remedy, look.netns)
