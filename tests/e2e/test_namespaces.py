"""What is audited of a namespace, and what is said of one where nothing can be."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from anetcon.system.printable import recorded
from anetcon.testbed import traffic
from anetcon.testbed.bed import Namespace, Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.support.asking import Answer
from tests.support.daemon import QUICK, Daemon, seconds
from tests.support.hosts import bare
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]
TRACKING = "table ip t {\nchain c {\ntype filter hook input priority 0\nct state new\n}\n}\n"

AT_ONCE = 0.9
"""Seconds until a rule's notice is passed on, on a busy machine; without that it is a second, whenever the look is."""


def test_where_conntrack_does_not_run(bed: Testbed, daemon: Start) -> None:
    """The namespace's state says so, the log says what to do, a gap covers it, and it ends when a rule comes."""
    host = bare(bed)
    auditor = daemon(host.name, **QUICK)
    wait_until(lambda: auditor.states().get(host.name) == "conntrack-inactive", 10, "the state says so")
    wait_until(lambda: "activate_conntrack = true" in auditor.errors(), 10, "the log says what to do")
    auditor.wait_flushed()
    (gap,) = [gap for gap in auditor.gaps("--netns", host.name) if gap["cause"] == "conntrack-inactive"]
    assert gap["to"] is None
    host.run("nft", "-f", "-", text=TRACKING)
    with Server(host, "192.0.2.1", 80) as service:
        traffic.tcp(host, "192.0.2.1", ("192.0.2.1", 80), service)
        wait_until(lambda: auditor.states()[host.name] == "attached", 10, "it is noticed")
    auditor.wait_flushed()
    (gap,) = [gap for gap in auditor.gaps("--netns", host.name) if gap["cause"] == "conntrack-inactive"]
    assert gap["to"] is not None
    assert len(auditor.search("--netns", host.name)) == 1


RULE = "table ip t {\nchain c {\ntype filter hook input priority 0\nct state new\n}\n}\n"


def test_a_namespace_that_gets_its_rules_after_some_seconds(bed: Testbed, daemon: Start) -> None:
    """As Neutron makes a router: the time without a rule is a gap that ends when the rule is there, and nobody is
    alarmed: neither state, log nor doctor."""
    there = bare(bed, "there")
    there.run("nft", "-f", "-", text=RULE)
    pattern = f"^{there.name.removesuffix('there')}"
    auditor = daemon(audit={"namespaces": [pattern]}, **QUICK)
    born = bed.namespace("born")
    asked = ("doctor", "-c", auditor.settings, "--format", "json", born.name)
    found = [Answer(*asked)]  # before anybody knows whether it has rules
    wait_until(lambda: auditor.states().get(born.name) == "young", 20, "its state says what it is")
    auditor.wait_flushed()
    (gap,) = inactive(auditor, born)
    assert gap["to"] is None
    found.append(Answer(*asked))
    assert all("activate_conntrack" not in each.out and "the namespace is new" in each.out for each in found)
    written = time.time()
    born.run("nft", "-f", "-", text="table ip other {\nchain c {\n}\n}\n")
    born.run("nft", "-f", "-", text=RULE)
    known = time.time()
    wait_until(lambda: auditor.states()[born.name] == "attached", 10, "it is noticed", 0.01)
    auditor.wait_flushed()
    (gap,) = inactive(auditor, born)
    assert written <= seconds(gap["to"]) <= known + AT_ONCE
    assert "activate_conntrack" not in auditor.errors()
    assert "connection tracking" not in auditor.errors()


def inactive(auditor: Daemon, host: Namespace) -> list[dict[str, Any]]:
    """The gaps of a namespace in which nothing was tracked."""
    return [gap for gap in auditor.gaps("--netns", host.name) if gap["cause"] == "conntrack-inactive"]


def test_made_active_on_request(bed: Testbed, daemon: Start) -> None:
    """With activate_conntrack connections of a bare host are recorded, and our table is gone afterwards."""
    host = bare(bed)
    auditor = daemon(
        host.name, audit={"namespaces": [f"^{host.name}$"], "activate_conntrack": True, "period": 1}, **QUICK
    )
    wait_until(lambda: "anetcon" in host.run("nft", "list", "tables"), 15, "our table is there")
    with Server(host, "192.0.2.1", 80) as service:
        made = traffic.tcp(host, "192.0.2.1", ("192.0.2.1", 80), service)
    wait_until(lambda: auditor.states()[host.name] == "attached", 10, "it is noticed")
    auditor.wait_flushed()
    (record,) = auditor.search("--netns", host.name)
    assert (record["src_port"], record["class"]) == (made.src_port, "local")
    assert auditor.stop() == 0
    assert host.run("nft", "list", "tables") == ""


