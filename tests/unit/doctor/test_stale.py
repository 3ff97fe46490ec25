"""Rules of ours that nobody keeps."""

from __future__ import annotations

import dataclasses

import pytest

from anetcon.doctor.finding import Severity
from anetcon.doctor.machine import Machine
from anetcon.doctor.ruleset import Chain, NamespaceRules
from anetcon.doctor.stale import stale
from tests.support.doctor_parts import ill, look, machine, one, process, said, without_daemon

TABLE = NamespaceRules(tables=(("inet", "anetcon"),))
ACTIVATION = NamespaceRules(tables=(("inet", "anetcon_conntrack"),))
SAMPLE = NamespaceRules(tables=(("ip6", "anetcon_packets"),))
CHAIN = NamespaceRules(chains=(Chain("ip", "nat", "anetcon"), Chain("ip", "filter", "anetcon")))


@pytest.mark.parametrize(
    ("rules", "seen", "left"),
    [
        (TABLE, without_daemon(), True),
        (TABLE, without_daemon(audit__engine="nftables-log"), True),
        (TABLE, machine(), True),
        (TABLE, machine(daemon=said(engine="nftables-log")), False),
        (ACTIVATION, without_daemon(audit__activate_conntrack=True), True),
        (ACTIVATION, machine(audit__activate_conntrack=True), False),
        (ACTIVATION, machine(), True),
        (SAMPLE, without_daemon(audit__record_invalid=True), True),
        (SAMPLE, machine(audit__record_invalid=True), False),
        (SAMPLE, machine(), True),
        (CHAIN, machine(), True),
        (CHAIN, machine(daemon=said(engine="iptables-log")), False),
        (CHAIN, without_daemon(audit__chain="other"), False),
        (NamespaceRules(), without_daemon(), False),
    ],
)
def test_what_is_left(rules: NamespaceRules, seen: Machine, left: bool) -> None:
    """A table or chain is left when no daemon with that engine keeps it."""
    assert bool(ill(stale(look(rules=rules), seen))) is left


def test_in_a_namespace_that_is_not_audited() -> None:
    """There nothing of ours has any business, whatever runs."""
    seen = machine(daemon=said(engine="nftables-log"))
    assert "nft delete table inet anetcon`" in one(stale(look(rules=TABLE, audited=False), seen)).remedy


def test_the_chain_of_another_program_is_its_own() -> None:
    """As long as another program runs that keeps the chain, it is not held to be left."""
    old = dataclasses.replace(without_daemon(), others=[process(5, "anetcon.sh", "bash", "/usr/sbin/anetcon.sh")])
    assert ill(stale(look(rules=CHAIN), old)) == []


def test_another_daemon_of_ours_may_keep_it() -> None:
    """With another store it is another daemon: its rules are not ours to call left."""
    other = dataclasses.replace(without_daemon(), processes={5: process(5, "anetcon-keeper")})
    found = one(stale(look(rules=TABLE), other))
    assert (found.severity, "process 5" in found.means) == (Severity.NOTE, True)


def test_iptables_legacy() -> None:
    """Its chains are found in what it saves, and removed by it."""
    saved = "*nat\n:POSTROUTING ACCEPT [0:0]\n:anetcon - [0:0]\n"
    assert "ip6tables-legacy -w -t nat -X anetcon" in one(stale(look(legacy={"ip6": saved}), machine())).remedy
