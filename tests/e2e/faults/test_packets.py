"""With `record_invalid` what conntrack calls invalid is counted where it leaves, and a sample of it is on record."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import numpy as np
import pytest

from anetcon.rules import invalid_sample
from anetcon.testbed.bed import Namespace, Testbed
from anetcon.testbed.topology import SERVER, SERVER6, Router
from tests.load import packets
from tests.load.packets import FIN, PSH, TCP, UDP
from tests.support.daemon import Daemon
from tests.support.invalid_packets import DROP, EACH, KINDS, URG, arrived, judged, router, scan, send
from tests.support.open_files import descriptors, same_descriptors
from tests.support.waiting import wait_until

__all__ = ["router"]

Start = Callable[..., Daemon]

PUBLIC = "192.0.2.77"
ON = {"record_invalid": True}
SILENT = "table inet silent {\n chain out {\n type filter hook output priority 0;\n tcp flags rst drop\n }\n}\n"
TABLES = {f"table {invalid_sample.made(family).name}" for family in invalid_sample.FAMILIES}


def tables(namespace: Namespace) -> set[str]:
    """Those of ours that stand in a namespace."""
    return {line for line in namespace.run("nft", "list", "tables").splitlines() if invalid_sample.NAME in line}


def counts(router: Router) -> bool:
    """Whether our rule is there for both families."""
    return tables(router.namespace) == TABLES


def routed(router: Router) -> None:
    """PUBLIC is behind the router, which does not translate it. The far side knows the way back, and is silent."""
    inside = router.instances[0]
    router.namespace.run("ip", "route", "add", f"{PUBLIC}/32", "via", inside.address)
    router.namespace.run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0")
    router.world.namespace.run("ip", "route", "add", f"{PUBLIC}/32", "dev", router.link)
    router.world.namespace.run("nft", "-f", "-", text=SILENT)


def test_what_left_is_found(daemon: Start, router: Router) -> None:
    """FIN, NULL, Xmas and others and a UDP with a bad checksum, from routed IPv4 and IPv6: the far side got them, each
    is a row, `who` says what they are and that nobody can be sure of the source, and the answer is not complete."""
    routed(router)
    auditor = daemon(router.name, audit=ON)
    auditor.wait_attached([router.name])
    wait_until(lambda: counts(router), 10, "our rule is there")
    before = arrived(router)
    sent = scan(router, six=True)
    xmas = packets.tcp(1, np.array([4001]), np.array([80]), FIN | PSH | URG)
    bad = packets.udp(1, np.array([4002]), np.array([53]), 0)
    sent_public = send(router, PUBLIC, SERVER, TCP, xmas) + send(router, PUBLIC, SERVER, UDP, bad, spoil=True)
    wait_until(lambda: arrived(router) - before == sent, 5, "the far side got them")
    inside = router.instances[0]
    wait_until(lambda: len(auditor.search("--src", PUBLIC)) == sent_public, 10, "each is a row")
    six = wait_until(lambda: auditor.search("--src", inside.address6), 10, "they are rows")
    assert len(six) == len(KINDS) * EACH
    for row in (*six, *auditor.search("--src", PUBLIC)):
        assert (row["origin"], row["end"], row["reply"]) == ("packet", row["start"], "none")
        assert (row["src_ip"], row["src_port"]) == (row["nat_src_ip"], row["nat_src_port"])
        assert (row["packets_out"], row["packets_in"]) == (1, 0)
    assert {row["dst_ip"] for row in six} == {SERVER6}
    for address, port in ((PUBLIC, 4001), (PUBLIC, 4002), (inside.address6, 4000)):
        whole = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        at = auditor.search("--src", address, "--sport", str(port))[0]["start"]
        found = auditor.json("who", whole, "--at", at)
        assert (found["verdict"], found["packets"]) == ("one", EACH * (len(KINDS) if ":" in address else 1))
        assert found["source"].startswith("source unproven")
        assert not found["coverage"]["complete"]
        said = auditor.command("who", whole, "--at", at).stdout
        assert "may have been" in said
        assert "no connection, but a sample of packets that conntrack calls invalid" in said
        assert "none: a packet, invalid" in auditor.command("search", "--host", address).stdout
    auditor.stop()
    assert auditor.lines("nat") == []
    found_gaps = judged(auditor)
    assert found_gaps["untracked-left"] == sent + sent_public
    assert (found_gaps["untracked"] or 0) >= sent + sent_public
    assert tables(router.namespace) == set()


def test_more_than_the_sample_is_counted_all_the_same(daemon: Start, router: Router) -> None:
    """Of many at once no more than the limit are rows; the number of those that left is exact."""
    auditor = daemon(router.name, audit=ON)
    auditor.wait_attached([router.name])
    wait_until(lambda: counts(router), 10, "our rule is there")
    before, inside = arrived(router), router.instances[0]
    fin = packets.tcp(1, np.array([4000]), np.array([80]), FIN)
    sent = sum(send(router, inside.address, SERVER, TCP, fin) for _ in range(5 * invalid_sample.RATE // EACH))
    wait_until(lambda: arrived(router) - before == sent, 5, "the far side got them")
    wait_until(lambda: len(auditor.search("--src", inside.address)) >= invalid_sample.RATE, 10, "there is a sample")
    auditor.stop()
    assert judged(auditor)["untracked-left"] == sent
    assert len(auditor.search("--src", inside.address)) < sent


def test_what_is_dropped_leaves_no_row(daemon: Start, router: Router) -> None:
    """Where the forward chain drops them nothing left: no row, and no number of those that did."""
    router.namespace.run("nft", "-f", "-", text=DROP)
    auditor = daemon(router.name, audit=ON)
    auditor.wait_attached([router.name])
    wait_until(lambda: counts(router), 10, "our rule is there")
    scan(router, six=True)
    wait_until(lambda: judged(auditor), 30, "it is told")
    auditor.stop()
    assert "untracked-left" not in judged(auditor)
    assert auditor.search() == []


def test_off_there_is_nothing_of_ours(daemon: Start, router: Router) -> None:
    """Without the setting no table stands and no row is made; a reload takes the table away, and brings it back; so
    does whoever flushes the ruleset."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    inside = router.instances[0]
    scan(router, six=True)
    wait_until(lambda: judged(auditor), 30, "it is told")
    assert tables(router.namespace) == set()
    assert auditor.search("--src", inside.address6) == []
    configured = auditor.settings.read_text()
    auditor.settings.write_text(configured.replace("[audit]", "[audit]\nrecord_invalid = true"))
    auditor.process.send_signal(signal.SIGHUP)
    wait_until(lambda: counts(router), 10, "our rule is there")
    router.namespace.run("nft", "delete", "table", "ip6", invalid_sample.NAME)
    wait_until(lambda: counts(router), 20, "it is there again")
    send(router, inside.address, SERVER, TCP, packets.tcp(1, np.array([4000]), np.array([80]), FIN))
    wait_until(lambda: len(auditor.search("--src", inside.address)) == EACH, 10, "the new capture reads them")
    auditor.settings.write_text(configured)
    auditor.process.send_signal(signal.SIGHUP)
    wait_until(lambda: tables(router.namespace) == set(), 10, "our rule is gone")


