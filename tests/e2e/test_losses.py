"""Every way to be blind is a gap, with the bounds of the fault: seen through the installed daemon."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anetcon.journal.read import read
from anetcon.testbed.bed import Namespace, Testbed
from tests.e2e.conftest import Weaken
from tests.load import kernel
from tests.support.daemon import Daemon, seconds
from tests.support.hosts import TRACKING, bare, stuck_listener, tracked
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Start = Callable[..., Daemon]

SLACK = 5.0
"""Seconds by which a gap may be wider than the fault, on a busy machine."""


def of_cause(daemon: Daemon, cause: str, netns: str) -> list[dict[str, Any]]:
    """The gaps of one cause in one namespace."""
    return [gap for gap in daemon.gaps() if gap["cause"] == cause and gap["netns"] == netns]


def wait_gap(daemon: Daemon, cause: str, netns: str, over: bool = True) -> dict[str, Any]:
    """The one gap of a cause, once it is on record (and over)."""
    found = wait_until(
        lambda: [gap for gap in of_cause(daemon, cause, netns) if gap["to"] or not over],
        30,
        f"a gap {cause} in {netns}: {daemon.gaps()}; {daemon.errors()}",
        every=0.2,
    )
    assert len(found) == 1, found
    return found[0]


def test_what_lasted_at_a_crash_is_over_then(bed: Testbed, daemon: Start) -> None:
    """After kill -9 a gap that lasted ends where the daemon's own gap begins, and goes on as another if it must."""
    host = bare(bed)
    auditor = daemon(host.name)
    wait_gap(auditor, "conntrack-inactive", host.name, over=False)
    killed = time.time()
    auditor.kill()
    auditor.run()
    wait_until(lambda: len(of_cause(auditor, "conntrack-inactive", host.name)) == 2, 30, "it is told anew", every=0.2)
    first, second = of_cause(auditor, "conntrack-inactive", host.name)
    (down,) = [gap for gap in auditor.gaps() if gap["cause"] == "daemon-down"]
    # Later, where capture still told its end when the keeper was gone, and was killed before it flushed.
    assert seconds(down["from"]) <= seconds(first["to"]) <= seconds(down["to"])
    assert killed - SLACK <= seconds(down["from"]) <= killed + SLACK
    assert seconds(second["from"]) >= seconds(down["to"])
    assert second["to"] is None
    auditor.stop()
    assert [gap["to"] for gap in of_cause(auditor, "conntrack-inactive", host.name)] != [None, None]
    assert None not in [gap["to"] for gap in of_cause(auditor, "conntrack-inactive", host.name)]


def test_a_namespace_that_is_no_longer_selected(bed: Testbed, daemon: Start) -> None:
    """Its gap lasts from then until it is selected again, and counts only for who asks about it by name, or about an
    address it had. What ended in it meanwhile is no longer open once its table was listed; what nothing is on record
    of was not listed before."""
    host, other = bed.namespace("here"), tracked(bed)
    auditor = daemon(host.name, other.name)
    auditor.wait_attached([host.name, other.name])
    open_udp(other, 2)
    auditor.wait_recorded(lambda totals: totals["starts"] >= 2)
    before = auditor.settings.read_text()
    auditor.settings.write_text(before.replace(f', "^{other.name}$"', ""))
    left = time.time()
    auditor.process.send_signal(signal.SIGHUP)
    wait_until(lambda: other.name not in auditor.attached(), 30, "it is let go")
    gap = wait_gap(auditor, "deselected", other.name, over=False)
    assert left <= seconds(gap["from"]) <= time.time()
    auditor.wait_flushed()
    asked = ["who", "192.0.2.1", "--at", "1 second ago"]
    assert "deselected" in {g["cause"] for g in auditor.json(*asked)["coverage"]["gaps"]}
    another = ["who", "192.0.2.9", *asked[2:]]
    assert "deselected" not in {g["cause"] for g in auditor.json(*another)["coverage"]["gaps"]}
    assert "deselected" in {g["cause"] for g in auditor.json(*asked, "--netns", other.name)["coverage"]["gaps"]}
    assert "deselected" not in {g["cause"] for g in auditor.json(*asked, "--netns", host.name)["coverage"]["gaps"]}
    other.run("conntrack", "-D", "-p", "udp", "--dport", "1")
    assert listed(auditor) == 0
    auditor.settings.write_text(before)
    back = time.time()
    auditor.process.send_signal(signal.SIGHUP)
    auditor.wait_attached([other.name])
    attached = time.time()
    gap = wait_gap(auditor, "deselected", other.name)
    assert back <= seconds(gap["to"]) <= attached
    assert of_cause(auditor, "not-attached", other.name) == []
    wait_until(lambda: listed(auditor), 20, "its table is listed", every=0.2)
    auditor.stop()
    reasons = {row["dst_port"]: row["end_reason"] for row in auditor.search("--netns", other.name, "--proto", "udp")}
    assert reasons == {1: "unknown", 2: None}


