"""The connection table."""

from __future__ import annotations

from typing import Any

import pytest

from anetcon.doctor import table
from anetcon.doctor.finding import Severity
from anetcon.doctor.look import NamespaceLook
from anetcon.doctor.ruleset import NamespaceRules, Rule
from tests.support.doctor_parts import STATUS, ill, look, machine, one, said, without_daemon

KNOWN: dict[str, Any] = STATUS["namespaces"][0]  # type: ignore[index]

LEGACY = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"


def tracking(family: str) -> NamespaceRules:
    """Rules of which one makes conntrack run."""
    return NamespaceRules(rules=(Rule(family, "t", "c", 1, (), tracks=True),))


def filled(count: int, limit: int = 1000, buckets: int = 1000) -> NamespaceLook:
    """A table with so many connections."""
    return look(
        sysctls={
            f"nf_conntrack_{n}": str(v)
            for n, v in zip(("count", "max", "buckets"), (count, limit, buckets), strict=True)
        }
    )


@pytest.mark.parametrize(
    ("seen", "families"),
    [
        (look(rules=tracking("ip")), {"ip"}),
        (look(rules=tracking("inet")), {"ip", "ip6"}),
        (look(rules=tracking("bridge")), set()),
        (look(legacy={"ip6": LEGACY}), {"ip6"}),
        (look(legacy={"ip": LEGACY.replace("MASQUERADE", "LOG")}), set()),
    ],
)
def test_which_families_are_tracked(seen: NamespaceLook, families: set[str]) -> None:
    """A rule makes its own family tracked, one of inet both."""
    assert table.tracked_families(seen) == families


def test_conntrack_runs_where_it_counts() -> None:
    """A table with connections in it is proof enough, whatever the rules say."""
    assert ill(table.tracking(look(), machine())) == []
    idle = filled(0)
    assert "activate_conntrack = true" in one(table.tracking(idle, machine())).remedy
    assert "its log" in one(table.tracking(idle, machine(audit__activate_conntrack=True))).remedy
    assert ill(table.tracking(look(rules=tracking("ip")), machine())) == []
    assert "IPv6" in one(table.tracking(look(rules=tracking("ip"), forwards6=True), machine())).means


@pytest.mark.parametrize(
    ("seen", "severity", "words"),
    [
        (filled(699), Severity.OK, "699 of 1000"),
        (filled(700), Severity.WARNING, "nf_conntrack_max=65536"),
        (filled(950), Severity.PROBLEM, "nf_conntrack_max=65536"),
        (filled(5, limit=0), Severity.WARNING, "nf_conntrack_max=262144"),
        (filled(500_000, 1_000_000, 50_000), Severity.WARNING, "nf_conntrack_buckets=100000"),
    ],
)
def test_the_size(seen: NamespaceLook, severity: Severity, words: str) -> None:
    """Against guard_share, against being full, without a limit, and against the buckets."""
    (found,) = table.size(seen, machine())
    assert found.severity is severity
    assert words in found.found + found.remedy


def test_above_the_guard_share_matters_in_hold_only() -> None:
    """Who sheds anyhow has nothing to lose there."""
    assert ill(table.size(filled(800), machine(audit__on_overload="shed"))) == []


@pytest.mark.parametrize(
    ("count", "counted", "severity"),
    [
        (5, {"drop": 0}, Severity.OK),
        (5, {"drop": 3}, Severity.NOTE),
        (600, {"early_drop": 3}, Severity.WARNING),
        (600, {"insert_failed": 3}, Severity.NOTE),
        (5, {"chain_toolong": 1}, Severity.NOTE),
    ],
)
def test_refusals(count: int, counted: dict[str, int], severity: Severity) -> None:
    """What was refused long ago is a note; while the table is full again it is a warning."""
    seen = filled(count)
    seen.statistics = counted
    (found,) = table.refused(seen, machine())
    assert found.severity is severity
    assert severity is Severity.OK or found.remedy


