"""Who listens to conntrack's events."""

from __future__ import annotations

import dataclasses

from anetcon.doctor.finding import Severity
from anetcon.doctor.listeners import others, ours
from anetcon.doctor.look import NetlinkSocket
from tests.support.doctor_parts import ill, look, machine, one, process

OURS = NetlinkSocket(12, 1, 5, 0, 0, 50)
CONNTRACK = NetlinkSocket(12, 2, 7, 0, 0, 51)
ROUTE = NetlinkSocket(0, 3, 0xFFFF, 0, 0, 52)
SEEN = dataclasses.replace(machine(), owners={50: (100, 101), 51: (7,)})


def test_ours_are_no_strangers() -> None:
    """The daemon's sockets, and those of other protocols, are not spoken of."""
    assert ill(others(look(sockets=(OURS, ROUTE)), SEEN)) == []


def test_a_stranger() -> None:
    """It is named with its groups; one whose process cannot be seen is named too."""
    found = one(others(look(sockets=(OURS, CONNTRACK)), SEEN))
    assert (found.severity, found.found) == (Severity.NOTE, "conntrack (process 7) listens to NEW+UPDATE+DESTROY")
    assert "`kill 7`" in found.remedy
    unseen = one(others(look(sockets=(CONNTRACK,)), dataclasses.replace(SEEN, owners={})))
    assert "cannot be seen" in unseen.found
    assert "kill" not in unseen.remedy


def test_a_stranger_that_does_not_read() -> None:
    """What waits and what was lost is told, and the danger."""
    behind = dataclasses.replace(CONNTRACK, waiting=100_000, drops=4)
    found = one(others(look(sockets=(behind,)), SEEN))
    assert found.severity is Severity.WARNING
    assert "100000 bytes unread, lost 4 messages" in found.found
    assert "cannot be seen from outside" in found.means


def test_another_of_our_daemons_is_not_to_be_killed() -> None:
    """It is known by the name of its processes."""
    seen = dataclasses.replace(SEEN, processes={7: process(7, "anetcon-keeper")})
    found = one(others(look(sockets=(CONNTRACK,)), seen))
    assert "another ANetCon" in found.means
    assert "kill" not in found.remedy


def test_the_daemon_says_it_listens() -> None:
    """It is believed where it has a socket; where the sockets' owners cannot be seen that is said."""
    assert ill(ours(look(sockets=(OURS,)), SEEN)) == []
    assert one(ours(look(sockets=(CONNTRACK,)), SEEN)).severity is Severity.PROBLEM
    assert not one(ours(look(sockets=(OURS,)), dataclasses.replace(SEEN, owners={}))).checked
    assert list(ours(look(netns="other"), SEEN)) == []
