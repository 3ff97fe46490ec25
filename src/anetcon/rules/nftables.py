"""The engine nftables-log in the namespace we are in: one table of our own, written as a whole.

Refuses to look at any other table.
"""

from __future__ import annotations

from anetcon.netlink import generation as netlink
from anetcon.rules import programs, wording
from anetcon.rules.outcome import Spelling, VisitOutcome
from anetcon.rules.programs import RulesError
from anetcon.rules.wording import TABLE, WantedRules

ATTEMPTS = 6

AWAY = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
"""Made first if need be, so that taking it away cannot fail."""


def lines(printed: str) -> list[str]:
    """What matters of a table as nft prints it."""
    return [line for line in map(str.strip, printed.splitlines()) if line and not line.startswith("#")]


def stand(wanted: WantedRules, spelling: Spelling) -> VisitOutcome:
    """See that the rules stand. RulesError when they do not."""
    if any(character in wanted.dnat + wanted.other for character in '"$'):
        raise RulesError('nft takes no prefix with " or $ in it: change logs.prefix')
    outcome = VisitOutcome(spelling=dict(spelling))
    table = wording.nftables(wanted)
    accepted = [lines(table), *([spelling["inet"]] if "inet" in spelling else [])]
    before: list[str] | None = None
    for _ in range(ATTEMPTS):
        outcome.look()
        outcome.generation = netlink.generation()
        there = netlink.has_table(netlink.INET, TABLE)
        found = lines(programs.nft("-n", "list", "table", "inet", TABLE)) if there else []
        if outcome.found and found == before and len(found) == len(accepted[0]):
            outcome.spelling["inet"] = found  # the same after two writes: ours, as this machine's nft prints it
            return outcome
        if found in accepted:
            return outcome
        before = found if outcome.found else None
        programs.nft("-f", "-", text=AWAY + table)
        outcome.wrote("our table was not as it has to be" if there else "our table was not there")
    raise RulesError("another program changes our table all the time")


def remove() -> None:
    """Take our table away, if it is there."""
    if netlink.has_table(netlink.INET, TABLE):
        programs.nft("-f", "-", text=AWAY)
