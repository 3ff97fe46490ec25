"""The testbed's rules are those of a real Neutron router."""

from __future__ import annotations

import re
from pathlib import Path

from anetcon.testbed import neutron_rules
from anetcon.testbed.neutron_rules import Forwarding, Ports

DATA = Path(__file__).parents[2] / "data" / "neutron"
PORTS = Ports("qr-3681bd8b-b9", "qg-27d4b1d7-1a")
COMMENT = re.compile(r'-m comment --comment "[^"]*" ')


def by_table(text: str) -> dict[str, list[str]]:
    """The rules of an iptables-save file, in order, without comments and counters."""
    tables: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            rules_of_one = tables.setdefault(line[1:], [])
        elif line.startswith("-A"):
            rules_of_one.append(COMMENT.sub("", line))
    return tables


def test_every_rule_is_one_of_neutrons() -> None:
    """With a real router's addresses and interfaces, the rules of nat and mangle are all there and no others."""
    real = by_table((DATA / "iptables-save.txt").read_text())
    ours = by_table(neutron_rules.ipv4(PORTS, "203.0.113.196", {"203.0.113.115": "10.20.30.12"}))
    for table in ("nat", "mangle"):
        assert set(ours[table]) == set(real[table]), table
    assert set(ours["filter"]) <= set(real["filter"])


def test_order_within_a_chain_is_neutrons() -> None:
    """Rules of one chain come in the order of the real router's: the first that matches decides."""
    real = by_table((DATA / "iptables-save.txt").read_text())
    ours = by_table(neutron_rules.ipv4(PORTS, "203.0.113.196", {"203.0.113.115": "10.20.30.12"}))
    for table in ("nat", "mangle"):
        for chain in {rule.split()[1] for rule in real[table]} - {"PREROUTING"}:
            of_chain = [[rule for rule in each[table] if rule.split()[1] == chain] for each in (real, ours)]
            assert of_chain[1] == of_chain[0], chain


def test_ipv6_is_marked_and_not_translated() -> None:
    """There is no nat table for IPv6, and every mark rule is one of Neutron's but for another router port's name."""
    ours = by_table(neutron_rules.ipv6(PORTS))
    assert "nat" not in ours
    real = by_table((DATA / "ip6tables-save.txt").read_text().replace("qr-7d94fbfe-53", PORTS.inner))
    assert set(ours["mangle"]) <= set(real["mangle"])


def test_a_forwarded_port_leads_inside() -> None:
    """One rule for what comes in and one for the router's own connections."""
    text = neutron_rules.ipv4(PORTS, "203.0.113.196", {}, [Forwarding("203.0.113.100", 2222, "10.20.30.11", 22)])
    wanted = "-d 203.0.113.100/32 -p tcp -m tcp --dport 2222 -j DNAT --to-destination 10.20.30.11:22"
    assert [line.split()[1] for line in text.splitlines() if wanted in line] == [
        "neutron-l3-agent-PREROUTING",
        "neutron-l3-agent-OUTPUT",
    ]
