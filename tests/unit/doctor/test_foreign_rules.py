"""Rules of others."""

from __future__ import annotations

import dataclasses

import pytest

from anetcon.doctor import foreign_rules
from anetcon.doctor.ruleset import Chain, Expression, Flowtable, NamespaceRules, Rule
from tests.support.doctor_parts import ill, look, machine, one, said, without_daemon


def of(*expressions: Expression, table: str = "raw", chain: str = "PREROUTING") -> Rule:
    """A rule with handle 7."""
    return Rule("ip", table, chain, 7, expressions, tracks=False)


@pytest.mark.parametrize("what", ["takes packets out of connection tracking", "takes events away from connections"])
def test_what_hides(what: str) -> None:
    """A rule that capture too would hold against the record, with the command that deletes it."""
    rule = dataclasses.replace(of(Expression("payload")), hides=f"a rule in table ip raw, chain PREROUTING, {what}")
    found = one(foreign_rules.hiding(look(rules=NamespaceRules(rules=(of(Expression("counter")), rule))), machine()))
    assert found.found.endswith(f"{what} (handle 7)")
    assert ("its end" in found.means) is ("events" in what)
    assert "`nsenter --net=/run/netns/qrouter-1 nft delete rule ip raw PREROUTING handle 7`" in found.remedy


@pytest.mark.parametrize(
    ("rule", "hides"),
    [
        ("PREROUTING -p udp -j CT --notrack", True),
        ("PREROUTING -p udp -j NOTRACK", True),
        ("PREROUTING -j CT --ctevents new", True),
        ("PREROUTING -j CT --ctevents new,destroy,mark", False),
        ("PREROUTING -j CT --helper ftp", False),
        ("PREROUTING -j CTX --notrack", False),
    ],
)
def test_what_hides_in_legacy_rules(rule: str, hides: bool) -> None:
    """The same, in iptables' own words, which delete it."""
    found = ill(foreign_rules.hiding(look(legacy={"ip6": f"*raw\n-A {rule}\nCOMMIT\n"}), machine()))
    assert [f"ip6tables-legacy -w -t raw -D {rule}`" in each.remedy for each in found] == [True] * hides


def test_rules_that_cannot_be_read() -> None:
    """That is said, rather than that there are none."""
    assert not one(foreign_rules.hiding(look(failed={"rules": "Operation not permitted"}), machine())).checked


def test_flowtables() -> None:
    """One that does not count is found."""
    tables = (Flowtable("inet", "f", "fast", counts=False), Flowtable("inet", "f", "counted", counts=True))
    assert "inet f fast" in one(foreign_rules.offload(look(rules=NamespaceRules(flowtables=tables)), machine())).found


def test_chains_before_our_log_rules() -> None:
    """A nat chain of postrouting that translates before priority 99 is found, one at 100 or of another kind is not."""
    chains = (
        Chain("ip", "early", "c", "nat", 4, 98),
        Chain("ip", "usual", "c", "nat", 4, 100),
        Chain("ip", "in", "c", "nat", 0, -100),
        Chain("ip", "filter", "c", "filter", 4, 0),
        Chain("ip", "idle", "c", "nat", 4, 0),
    )
    translate = tuple(of(Expression("nat"), table=each.table, chain="c") for each in chains[:4])
    seen = look(rules=NamespaceRules(chains=chains, rules=translate))
    found = one(foreign_rules.before_ours(seen, without_daemon(audit__engine="nftables-log")))
    assert found.found == "chain ip early c translates at priority 98, before ours at 99"
    assert list(foreign_rules.before_ours(seen, machine())) == []


def test_a_jump_that_is_not_first() -> None:
    """With iptables-log our jump has to be the first of nat POSTROUTING, whichever iptables wrote it."""
    log = machine(daemon=said(engine="iptables-log"))
    jump = of(Expression("immediate", jump="anetcon"), table="nat", chain="POSTROUTING")
    other = of(Expression("immediate", jump="neutron"), table="nat", chain="POSTROUTING")
    six = {"ip6": "-A POSTROUTING -j anetcon\n-A POSTROUTING -j other\n"}
    assert ill(foreign_rules.before_ours(look(rules=NamespaceRules(rules=(jump, other)), legacy=six), log)) == []
    moved = one(foreign_rules.before_ours(look(rules=NamespaceRules(rules=(other, jump)), legacy=six), log))
    assert moved.found.startswith("the jump to anetcon is not the first rule of iptables's")
    assert len(ill(foreign_rules.before_ours(look(), log))) == 2