def test_nothing_is_said_of_what_is_not_audited() -> None:
    """Whatever the table of a namespace that nobody audits looks like."""
    seen = look(audited=False, statistics={"drop": 1})
    checks = (table.tracking, table.size, table.refused)
    assert [found for check in checks for found in check(seen, machine())] == []


@pytest.mark.parametrize(("dropped", "named"), [(set(), "IPv4 and IPv6"), ({"ip"}, "of IPv6;"), ({"ip6"}, "of IPv4;")])
def test_what_is_invalid_and_may_be_forwarded(dropped: set[str], named: str) -> None:
    """A note with the family, the count and the rule that drops it."""
    rules = NamespaceRules(rules=tracking("ip").rules, drops_invalid=frozenset(dropped))
    found = one(table.untracked(look(rules=rules, statistics={"invalid": 3, "error": 4}), machine()))
    assert found.severity is Severity.NOTE
    assert named in found.found
    assert "counted 7" in found.found
    assert "ct state invalid drop" in found.remedy


def test_what_is_invalid_and_dropped() -> None:
    """All is well; and nothing is said where conntrack does not run."""
    rules = NamespaceRules(rules=tracking("ip").rules, drops_invalid=frozenset({"ip", "ip6"}))
    (found,) = table.untracked(look(rules=rules), machine())
    assert found.severity is Severity.OK
    assert list(table.untracked(look(), machine())) == []


@pytest.mark.parametrize(
    ("tables", "there"), [((("ip", "anetcon_packets"),), True), ((("ip6", "anetcon_packets"),), False)]
)
def test_what_is_invalid_and_to_be_recorded(tables: tuple[tuple[str, str], ...], there: bool) -> None:
    """Our table stands for each family that is tracked, or it is said that it does not; a daemon that does not run is
    no matter here."""
    rules = NamespaceRules(tables=tables, rules=tracking("ip").rules, drops_invalid=frozenset({"ip", "ip6"}))
    found = ill(table.untracked(look(rules=rules), machine(audit__record_invalid=True)))
    assert [each.severity for each in found] == [Severity.WARNING] * (not there)
    assert ill(table.untracked(look(rules=rules), machine())) == []
    assert ill(table.untracked(look(rules=rules), without_daemon(audit__record_invalid=True))) == []
    forwarding = NamespaceRules(tables=rules.tables, rules=rules.rules)
    *_, found_then = ill(table.untracked(look(rules=forwarding), machine(audit__record_invalid=True)))
    assert ("records a sample" in found_then.means) is there
    legacy = {"ip6": "-A INPUT -m conntrack --ctstate NEW"}
    assert len(ill(table.untracked(look(rules=rules, legacy=legacy), machine(audit__record_invalid=True)))) == (
        not there
    )


@pytest.mark.parametrize(
    "namespaces",
    [
        [{**KNOWN, "state": "young"}],
        [{**KNOWN, "since": "2026-11-18T11:06:20.000000Z"}],
        [{**KNOWN, "inode": 8}],
        [],
    ],
)
def test_a_namespace_that_is_new(namespaces: list[dict[str, Any]]) -> None:
    """Nobody is told to make conntrack run where the daemon knows the namespace for a moment only, or not yet."""
    assert ill(table.tracking(filled(0), machine(daemon=said(namespaces=namespaces)))) == []


@pytest.mark.parametrize("state", ["attached", "conntrack-inactive", "retrying"])
def test_a_namespace_that_is_known_for_long(state: str) -> None:
    """It has no rule: that is said, whatever the daemon calls it; and so where no daemon runs."""
    known = said(namespaces=[{**KNOWN, "state": state}])
    assert "activate_conntrack" in one(table.tracking(filled(0), machine(daemon=known))).remedy
    assert "activate_conntrack" in one(table.tracking(filled(0), without_daemon())).remedy
