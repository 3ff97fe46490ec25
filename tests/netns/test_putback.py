"""What a daemon left in namespaces is put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anetcon.install.restore import Putback
from anetcon.link.ledger import Ledger, LogRules, OwnTable, Sysctls
from anetcon.netlink import ct_sysctls
from anetcon.rules import invalid_sample, tables, work
from anetcon.rules.wording import IPTABLES, NFTABLES, WantedRules
from anetcon.testbed.bed import RUN_NETNS, Namespace, Testbed


def sysctls(namespace: Namespace) -> dict[str, str]:
    """The three, as they are."""
    with namespace.inside():
        return ct_sysctls.read_sysctls()


def attached(namespace: Namespace, store: Path) -> dict[str, str]:
    """Switch them on as the daemon does, and save what they were."""
    found = sysctls(namespace)
    Ledger(store).note(Sysctls(namespace.name, namespace.inode, found))
    with namespace.inside():
        ct_sysctls.switch_on(found)
    return found


def put_back(store: Path) -> list[str]:
    """All of it; what was said."""
    putback = Putback(store, RUN_NETNS)
    steps = list(putback.steps())
    assert [putback.carry_out(step) for step in steps] == [None] * len(steps)
    assert list(Putback(store, RUN_NETNS).steps()) == [], "the second time there is nothing to put back"
    return [str(step) for step in steps]


def test_sysctls_are_what_they_were(bed: Testbed, tmp_path: Path) -> None:
    """In a namespace that is still the same one, and only those that nobody else has set to something meanwhile."""
    one, theirs, other = (bed.namespace(name) for name in ("one", "theirs", "other"))
    one.sysctl(netfilter__nf_conntrack_events=2, netfilter__nf_conntrack_acct=1)
    before = {each.name: attached(each, tmp_path) for each in (one, theirs, other)}
    assert set(sysctls(one).values()) == {"1"}
    theirs.sysctl(netfilter__nf_conntrack_events=0)
    with other.path.open():  # held, since its number would be free for the next one as soon as it is gone
        other.close()
        again = Namespace(other.name)
    again.sysctl(netfilter__nf_conntrack_acct=1, netfilter__nf_conntrack_timestamp=1)
    try:
        new = sysctls(again)
        said = put_back(tmp_path)
        assert sysctls(one) == before[one.name]
        assert sysctls(theirs) == before[theirs.name] | {"nf_conntrack_events": "0"}
        assert sysctls(again) == new
    finally:
        again.close()
    assert f"restore  {one.name}: nf_conntrack_events to 2, nf_conntrack_timestamp to 0" in said


def test_of_another_boot_nothing_is_known(bed: Testbed, tmp_path: Path) -> None:
    """An inode number says nothing after a reboot; a torn line is passed over."""
    namespace = bed.namespace("one")
    attached(namespace, tmp_path)
    file = tmp_path / "ledger.jsonl"
    saved = json.loads(file.read_text())
    file.write_text(json.dumps(saved | {"boot_id": "another"}) + '\n{"netns": "torn\n')
    assert put_back(tmp_path) == []
    assert put_back(tmp_path / "no-store") == []


@pytest.mark.needs("nft", "iptables")
def test_what_a_crash_left_is_taken_away(bed: Testbed, tmp_path: Path) -> None:
    """LOG rules of both engines, the table that makes conntrack run and those that count what is invalid; what else
    stands there stays."""
    namespace = bed.namespace("one")
    ledger = Ledger(tmp_path)
    namespace.run("nft", "add table inet somebody")
    clean = namespace.run("nft", "list", "ruleset")
    for engine in (IPTABLES, NFTABLES):
        ledger.note(LogRules(namespace.name, namespace.inode, str(namespace.path), engine, "anetcon"))
        with namespace.inside():
            done = work.visit([], WantedRules(engine, "anetcon", "[A]X ", "[A]D ", None, ()), {})
        assert not done.error
    for table in (tables.TABLE, *(invalid_sample.made(family).name for family in invalid_sample.FAMILIES)):
        namespace.run("nft", "-f", "-", text=f"table {table} {{}}\n")
        for name, inode in ((namespace.name, namespace.inode), ("gone", 1)):
            ledger.note(OwnTable(name, inode, table))
    standing = namespace.run("nft", "list", "ruleset")
    assert standing.count("log prefix") >= 2
    said = put_back(tmp_path)
    ruleset = namespace.run("nft", "list", "ruleset")
    assert "anetcon" not in ruleset
    assert "log" not in ruleset
    assert clean.strip() in ruleset
    assert [line.split(": ")[1] for line in said] == [
        "our LOG rules, taken away",
        "the nftables table inet anetcon_conntrack, taken away",
        "the nftables table ip anetcon_packets, taken away",
        "the nftables table ip6 anetcon_packets, taken away",
    ]
