"""The engine iptables-log in the namespace we are in: our chain in the nat table of iptables and ip6tables, nft or
legacy, whichever the namespace uses.

All is read, what is wrong is written, and all is read again until nothing is wrong: so what was written is verified,
another program's change in between is seen, and the generation that is told is that of a ruleset that is right. A
write that fails because somebody else was faster is tried again a moment later, a few times.

Refuses to touch a rule that is not ours, and to make tables by reading.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from anetcon.netlink import generation as netlink
from anetcon.netlink.generation import RulesetWatch
from anetcon.rules import iptables_save, programs, wording
from anetcon.rules.iptables_save import Nat
from anetcon.rules.outcome import Spelling, VisitOutcome
from anetcon.rules.programs import MissingError, Moment, RulesError
from anetcon.rules.wording import WantedRules

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds to wait after each failure; after the last one the rules are given up until the next check."""

STARTED_SECONDS = 0.003
"""What a program needs to start and wait for its input."""
CROWDED_SECONDS = 0.25
"""A ruleset that stays as it is for so long is not crowded any more."""

_NO_IPV6 = ("Table does not exist", "can't initialize", "not supported")


class _Family:
    """One of the two, during a visit."""

    def __init__(self, family: int, wanted: WantedRules, spelling: Spelling) -> None:
        self.family = family
        self.name = "IPv4" if family == 4 else "IPv6"
        self.chain = wanted.chain
        self.rules = wording.iptables(wanted, family)
        self.accepted = [self.rules, *([spelling[str(family)]] if str(family) in spelling else [])]
        self.writes = 0
        self.read_back: list[str] | None = None

    def put_right(self, outcome: VisitOutcome, moment: Moment | None) -> bool:
        """Look, and write if something is wrong; whether all was right."""
        variant = used(self.family)
        outcome.legacy |= variant == "legacy"
        right = self._leave_legacy(outcome) if variant == "nft" else True
        nat = read(self.family, variant)
        why = iptables_save.wrong(nat, self.chain, self.accepted)
        if why is not None and self._only_spelled(nat, outcome):
            why = iptables_save.wrong(nat, self.chain, self.accepted)
        if why is None:
            return right
        repair = iptables_save.repair(nat, self.chain, self.accepted)
        programs.restore(self.family, variant, repair, moment if variant == "nft" else None)
        self.writes += 1
        outcome.wrote(f"{self.name}: {why}")
        return False

    def _only_spelled(self, nat: Nat, outcome: VisitOutcome) -> bool:
        """What is read back the same after two writes is ours, as this machine's programs print it."""
        printed = nat.rules.get(self.chain, [])
        if not self.writes:
            return False
        if printed != self.read_back or len(printed) != len(self.rules):
            self.read_back = printed
            return False
        self.accepted.append(printed)
        outcome.spelling[str(self.family)] = printed
        return True

    def _leave_legacy(self, outcome: VisitOutcome) -> bool:
        """Where the namespace has changed to nft, our chain in the old tables would print every line again."""
        if not programs.names_nat(self.family) or not _remove(self.family, "legacy", self.chain):
            return True
        outcome.wrote(f"{self.name}: the chain was in iptables-legacy, which is not used here any more")
        return False


def stand(wanted: WantedRules, spelling: Spelling, crowded: bool = False) -> VisitOutcome:
    """See that the rules stand. RulesError when they do not.

    `crowded`: another program changes the ruleset all the time. Then each write waits for the next commit and follows
    it at once: a program that has just written has to read again before it writes again, and that takes it longer. A
    rule that is deleted between another program's look at the table and its commit would make that commit fail.
    """
    outcome = VisitOutcome(spelling=dict(spelling))
    moment = _after_a_commit() if crowded else None
    families = [_Family(family, wanted, spelling) for family in wording.FAMILIES if family == 4 or _has_ipv6()]
    failure = RulesError("another program changes them all the time")
    for pause in PAUSES:
        outcome.look()
        outcome.generation = netlink.generation()
        try:
            right = [_put_right(each, families, outcome, moment) for each in list(families)]
            if all(right):
                return outcome
        except MissingError:
            raise
        except RulesError as error:
            failure = error
            time.sleep(pause)
    raise failure


def _after_a_commit() -> Moment:
    watch = RulesetWatch()

    def moment() -> None:
        time.sleep(STARTED_SECONDS)
        watch.wait_commit(CROWDED_SECONDS)

    return moment


def _put_right(each: _Family, families: list[_Family], outcome: VisitOutcome, moment: Moment | None) -> bool:
    """IPv6 that this machine has no programs or tables for is left out, and that is said."""
    try:
        return each.put_right(outcome, moment)
    except RulesError as error:
        missing = isinstance(error, MissingError) or any(words in str(error) for words in _NO_IPV6)
        if each.family == 4 or not missing:
            raise
        families.remove(each)
        outcome.notes.append(f"IPv6 connections are not logged: {error}")
        return True


def remove(chain: str) -> None:
    """Take our chain away, wherever it is. RulesError when it cannot be."""
    for family in wording.FAMILIES:
        with contextlib.suppress(*([MissingError] if family == 6 else [])):
            if netlink.has_table(family, "nat"):
                _remove(family, "nft", chain)
            if programs.names_nat(family):
                _remove(family, "legacy", chain)


def _remove(family: int, variant: str, chain: str) -> bool:
    """Whether it was there."""
    failure = None
    for pause in PAUSES:
        try:
            away = iptables_save.removal(read(family, variant), chain)
            if away is None:
                return False
            programs.restore(family, variant, away)
        except MissingError:
            raise
        except RulesError as error:
            failure = error
            time.sleep(pause)
        else:
            return True
    assert failure is not None  # noqa: S101  (for the type checker)
    raise failure


def used(family: int) -> str:
    """nft or legacy: what has a nat table of this family here, else what the other family has, else nft."""
    for each in (family, 10 - family):
        if netlink.has_table(each, "nat"):
            return "nft"
        if programs.names_nat(each):
            return "legacy"
    return "nft" if netlink.generation() != netlink.UNKNOWN else "legacy"


def read(family: int, variant: str) -> Nat:
    """The nat table. One that is not there is not asked for, since asking would make it."""
    there = netlink.has_table(family, "nat") if variant == "nft" else programs.names_nat(family)
    return Nat(programs.save(family, variant)) if there else Nat()


def _has_ipv6() -> bool:
    return Path("/proc/thread-self/net/if_inet6").exists()
