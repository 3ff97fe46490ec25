"""The three sysctls."""

from __future__ import annotations

import pytest

from anetcon.doctor.finding import Severity
from anetcon.doctor.sysctls import sysctls, weaknesses
from tests.support.doctor_parts import ill, look, machine, one, said, without_daemon

WRONG = {"nf_conntrack_events": "2", "nf_conntrack_timestamp": "0", "nf_conntrack_acct": "1"}


def test_before_and_after_the_daemon_set_them() -> None:
    """What the daemon is going to set is a note; what somebody changed behind its back is a problem."""
    before = one(sysctls(look(sysctls=WRONG), without_daemon()))
    after = one(sysctls(look(sysctls=WRONG), machine()))
    assert (before.severity, after.severity) == (Severity.NOTE, Severity.PROBLEM)
    assert before.found == "nf_conntrack_events is 2, nf_conntrack_timestamp is 0, not 1"
    command = "sysctl -w net.netfilter.nf_conntrack_events=1 net.netfilter.nf_conntrack_timestamp=1"
    assert f"`nsenter --net=/run/netns/qrouter-1 {command}`" in after.remedy


def test_nothing_is_asked_of_who_does_not_need_them() -> None:
    """A LOG engine needs none, nor does a namespace that is not audited."""
    assert (
        list(sysctls(look(sysctls=WRONG), machine(daemon=without_daemon().daemon, audit__engine="iptables-log"))) == []
    )
    assert list(sysctls(look(sysctls=WRONG, audited=False), machine())) == []
    assert ill(sysctls(look(), machine())) == []


def test_without_conntrack() -> None:
    """Where the module is not loaded that is said, once."""
    assert "modprobe" in one(sysctls(look(sysctls={}), without_daemon())).remedy


@pytest.mark.parametrize(
    ("name", "check", "severity"),
    [
        ("nf_conntrack_tcp_be_liberal", "liberal", Severity.WARNING),
        ("nf_conntrack_tcp_loose", "loose", Severity.NOTE),
    ],
)
def test_what_weakens_proof(name: str, check: str, severity: Severity) -> None:
    """A sysctl that takes more for a connection than proves one is told, with the command that sets it back."""
    for sysctls_there in ({}, {name: "0"}):
        assert list(weaknesses(look(sysctls=sysctls_there), machine())) == []
    there = {name: "1"}
    found = one(weaknesses(look(sysctls=there), machine()))
    assert (found.check, found.severity, found.found) == (check, severity, f"{name} is 1")
    assert f"`nsenter --net=/run/netns/qrouter-1 sysctl -w net.netfilter.{name}=0`" in found.remedy
    assert list(weaknesses(look(sysctls=there, audited=False), machine())) == []
    assert list(weaknesses(look(sysctls=there), machine(daemon=said(engine="iptables-log")))) == []
