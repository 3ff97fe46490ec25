"""Which rules of a real kernel drop what conntrack calls invalid, for certain; and that doctor finds them."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path

import pytest

from anetcon.doctor import ruleset, table
from anetcon.doctor.finding import Severity
from anetcon.netlink import invalid
from anetcon.netlink.dump import NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETTABLE
from anetcon.testbed.bed import Namespace, Testbed, command
from tests.load.kernel import NETLINK_NETFILTER
from tests.support.doctor_parts import look, machine

TABLE = "table {family} t {{\n{flags}\nchain f {{ type filter hook {hook} priority 0;\n{rules}\n}}\n}}\n"
BOTH = ["ip", "ip6"]
INVALID = "-m conntrack --ctstate INVALID"


def families(namespace: Namespace) -> list[str]:
    """Of which families they are dropped."""
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
        asking.settimeout(5)
        rules, chains, tables = (
            ruleset.dump(asking, kind) for kind in (NFT_MSG_GETRULE, NFT_MSG_GETCHAIN, NFT_MSG_GETTABLE)
        )
        assert ruleset.read(asking).drops_invalid == invalid.dropped(map(invalid.ruled, rules), chains, tables)
    return sorted(invalid.dropped(map(invalid.ruled, rules), chains, tables))


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("ct state invalid drop", BOTH),
        ("ct state invalid counter drop", BOTH),
        ("counter ct state invalid,untracked log drop", BOTH),
        ("ct state { invalid } drop", BOTH),
        ("ct state established,related accept\nct state invalid drop", BOTH),
        ("tcp dport 5 drop\nct state invalid drop", BOTH),
        ("iifname lo accept\nct state invalid drop", []),
        ("jump other\nct state invalid drop", []),
        ("iifname lo ct state invalid drop", []),
        ("ct state invalid accept\nct state invalid drop", []),
        ("ct state invalid limit rate 5/second drop", []),
        ("ct state != invalid drop", []),
        ("ct state new drop", []),
        ("ct state vmap { established : accept, invalid : drop }", []),
        ("ct direction original drop", []),
        ("drop", []),
    ],
)
def test_nftables(bed: Testbed, rules: str, found: list[str]) -> None:
    """A rule of the forward chain that asks for the state alone, with none before it that may let such packets pass."""
    namespace = bed.namespace("rules")
    other = "table inet t {\nchain other {\n}\n}\n"
    namespace.run("nft", "-f", "-", text=other + TABLE.format(family="inet", flags="", hook="forward", rules=rules))
    assert families(namespace) == found


@pytest.mark.parametrize(
    ("family", "flags", "hook", "found"),
    [
        ("ip", "", "forward", ["ip"]),
        ("ip6", "", "forward", ["ip6"]),
        ("inet", "", "input", []),
        ("inet", "flags dormant;", "forward", []),
    ],
)
def test_where_it_stands(bed: Testbed, family: str, flags: str, hook: str, found: list[str]) -> None:
    """Of the family of its table, in the forward hook, and not in a table that is dormant."""
    namespace = bed.namespace("rules")
    text = TABLE.format(family=family, flags=flags, hook=hook, rules="ct state invalid drop")
    namespace.run("nft", "-f", "-", text=text)
    assert families(namespace) == found


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (f"{INVALID} -j DROP", ["ip"]),
        (f"{INVALID} -m comment --comment why -j DROP", ["ip"]),
        ("-m state --state INVALID -j DROP", ["ip"]),
        (f"{INVALID} -i lo -j DROP", []),
        ("-m conntrack ! --ctstate INVALID -j DROP", []),
        (f"{INVALID} --ctproto 6 -j DROP", []),
        (f"{INVALID} -j REJECT", []),
    ],
)
def test_iptables(bed: Testbed, rule: str, found: list[str]) -> None:
    """The same, as iptables-nft writes it, behind the usual rule for what is established; and ip6tables-nft alike."""
    namespace = bed.namespace("rules")
    for program, family in (("iptables-nft", "ip"), ("ip6tables-nft", "ip6")):
        namespace.run(program, "-A", "FORWARD", *shlex.split("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"))
        namespace.run(program, "-A", "FORWARD", *shlex.split(rule))
        assert families(namespace) == ([] if not found else ["ip", "ip6"][: 1 + (family == "ip6")])


def test_what_doctor_advises(bed: Testbed) -> None:
    """The command that the finding names drops them, and doctor finds that it does."""
    namespace = bed.namespace("rules")
    tracking = "table ip t {\nchain c {\nct state new\n}\n}\n"
    namespace.run("nft", "-f", "-", text=tracking)
    path = Path("/run/netns", namespace.name)
    (found,) = table.untracked(look(path=path, rules=rules_of(namespace)), machine())
    command(["sh", "-c", re.findall(r"`([^`]+)`", found.remedy)[0]])
    assert families(namespace) == BOTH
    (found,) = table.untracked(look(path=path, rules=rules_of(namespace)), machine())
    assert found.severity is Severity.OK


def rules_of(namespace: Namespace) -> ruleset.NamespaceRules:
    """All that nftables has there."""
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
        return ruleset.read(asking)