def test_processes_that_come_and_go(daemon: Start, router: Router) -> None:
    """A capture that is killed, a program that is replaced in place, a daemon that is killed: the sample goes on, the
    rule stands once, and it goes with the next daemon that does not want it."""
    auditor = daemon(router.name, audit=ON)
    auditor.wait_attached([router.name])
    wait_until(lambda: counts(router), 10, "our rule is there")
    captures = [auditor.capture_pid()]
    auditor.signal_capture(signal.SIGKILL)
    wait_sampled(auditor, router, captures, 5001)
    auditor.process.send_signal(signal.SIGUSR2)
    wait_sampled(auditor, router, captures, 5002)
    auditor.kill()
    assert counts(router)
    auditor.run()
    wait_sampled(auditor, router, captures, 5003)
    auditor.settings.write_text(auditor.settings.read_text().replace("record_invalid = true", "record_invalid = false"))
    auditor.kill()
    assert counts(router)
    auditor.run()
    wait_until(lambda: tables(router.namespace) == set(), 10, "our rule is gone")


def wait_sampled(auditor: Daemon, router: Router, captures: list[int | None], port: int) -> None:
    """Until another capture than those before records packets from that port, by the one rule."""
    wait_until(lambda: auditor.capture_pid() not in (None, *captures), 20, "capture is another one")
    captures.append(auditor.capture_pid())
    wait_until(lambda: counts(router), 10, "our rule is there")
    inside = router.instances[0]
    fin = packets.tcp(1, np.array([port]), np.array([80]), FIN)

    def sampled() -> bool:
        send(router, inside.address, SERVER, TCP, fin)
        return bool(auditor.search("--src", inside.address, "--sport", str(port)))

    wait_until(sampled, 20, "a sample is on record", every=0.5)


