"""The three sysctls."""

from __future__ import annotations

from anetcon.doctor.finding import Severity
from anetcon.doctor.sysctls import liberal, loose, sysctls
from tests.support.doctor_parts import ill, look, machine, one, without_daemon

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


def test_tcp_that_is_taken_liberally() -> None:
    """Where conntrack does not look at sequence numbers that is a warning; at 0, or without conntrack, nothing."""
    for sysctls_there in ({}, {"nf_conntrack_tcp_be_liberal": "0"}):
        assert list(liberal(look(sysctls=sysctls_there), machine())) == []
    there = {"nf_conntrack_tcp_be_liberal": "1"}
    found = one(liberal(look(sysctls=there), machine()))
    assert found.severity is Severity.WARNING
    assert "`nsenter --net=/run/netns/qrouter-1 sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=0`" in found.remedy
    assert list(liberal(look(sysctls=there, audited=False), machine())) == []


def test_tcp_that_is_picked_up_in_the_middle() -> None:
    """Where conntrack takes it up that is a note, with the command; at 0, or without conntrack, nothing."""
    for sysctls_there in ({}, {"nf_conntrack_tcp_loose": "0"}):
        assert list(loose(look(sysctls=sysctls_there), machine())) == []
    there = {"nf_conntrack_tcp_loose": "1"}
    found = one(loose(look(sysctls=there), machine()))
    assert found.severity is Severity.NOTE
    assert "`nsenter --net=/run/netns/qrouter-1 sysctl -w net.netfilter.nf_conntrack_tcp_loose=0`" in found.remedy
    assert list(loose(look(sysctls=there, audited=False), machine())) == []