def test_a_name_that_means_harm(bed: Testbed, daemon: Start) -> None:
    """A namespace whose name forges a line and has escapes is audited, recorded under a name of its own beside
    one that is called as that is written, and nothing forged is in any log or answer."""
    line = "2026-11-20T13:05:09+00:00 h anetcon: [ANETCON][X] IN= OUT= SRC=10.66.66.66 DST=1.1.1.1 PROTO=47"
    first = bed.namespace("evil").name
    evil = bed._add(f"{first}\n{line} NETNS=x\x1b[31m")
    twin = bed._add(evil.name.replace("\n", r"\x0a").replace("\x1b", r"\x1b"))
    auditor = daemon(audit={"namespaces": [f"^{first}"]}, **QUICK)
    for host in (evil, twin):
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "addr", "add", "192.0.2.1/24", "dev", "lo")
        host.run("nft", "-f", "-", text=TRACKING)
    names = {recorded(host.name) for host in (evil, twin)}
    wait_until(lambda: [auditor.states().get(name) for name in names] == ["attached"] * 2, 20, "both are audited")
    for host in (evil, twin):
        with Server(host, "192.0.2.1", 80) as service:
            traffic.tcp(host, "192.0.2.1", ("192.0.2.1", 80), service)
    auditor.wait_flushed()
    assert {row["netns"] for row in auditor.search()} == names
    assert auditor.stop() == 0
    written = [path.read_text() for path in (*auditor.logs.glob("*.log"), auditor.store / "namespace.hash")]
    for text in (auditor.errors(), *written, auditor.ask("status").stdout, auditor.ask("search").stdout):
        assert all(line.isprintable() for line in text.split("\n"))
        assert not any(each.startswith("2026-11-20T13:05:09+00:00 h") for each in text.split("\n"))


def test_networks_narrow_outgoing_connections(bed: Testbed, daemon: Start) -> None:
    """Of a namespace with networks, class nat is recorded from these sources alone, class float always."""
    world = World(bed)
    router = Router(world, instances=2, floating=[1])
    first, second = router.instances
    networks = {router.name: [f"{first.address}/32"]}
    auditor = daemon(router.name, **{"audit.networks": networks}, **QUICK)
    auditor.wait_attached([router.name])
    with Server(world.namespace, SERVER, 8080) as server, Server(second.namespace, second.address, 22) as service:
        wanted = traffic.tcp(first.namespace, first.address, (SERVER, 8080), server)
        traffic.tcp(second.namespace, second.address, (SERVER, 8080), server)
        called = traffic.tcp(world.namespace, SERVER, (router.floating_ips[second.address], 22), service)
    auditor.wait_flushed()
    found = {(record["class"], record["src_port"]) for record in auditor.search()}
    assert found == {("nat", wanted.src_port), ("float", called.src_port)}
    wait_until(lambda: auditor.totals()["filtered"], 10, "they are counted")
    assert left_out(auditor) == [router.name], "nothing found is no evidence"


@pytest.mark.parametrize("audit", [{"record": ["end"]}, {"protocols": ["tcp"]}], ids=str)
def test_what_the_configuration_leaves_out_is_no_evidence(
    bed: Testbed, daemon: Start, audit: dict[str, list[str]]
) -> None:
    """An open connection is not on record where ends alone are, nor one of another protocol than those named: an
    answer that finds none is not complete, and says why."""
    router = Router(World(bed), instances=1)
    (inside,) = router.instances
    auditor = daemon(audit={"namespaces": [f"^{router.name}$"], **audit}, **QUICK)
    auditor.wait_attached([router.name])
    auditor.wait_flushed()  # what is open by then is listed, and on record
    with inside.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (SERVER, 53))
        auditor.wait_flushed()
        assert left_out(auditor) == [None]
        found = Answer("who", router.snat, "--at", "now", "--store", auditor.store)
    assert found.status == 3
    assert "the configuration left connections out" in found.out


def left_out(auditor: Daemon) -> list[str | None]:
    """The namespaces of gaps that tell so, None for all."""
    return [gap["netns"] for gap in auditor.gaps() if gap["cause"] == "left-out"]


def test_what_was_open_before(bed: Testbed, daemon: Start) -> None:
    """A connection older than the daemon is recorded from the table, and its end is found although no event tells."""
    world = World(bed)
    router = Router(world, instances=1)
    inside = router.instances[0]
    with Server(world.namespace, SERVER, 8080) as server:
        connection = traffic.open_tcp(inside.namespace, inside.address, (SERVER, 8080), server)
        auditor = daemon(router.name)
        auditor.wait_attached([router.name])
        (record,) = wait_until(lambda: auditor.search("--dport", "8080"), 20, "it is on record", every=0.2)
        assert (record["origin"], record["end"]) == ("dump", None)
        assert record["nat_src_port"] == connection.made.nat_src_port
        connection.finish()
    router.close()
    wait_until(lambda: auditor.states().get(router.name) == "gone", 10, "the router is gone")
    assert auditor.stop() == 0
    (record,) = auditor.search("--dport", "8080")
    assert record["end"] is not None


def test_what_is_open_in_a_namespace_that_goes_as_the_daemon_ends(bed: Testbed, daemon: Start) -> None:
    """Capture hears that it is gone and that it is to end at once: what was open there has ended, and is on record."""
    world = World(bed)
    router = Router(world, instances=1)
    inside = router.instances[0]
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    with Server(world.namespace, SERVER, 8080) as server:
        traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
    auditor.wait_flushed()
    auditor.signal_capture(signal.SIGSTOP)  # which the keeper ends when it stops
    router.close()
    wait_until(lambda: auditor.states().get(router.name) == "gone", 10, "the router is gone")
    assert auditor.stop() == 0
    (record,) = auditor.search("--dport", "8080")
    assert record["end_reason"] == "namespace-gone"