NFT_NOTRACK = (
    "table inet hide {\n chain early {\n  type filter hook prerouting priority -300\n  udp dport 53 notrack\n }\n}\n"
)
NFT_EVENTS = "table inet hide {\n chain early {\n  type filter hook output priority -150\n  ct event set new\n }\n}\n"
IPTABLES = ("iptables-nft", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "-j", "CT")
LEGACY = ("-t", "raw", "-A", "OUTPUT", "-p", "udp", "-j", "CT", "--notrack")

HIDING = {
    "notrack": (("nft", "-f", "-"), NFT_NOTRACK, ("nft", "delete", "table", "inet", "hide"), "inet hide, chain early"),
    "ct event": (("nft", "-f", "-"), NFT_EVENTS, ("nft", "delete", "table", "inet", "hide"), "inet hide, chain early"),
    "CT": ((*IPTABLES, "--notrack"), "", ("iptables-nft", "-t", "raw", "-F"), "ip raw, chain PREROUTING"),
    "ctevents": ((*IPTABLES, "--ctevents", "new"), "", ("iptables-nft", "-t", "raw", "-F"), "ip raw, chain PREROUTING"),
    "legacy": (
        ("iptables-legacy", *LEGACY),
        "",
        ("iptables-legacy", "-t", "raw", "-F"),
        "iptables-legacy in table raw",
    ),
    "legacy 6": (
        *(("ip6tables-legacy", *LEGACY), "", ("ip6tables-legacy", "-t", "raw", "-F")),
        "ip6tables-legacy in table raw",
    ),
}


def message(daemon: Daemon, host: Namespace) -> str:
    """What status says of a namespace; nothing: empty."""
    return "".join(each["message"] or "" for each in daemon.status()["namespaces"] if each["netns"] == host.name)


def began(daemon: Daemon, gap: dict[str, Any], fault: float) -> bool:
    """Whether a gap begins no later than its fault, and not long before; where capture is new it cannot know of a
    ruleset before it had one to compare it with, so it may begin when the namespace was attached."""
    (attached,) = [seconds(each["since"]) for each in daemon.status()["namespaces"] if each["netns"] == gap["netns"]]
    return min(fault - SLACK, attached) <= seconds(gap["from"]) <= fault


def test_rules_that_hide_connections(bed: Testbed, daemon: Start) -> None:
    """While one is there a gap lasts, which ends with it; log and status name its table and chain. Each kind of rule is
    in a namespace of its own."""
    hosts = {kind: tracked(bed, f"hides{number}") for number, kind in enumerate(HIDING)}
    names = [host.name for host in hosts.values()]
    auditor = daemon(*names)
    auditor.wait_attached(names)
    auditor.wait_flushed()
    added, removed = {}, {}
    for kind, host in hosts.items():
        add, text, _, _ = HIDING[kind]
        added[kind] = time.time()
        host.run(*add, text=text)
    for kind, host in hosts.items():
        place = HIDING[kind][3]
        gap = wait_gap(auditor, "tracking-off", host.name, over=False)
        assert began(auditor, gap, added[kind]), kind
        assert gap["to"] is None
        assert any(host.name in line and place in line for line in auditor.errors().splitlines()), kind
        wait_until(lambda h=host, p=place: p in message(auditor, h), 20, f"status says {kind}")  # type: ignore[misc]
    for kind, host in hosts.items():
        removed[kind] = time.time()
        host.run(*HIDING[kind][2])
    for kind, host in hosts.items():
        gap = wait_gap(auditor, "tracking-off", host.name)
        assert removed[kind] <= seconds(gap["to"]), kind
        wait_until(lambda h=host: not message(auditor, h), 20, f"status says nothing of {kind}")  # type: ignore[misc]


