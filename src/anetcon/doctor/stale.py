"""Rules of ours that nobody keeps any more: no daemon runs, or not for this namespace, or not with that engine."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity, inside
from anetcon.doctor.look import NamespaceLook
from anetcon.doctor.machine import Machine
from anetcon.rules import invalid_sample

ACTIVATION = "anetcon_conntrack"


def stale(look: NamespaceLook, machine: Machine) -> Iterator[Finding]:
    """Tables and chains of ours that are not in use."""
    kept = machine.daemon.runs and look.audited
    audit = machine.resolved["audit"]
    chain = audit["chain"]
    used = {
        f"inet {chain}": kept and machine.engine == "nftables-log",
        f"inet {ACTIVATION}": kept and audit["activate_conntrack"] and not machine.logs_rules,
    }
    used |= dict.fromkeys(
        (invalid_sample.made(each).name for each in invalid_sample.FAMILIES), kept and machine.settings.record_invalid
    )
    for name, in_use in used.items():
        if tuple(name.split()) in look.rules.tables and not in_use:
            yield _left(look, machine, f"table {name}", inside(look.path, f"nft delete table {name}"))
    if (kept and machine.engine == "iptables-log") or machine.others:
        return
    for program in _programs(look, chain):
        command = f"{program} -w -t nat -D POSTROUTING -j {chain}; {program} -w -t nat -F {chain}; "
        command = inside(look.path, "sh -c " + shlex.quote(command + f"{program} -w -t nat -X {chain}"))
        yield _left(look, machine, f"chain {chain} in {program}'s table nat", command)


def _programs(look: NamespaceLook, chain: str) -> Iterator[str]:
    """The programs of iptables that show the chain."""
    there = {each.family for each in look.rules.chains if (each.table, each.name) == ("nat", chain)}
    for family, program in (("ip", "iptables"), ("ip6", "ip6tables")):
        if family in there:
            yield f"{program}-nft"
        if re.search(rf"^:{re.escape(chain)} ", look.legacy.get(family, ""), re.MULTILINE):
            yield f"{program}-legacy"


def _left(look: NamespaceLook, machine: Machine, what: str, command: str) -> Finding:
    if machine.other_keepers:
        means = f"another ANetCon with another store runs (process {machine.other_keepers[0]}), and may keep it"
        remedy = f"if that one does not audit this namespace, remove it: `{command}`"
        return Finding("stale", Severity.NOTE, f"{what} is there", means, remedy, look.netns)
    why = "the daemon does not need it here" if machine.daemon.runs else "no daemon runs that keeps it"
    means = f"{why}; it was left by one that was killed or had other settings, costs time, and logs what nobody expects"
    return Finding("stale", Severity.WARNING, f"{what} is there", means, f"remove it: `{command}`", look.netns)