def test_a_group_that_another_program_has(daemon: Start, router: Router) -> None:
    """It is said once, and no rule logs to it; when that program is gone the sample begins."""
    with router.namespace.inside():
        other = invalid_sample.listen()
    auditor = daemon(router.name, audit=ON)
    auditor.wait_attached([router.name])
    said = f"cannot record packets that are invalid in {router.name}: group {invalid_sample.GROUP} of nfnetlink_log: "
    wait_until(lambda: said in auditor.errors(), 10, "it is said")
    assert tables(router.namespace) == set()
    other.close()
    wait_until(lambda: counts(router), 10, "our rule is there")
    assert auditor.errors().count(said) == 1


def test_a_namespace_that_goes(daemon: Start, bed: Testbed) -> None:
    """Its socket goes with it at once, in every process: no interface and no descriptor is left."""
    stays, goes = bed.namespace("stays"), bed.namespace("goes")
    goes.close()
    rule = "table ip t {\nchain c {\ntype filter hook input priority 0\nct state new\n}\n}\n"
    stays.run("nft", "-f", "-", text=rule)
    auditor = daemon(stays.name, goes.name, audit=ON)
    wait_until(lambda: tables(stays), 10, "our rule is there")
    before = descriptors(auditor)
    again = Namespace(goes.name)
    try:
        stays.run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", again.name)
        again.run("nft", "-f", "-", text=rule)
        wait_until(lambda: tables(again), 10, "our rule is there")
        wait_until(lambda: sum(descriptors(auditor)) > sum(before), 10, "sockets are open in it")
    finally:
        again.close()
    wait_until(lambda: "here@" not in stays.run("ip", "link"), 10, "its interface is released")
    same_descriptors(auditor, before)
    assert "cannot record" not in auditor.errors()


@pytest.mark.needs("nft", "iptables")
def test_rules_of_iptables_legacy(daemon: Start, bed: Testbed) -> None:
    """Nobody tells of them: our table stands beside them once a connection was announced."""
    host = bed.namespace("legacy")
    host.run("ip", "link", "set", "lo", "up")
    host.run("iptables-legacy", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT")
    auditor = daemon(host.name, audit=ON)
    auditor.wait_attached([host.name])
    wait_until(lambda: auditor.states()[host.name] != "attached", 10, "no rule was seen")
    assert tables(host) == set()
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 5001))
    wait_until(lambda: tables(host) == {f"table {invalid_sample.made('ip').name}"}, 10, "our rule is there")


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_conntrack_is_not_made_to_run(daemon: Start, bed: Testbed, family: str) -> None:
    """Our table stands only for the family of which a rule of somebody's needs conntrack, and goes with that rule."""
    host = bed.namespace("idle")
    auditor = daemon(host.name, audit=ON)
    auditor.wait_attached([host.name])
    other = f"table {family} t {{\nchain c {{\ntype filter hook input priority 0\nct state new\n}}\n}}\n"
    wait_until(lambda: auditor.states()[host.name] in ("conntrack-inactive", "young"), 10, "it does not run")
    assert tables(host) == set()
    host.run("nft", "-f", "-", text=other)
    wait_until(lambda: tables(host) == {f"table {invalid_sample.made(family).name}"}, 10, "our rule is there")
    host.run("nft", "delete", "table", family, "t")
    wait_until(lambda: tables(host) == set(), 10, "our rule is gone")
    wait_until(lambda: auditor.states()[host.name] == "conntrack-inactive", 10, "it does not run")
