"""The rules as text: what the readme shows, what each setting adds."""

from __future__ import annotations

import hashlib
import ipaddress
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.rules import wording
from anetcon.rules.wording import WantedRules

WANTED = WantedRules("iptables-log", "anetcon", "[ANETCON][D][01234567] ", "[ANETCON][X][01234567] ", (6,))
NETWORKS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(lambda length: f"{address}/{length}")
)


def test_the_two_rules_are_the_readmes() -> None:
    """With TCP alone, character for character, in both families."""
    new = "-p tcp -m tcp -m state --state NEW -m conntrack"
    expected = [
        f'{new} --ctstate DNAT -j LOG --log-prefix "[ANETCON][D][01234567] "',
        f'{new} ! --ctstate DNAT -j LOG --log-prefix "[ANETCON][X][01234567] "',
    ]
    assert wording.iptables(WANTED, 4) == wording.iptables(WANTED, 6) == expected


def test_networks_narrow_the_second_rule_alone() -> None:
    """One non-DNAT rule a network of the family, canonical and once; 0.0.0.0/0 is no condition at all."""
    wanted = WANTED._replace(networks=("192.168.1.1/24", "192.168.1.0/24", "10.1.2.3/32", "2001:DB8::5/32"))
    rules = [rule.partition("-p ")[0] for rule in wording.iptables(wanted, 4)]
    assert rules == ["", "-s 192.168.1.0/24 ", "-s 10.1.2.3/32 "]
    assert [rule.partition("-p ")[0] for rule in wording.iptables(wanted, 6)] == ["", "-s 2001:db8::/32 "]
    everything = WANTED._replace(networks=("10.0.0.0/8", "0.0.0.0/0"))
    assert wording.iptables(everything, 4) == wording.iptables(WANTED, 4)
    assert len(wording.iptables(everything, 6)) == 1


def test_each_protocol_has_its_rules() -> None:
    """All protocols are rules without -p; ICMP is left to the family it belongs to; others go by name or number."""
    assert wording.iptables(WANTED._replace(protocols=None), 4)[0].startswith("-m state --state NEW")
    wanted = WANTED._replace(protocols=(1, 6, 17, 47, 58, 132))
    named = {family: [rule.split()[1] for rule in wording.iptables(wanted, family)][::2] for family in (4, 6)}
    assert named == {4: ["icmp", "tcp", "udp", "47", "sctp"], 6: ["tcp", "udp", "47", "ipv6-icmp", "sctp"]}


def test_our_table() -> None:
    """nftables' table has one chain before all source NAT, and the same two rules."""
    table = wording.nftables(WANTED._replace(networks=("10.0.0.0/8", "10.0.0.1", "::/0")))
    assert table.splitlines() == [
        "table inet anetcon {",
        "\tchain postrouting {",
        "\t\ttype nat hook postrouting priority 99; policy accept;",
        '\t\tmeta l4proto 6 ct state 0x8 ct status 0x20 log prefix "[ANETCON][D][01234567] "',
        '\t\tip saddr 10.0.0.0/8 meta l4proto 6 ct state 0x8 ct status ! 0x20 log prefix "[ANETCON][X][01234567] "',
        '\t\tip saddr 10.0.0.1 meta l4proto 6 ct state 0x8 ct status ! 0x20 log prefix "[ANETCON][X][01234567] "',
        '\t\tmeta nfproto ipv6 meta l4proto 6 ct state 0x8 ct status ! 0x20 log prefix "[ANETCON][X][01234567] "',
        "\t}",
        "}",
    ]


@pytest.mark.parametrize("hashed", [True, False])
def test_the_prefix(hashed: bool) -> None:
    """The parts, the namespace's digits where asked for, and a blank."""
    digits = hashlib.md5(b"qrouter-1", usedforsecurity=False).hexdigest()[:8]
    expected = f"[ANETCON][D][{digits}] " if hashed else "[ANETCON][D] "
    assert wording.prefix(("[ANETCON]", "[D]"), "qrouter-1", hashed) == expected


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_a_quoted_value_is_read_back_as_it_was(value: str) -> None:
    """Whatever a prefix holds, a shell-like reader gets the same; plain words stay bare."""
    assert shlex.split(wording.quoted(value).replace("\\'", "'")) == [value]
    assert wording.quoted("abc_-1") == "abc_-1"


@given(NETWORKS)
def test_a_canonical_network_is_the_same_network(network: str) -> None:
    """It stands for the same addresses, without host bits, and says nothing when it is all there are."""
    family, printed = wording.canonical(network)
    parsed = ipaddress.ip_network(network, strict=False)
    assert family == parsed.version
    assert printed == "" if not parsed.prefixlen else ipaddress.ip_network(printed) == parsed