def test_rules_without_which_nothing_is_tracked(bed: Testbed, daemon: Start) -> None:
    """When the last rule that uses conntrack is flushed the kernel stops tracking: a gap, until one is back."""
    host = tracked(bed)
    auditor = daemon(host.name)
    auditor.wait_attached([host.name])
    open_udp(host, 3)
    auditor.wait_recorded(lambda totals: totals["starts"] >= 3)
    attached = auditor.status()["namespaces"][0]["since"]
    flushed = time.time()
    host.run("nft", "flush", "ruleset")
    gap = wait_gap(auditor, "conntrack-inactive", host.name, over=False)
    assert min(flushed - SLACK, seconds(attached)) <= seconds(gap["from"]) <= flushed
    wait_until(lambda: auditor.status()["namespaces"][0]["state"] == "conntrack-inactive", 20, "status says so")
    again = time.time()
    host.run("nft", "-f", "-", text=TRACKING)
    gap = wait_gap(auditor, "conntrack-inactive", host.name)
    assert again <= seconds(gap["to"])
    wait_until(lambda: auditor.attached() == [host.name], 20, "status says nothing")


def test_a_rule_that_hides_and_a_capture_that_dies(bed: Testbed, daemon: Start) -> None:
    """A rule that was there before the daemon, and is after a crash of capture, is never out of the gaps."""
    host = tracked(bed)
    host.run("nft", "-f", "-", text=NFT_NOTRACK)
    auditor = daemon(host.name)
    first = wait_gap(auditor, "tracking-off", host.name, over=False)
    (never,) = [gap for gap in auditor.gaps("--since", "1 hour ago") if gap["cause"] == "never-recorded"]
    assert first["from"] == never["to"]
    auditor.signal_capture(signal.SIGKILL)
    wait_until(lambda: len(of_cause(auditor, "tracking-off", host.name)) == 2, 30, "it is told anew", every=0.2)
    first, second = of_cause(auditor, "tracking-off", host.name)
    (down,) = [gap for gap in auditor.gaps() if gap["cause"] == "capture-down"]
    assert (first["to"], second["from"], second["to"]) == (down["from"], down["to"], None)


OPENED = 1000
SOONER_QUIET = """
from anetcon.capture import repeats
repeats.QUIET = 4_000_000
"""


def open_udp(host: Namespace, count: int, first: int = 1) -> None:
    """That many connections that nobody answers."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(b"x", ("127.0.0.1", first + number))


def listed(daemon: Daemon) -> int:
    """How often a whole table was listed after a loss, as the journal says."""
    folder = daemon.store / "journal" / "listings"
    return sum(flush.batch.num_rows for flush in read(folder) if flush.batch is not None)


def freeze(pid: int) -> float:
    """Have a process stand still; a moment from which on it does."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(
        lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 10, "it stands still"
    )
    return time.time()


def test_ends_that_were_lost(bed: Testbed, daemon: Start) -> None:
    """Out of hold a frozen capture loses ends, counted; what the table does not have afterwards has ended."""
    host = tracked(bed)
    auditor = daemon(host.name, audit={"on_overload": "shed", "buffer_bytes": 262144, "namespaces": [f"^{host.name}$"]})
    auditor.wait_attached([host.name])
    for first in range(1, OPENED, 100):  # as many at a time as fit
        open_udp(host, 100, first)
        wait_until(lambda: not any(kernel.queued(host).values()), 20, "they are read")
    wait_until(lambda: auditor.totals()["starts"] >= OPENED, 20, "all are counted")
    capture = auditor.capture_pid()
    assert capture is not None
    frozen = freeze(capture)
    host.run("conntrack", "-D", "-p", "udp")
    open_udp(host, 2, 50_000)
    thawed = time.time()
    auditor.signal_capture(signal.SIGCONT)
    gap = wait_gap(auditor, "overrun", host.name)
    assert frozen - SLACK <= seconds(gap["from"]) <= frozen
    assert thawed <= seconds(gap["to"]) <= thawed + SLACK
    wait_until(lambda: listed(auditor), 20, "the table is listed again", every=0.2)
    auditor.stop()
    rows = {row["dst_port"]: row for row in auditor.search("--netns", host.name, "--proto", "udp")}
    assert len(rows) == OPENED + 2
    unknown = {port for port, row in rows.items() if row["end_reason"] == "unknown"}
    ended = {port for port, row in rows.items() if row["end_reason"] == "deleted"}
    assert unknown | ended == set(range(1, OPENED + 1))
    assert len(unknown) > 0
    assert len(unknown) + sum(row["origin"] == "dump" for row in rows.values()) == gap["lost"]
    assert all(frozen - 1 <= seconds(rows[port]["end"]) <= thawed + 30 for port in unknown)
    assert {port for port, row in rows.items() if row["end"] is None} == {50_000, 50_001}


