"""Somebody switches the audit's ground away: events off, a rule without tracking, another time. Each is a gap.

The daemon's own detections are tested in tests/e2e/test_losses.py as well; here what was made meanwhile is counted, and
each detection is removed once.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.testbed.bed import Namespace, Testbed
from tests.e2e.faults.conftest import Weaken
from tests.support.daemon import Daemon, seconds
from tests.support.hosts import tracked
from tests.support.ledger import SLACK, UnaccountedError
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]
Made = dict[int, float]
Tamper = Callable[[Namespace], Made]

PORT, HOUR = 9000, 3600.0
HIDDEN = (
    "table inet hide {\n chain early {\n  type filter hook output priority -300\n  udp dport 9000-9999 notrack\n }\n}\n"
)
NO_WATCH = """
from anetcon.keeper import watched
watched.Watched.mend = lambda *_: iter(())
"""
NO_RULES = """
from anetcon.netlink import hiding
hiding.hides = lambda rule: None
from anetcon.capture.untracked import Untracked
Untracked.counted = lambda *_: None
"""
OTHER_TIME = """
import os, time
real = time.time_ns
time.time_ns = lambda: real() + (3600 * 10**9 if os.path.exists({flag!r}) else 0)
"""
NO_CLOCK = """
from anetcon.capture import clock_steps
clock_steps.moved = lambda before, now: []
"""


def made(host: Namespace, count: int) -> Made:
    """Datagrams to as many ports, each a connection if it is tracked; when each was sent."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sent = {}
        for port in range(PORT, PORT + count):
            sent[port] = time.time()
            sender.sendto(b"x", ("127.0.0.1", port))
    return sent


def account(auditor: Daemon, host: Namespace, sent: Made) -> None:
    """Each is on record, or was made inside a gap of its namespace. Raises UnaccountedError."""
    found = {record["dst_port"] for record in auditor.search("--netns", host.name, "--proto", "udp")}
    gaps = [gap for gap in auditor.gaps("--netns", host.name) if gap["netns"] == host.name]
    spans = [(seconds(g["from"]), seconds(g["to"]) if g["to"] else float("inf")) for g in gaps]
    left = {port for port, at in sent.items() if port not in found and not any(a <= at <= b for a, b in spans)}
    if left:
        raise UnaccountedError(f"{len(left)} of {len(sent)} are neither on record nor in a gap")


def started(daemon: Start, host: Namespace) -> Daemon:
    """A daemon that has looked at everything once."""
    auditor = daemon(host.name)
    auditor.wait_attached([host.name])
    auditor.wait_written()
    return auditor


def has_looked(auditor: Daemon, since: float) -> None:
    """Until its looks once a second have come by."""
    wait_until(lambda: (auditor.flushed() or 0) > (since + 2.5) * 1e6, 20, "it has looked again", every=0.2)


def switched_off(host: Namespace) -> Made:
    """Connections made and deleted while events are off: nothing is ever told of them."""
    host.sysctl(netfilter__nf_conntrack_events=0)
    sent = made(host, 20)
    host.run("conntrack", "-D", "-p", "udp")
    return sent


def hidden(host: Namespace) -> Made:
    """Connections that a rule keeps away from connection tracking."""
    host.run("nft", "-f", "-", text=HIDDEN)
    return made(host, 20)


@pytest.mark.needs("conntrack", "nft")
@pytest.mark.parametrize(
    ("tamper", "words"),
    [(switched_off, "was switched off by somebody"), (hidden, "what passes there is not recorded")],
    ids=["switched off", "hidden"],
)
def test_nothing_is_told_and_that_is_said(bed: Testbed, daemon: Start, tamper: Tamper, words: str) -> None:
    """What was made meanwhile is inside a gap."""
    host = tracked(bed)
    auditor = started(daemon, host)
    sent = tamper(host)
    wait_until(lambda: words in auditor.errors(), 30, "it is noticed")
    auditor.wait_flushed()  # also what the keeper tells capture
    account(auditor, host, sent)


@pytest.mark.needs("conntrack", "nft")
@pytest.mark.parametrize(
    ("tamper", "module", "code"),
    [(switched_off, "anetcon.keeper.main", NO_WATCH), (hidden, "anetcon.capture.main", NO_RULES)],
    ids=["switched off", "hidden"],
)
def test_nothing_is_told_and_nobody_looks(
    bed: Testbed,
    daemon: Start,
    weakened: Weaken,
    tamper: Tamper,
    module: str,
    code: str,
) -> None:
    """The control: a daemon that does not look for it is found out."""
    weakened(module, code)
    host = tracked(bed)
    auditor = started(daemon, host)
    sent = tamper(host)
    has_looked(auditor, time.time())
    with pytest.raises(UnaccountedError, match="20 of 20"):
        account(auditor, host, sent)


def set_forward(auditor: Daemon, host: Namespace, flag: Path) -> float:
    """Capture's wall clock is set forward by an hour; when. Connections made then are still found."""
    flag.touch()
    moment = time.time()
    sent = made(host, 3)
    wait_until(
        lambda: (auditor.flushed() or 0) > (moment + HOUR + 1) * 1e6, 20, "it lives in the other time", every=0.2
    )
    found = {record["dst_port"] for record in auditor.search("--netns", host.name, "--proto", "udp")}
    assert found == set(sent)
    return moment


def said(auditor: Daemon, moment: float) -> None:
    """The hour that was skipped is a gap. Raises UnaccountedError."""
    span = ("--since", f"{moment - 60:.0f}", "--until", f"{moment + 2 * HOUR:.0f}")
    steps = [gap for gap in auditor.gaps(*span) if gap["cause"] == "clock-step"]
    if len(steps) != 1:
        raise UnaccountedError(f"{len(steps)} steps are told of one")
    beside = seconds(steps[0]["from"]) - moment, seconds(steps[0]["to"]) - moment - HOUR
    if max(map(abs, beside)) > SLACK:
        raise UnaccountedError(f"the gap lies {beside} beside the hour")


def test_the_clock_is_set(bed: Testbed, daemon: Start, weakened: Weaken, tmp_path: Path) -> None:
    """An hour that never was is a gap, and what is made afterwards is recorded. (It is capture's clock alone: the
    machine's is left alone, and namespaces of time do not have another wall clock.)"""
    flag = tmp_path / "later"
    weakened("anetcon.capture.main", OTHER_TIME.format(flag=str(flag)))
    host = tracked(bed)
    auditor = started(daemon, host)
    said(auditor, set_forward(auditor, host, flag))


def test_the_clock_is_set_and_nobody_looks(bed: Testbed, daemon: Start, weakened: Weaken, tmp_path: Path) -> None:
    """The control: a capture that believes its clock is found out."""
    flag = tmp_path / "later"
    weakened("anetcon.capture.main", OTHER_TIME.format(flag=str(flag)) + NO_CLOCK)
    host = tracked(bed)
    auditor = started(daemon, host)
    moment = set_forward(auditor, host, flag)
    with pytest.raises(UnaccountedError, match="0 steps"):
        said(auditor, moment)
