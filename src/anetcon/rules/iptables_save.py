"""From what iptables-save printed of a nat table to what iptables-restore has to be told, so that our chain is exactly
ours and the jump to it is first in POSTROUTING, and there once.

Everything goes in one write, which the kernel applies as a whole or not at all. It is written so that it fails, rather
than does something else, when the table is not as it was read: `-N` fails when the chain is there, `-X` (before `-N`
again) when somebody jumps to it already, `-D` when the jump is gone. Rules of others are never named by number, and
the number of rules in their chains never goes down but for second jumps to us: another program may be between its own
save and a restore by line number.

Refuses to run anything.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence

POSTROUTING = "POSTROUTING"


class Nat:
    """The nat table as it was read: the rules of each chain, each as it follows `-A CHAIN `."""

    def __init__(self, printed: str = "") -> None:
        self.rules: dict[str, list[str]] = {}
        """By chain; a chain without rules has an empty list."""
        inside = False
        for line in printed.splitlines():
            if line.startswith("*"):
                inside = line.strip() == "*nat"
            elif inside and line.startswith(":"):
                self.rules.setdefault(line[1:].split(" ", 1)[0], [])
            elif inside and line.startswith("-A "):
                chain, _, rule = line[3:].partition(" ")
                self.rules.setdefault(chain, []).append(rule)

    def jumps(self, chain: str) -> list[tuple[str, str]]:
        """Every rule that leads to a chain, with the chain it is in, in their order."""
        return [(name, rule) for name, rules in self.rules.items() for rule in rules if _leads(rule, chain)]


def wrong(nat: Nat, chain: str, accepted: Sequence[list[str]]) -> str | None:
    """What is not as it has to be, in words; None when all is. `accepted` are spellings of our rules."""
    jumps, found = nat.jumps(chain), nat.rules.get(chain)
    if found is None:
        return f"the chain {chain} was not there"
    if not jumps:
        return f"nothing jumped to the chain {chain}"
    if found not in accepted:
        return "its rules were wiped" if not found else "its rules were not as they have to be"
    if len(jumps) > 1:
        return f"{len(jumps)} rules jumped to the chain {chain}"
    if jumps != [(POSTROUTING, f"-j {chain}")] or nat.rules[POSTROUTING][0] != f"-j {chain}":
        return f"the jump to the chain {chain} was not first in {POSTROUTING}"
    return None


def repair(nat: Nat, chain: str, accepted: Sequence[list[str]]) -> str:
    """Input for iptables-restore --noflush that puts right what is `wrong`; the first of `accepted` is written."""
    jumps, found = nat.jumps(chain), nat.rules.get(chain)
    lines = []
    if found is None:
        lines += [f"-N {chain}"]
    elif not jumps:
        lines += [f"-F {chain}", f"-X {chain}", f"-N {chain}"]
    elif found not in accepted:
        lines += [f"-F {chain}"]
    if lines:
        lines += [f"-A {chain} {rule}" for rule in accepted[0]]
    if jumps != [(POSTROUTING, f"-j {chain}")] or nat.rules[POSTROUTING][0] != f"-j {chain}":
        lines += [f"-D {name} {rule}" for name, rule in jumps]
        lines += [f"-I {POSTROUTING} 1 -j {chain}"]
    return _table(lines)


def removal(nat: Nat, chain: str) -> str | None:
    """Input for iptables-restore --noflush that takes away our chain and whatever leads to it; None if it is gone."""
    if chain not in nat.rules:
        return None
    return _table([*(f"-D {name} {rule}" for name, rule in nat.jumps(chain)), f"-F {chain}", f"-X {chain}"])


def _table(lines: Sequence[str]) -> str:
    return "\n".join(["*nat", *lines, "COMMIT", ""])


def _leads(rule: str, chain: str) -> bool:
    try:
        words = shlex.split(rule)
    except ValueError:
        words = rule.split()
    return any(word in ("-j", "-g") and following == chain for word, following in itertools.pairwise(words))