def test_ends_while_nobody_ran(bed: Testbed, daemon: Start) -> None:
    """What ended between kill -9 and the next start is no longer open after the table was listed; what goes on is."""
    host = tracked(bed)
    auditor = daemon(host.name)
    auditor.wait_attached([host.name])
    open_udp(host, 20)
    auditor.wait_recorded(lambda totals: totals["starts"] >= 20)
    auditor.kill()
    host.run("conntrack", "-D", "-p", "udp", "--dport", "7")
    auditor.run()
    wait_until(lambda: listed(auditor), 20, "the table is listed again", every=0.2)
    auditor.stop()
    rows = {row["dst_port"]: row["end_reason"] for row in auditor.search("--netns", host.name, "--proto", "udp")}
    assert rows == {port: "unknown" if port == 7 else None for port in range(1, 21)}


def test_a_namespace_that_went_while_nobody_ran(bed: Testbed, daemon: Start) -> None:
    """What was open in it has ended and its address is not here any more, as after a reboot; what stayed goes on."""
    going, staying = tracked(bed, "going"), tracked(bed, "staying")
    addresses = {going: "203.0.113.77", staying: "203.0.113.78"}
    for host, address in addresses.items():
        host.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    auditor = daemon(going.name, staying.name)
    auditor.wait_attached([going.name, staying.name])
    for host in addresses:
        open_udp(host, 3)
    auditor.wait_recorded(lambda totals: totals["starts"] >= 6)
    auditor.kill()
    going.close()
    auditor.run()
    auditor.wait_attached([staying.name])
    auditor.wait_flushed()

    def here(host: Namespace) -> list[str]:
        asked = auditor.json("who", addresses[host], "--at", "now", "--within", "0s")["address"]
        return [each["netns"] for each in asked["intervals"]]

    assert (here(going), here(staying)) == ([], [staying.name])
    auditor.stop()
    rows = [(row["netns"], row["dst_port"], row["end_reason"]) for row in auditor.search("--proto", "udp")]
    wanted = [(going.name, port, "unknown") for port in (1, 2, 3)] + [(staying.name, port, None) for port in (1, 2, 3)]
    assert sorted(rows) == sorted(wanted)


@pytest.mark.timeout(200)
def test_connections_made_while_events_were_off(bed: Testbed, daemon: Start) -> None:
    """They are recorded from the table when that was noticed, and their end is found though no event tells."""
    host = tracked(bed)
    auditor = daemon(host.name)
    auditor.wait_attached([host.name])
    auditor.wait_flushed()
    off = freeze(auditor.process.pid)  # the keeper: it could be faster to put them back than these are made
    host.sysctl(netfilter__nf_conntrack_events=0)
    open_udp(host, 3)
    os.kill(auditor.process.pid, signal.SIGCONT)
    gap = wait_gap(auditor, "events-off", host.name)
    assert off - SLACK <= seconds(gap["from"]) <= off
    assert off <= seconds(gap["to"]) <= off + SLACK
    wait_until(lambda: len(auditor.search("--proto", "udp")) == 3, 20, "they are recorded", every=0.2)
    rows = auditor.search("--proto", "udp")
    assert sorted((row["dst_port"], row["origin"], row["end"]) for row in rows) == [
        (port, "dump", None) for port in (1, 2, 3)
    ]
    host.run("conntrack", "-D", "-p", "udp")
    gone = time.time()
    wait_until(lambda: all(row["end"] for row in auditor.search("--proto", "udp")), 90, "their end is found", every=1)
    for row in auditor.search("--proto", "udp"):
        assert row["end_reason"] == "unknown"
        assert gone - 1 <= seconds(row["end"]) <= gone + 90


def test_a_listener_that_is_stuck(bed: Testbed, daemon: Start, weakened: Weaken) -> None:
    """While the kernel repeats ends for its sake, gaps, log and status say so; the answers stay complete."""
    weakened("anetcon.capture.main", SOONER_QUIET)
    host = tracked(bed)
    auditor = daemon(host.name)
    auditor.wait_attached([host.name])
    auditor.wait_flushed()
    with stuck_listener(host):
        open_udp(host, 50)
        stuck = time.time()
        host.run("conntrack", "-D", "-p", "udp")
        gap = wait_gap(auditor, "listener-stuck", host.name, over=False)
        assert abs(seconds(gap["from"]) - stuck) < SLACK
        assert "reliable mode" in auditor.errors()
        wait_until(lambda: "reliable mode" in str(auditor.status()["namespaces"][0]["message"]), 20, "status says so")
    freed = time.time()
    gap = wait_until(lambda: wait_gap(auditor, "listener-stuck", host.name), 30, "it is over")
    assert abs(seconds(gap["to"]) - freed) < SLACK
    asked = ["search", "--since", f"{stuck:.3f}", "--netns", host.name]
    assert auditor.json(*asked)["coverage"]["complete"]
    assert len(auditor.search("--proto", "udp")) == 50
