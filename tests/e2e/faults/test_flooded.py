"""Somebody on a segment sends neighbour solicitations by the thousand: what is recorded of them stays small, and told.
The addresses of others are recorded all the same."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.store.reader import Store
from anetcon.testbed.bed import Namespace, Testbed
from tests.support.daemon import QUICK, Daemon
from tests.support.waiting import wait_until

FRAMES = 60_000
ROUTER, ATTACKER = "2001:db8:5::1", "2001:db8:5::666"
ETH_P_IPV6 = 0x86DD


def solicitation(source: str, mac: bytes) -> bytes:
    """A frame that asks for the router's MAC address, and says which one its sender has."""
    asked = socket.inet_pton(socket.AF_INET6, ROUTER)
    target = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:1")
    header = socket.inet_pton(socket.AF_INET6, source) + target
    body = bytes([135, 0, 0, 0]) + bytes(4) + asked + bytes([1, 1]) + mac
    summed = sum(struct.unpack(f">{(len(header) + len(body)) // 2}H", header + body)) + len(body) + 58
    while summed >> 16:
        summed = (summed & 0xFFFF) + (summed >> 16)
    body = body[:2] + struct.pack(">H", ~summed & 0xFFFF) + body[4:]
    ip = struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + header
    return b"\x33\x33\xff\0\0\1" + mac + struct.pack(">H", ETH_P_IPV6) + ip + body


@pytest.fixture
def segment(bed: Testbed) -> tuple[Namespace, Namespace]:
    """A router, and somebody on its network."""
    router, attacker = bed.namespace("flooded"), bed.namespace("attacker")
    router.run("ip", "link", "add", "inside", "type", "veth", "peer", "name", "eth0", "netns", attacker.name)
    for each, name in ((attacker, "eth0"), (router, "inside")):
        each.run("ip", "link", "set", name, "up")
    router.run("ip", "address", "add", f"{ROUTER}/64", "dev", "inside", "nodad")
    return router, attacker


@pytest.fixture
def daemon(tmp_path: Path, segment: tuple[Namespace, Namespace]) -> Iterator[Daemon]:
    """The daemon on that router."""
    made = Daemon(tmp_path, [segment[0].name], QUICK).run()
    made.wait_attached([segment[0].name])
    yield made
    made.stop()


def flood(attacker: Namespace, source: str, first: int) -> None:
    """Send solicitations, each with another MAC address."""
    sender = attacker.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sender:
        sender.bind(("eth0", ETH_P_IPV6))
        for number in range(first, first + FRAMES):
            sender.send(solicitation(source, b"\x02\0" + struct.pack(">I", number)))


def test_a_flood_of_neighbours(daemon: Daemon, segment: tuple[Namespace, Namespace]) -> None:
    """From a link-local address nothing is recorded; from another one no more begin than are allowed, and the rest is a
    gap with its number. A neighbour that appears afterwards, in a minute that is not flooded, is recorded."""
    router, attacker = segment
    flood(attacker, "fe80::666", 0)
    flood(attacker, ATTACKER, FRAMES)
    table = router.run("ip", "-6", "neigh", "show", "dev", "inside")
    assert ATTACKER in table, table
    daemon.wait_flushed()
    daemon.stop()
    store = Store(daemon.store)
    rows = store.intervals("neighbours").to_pylist()
    addresses = {row["address"] for row in rows}
    assert socket.inet_pton(socket.AF_INET6, ATTACKER) in addresses
    assert not any(address.startswith(b"\xfe\x80") for address in addresses)
    gaps = [gap for gap in store.intervals("gaps").to_pylist() if gap["cause"] == "neighbours-flood"]
    minutes = 1 + len(gaps)
    assert 1000 <= len(rows) <= minutes * 1000 + 10
    assert {gap["netns"] for gap in gaps} == {router.name}
    assert sum(gap["lost"] for gap in gaps) > 1000
    assert not any(row["to"] is None for row in rows)
    daemon.run()
    daemon.wait_attached([router.name])
    router.run("ip", "neigh", "replace", "2001:db8:5::7", "lladdr", "02:00:00:00:00:07", "dev", "inside")

    def known() -> bool:
        return any(row["address"][-1] == 7 for row in Store(daemon.store).intervals("neighbours").to_pylist())

    wait_until(known, 10, "the neighbour is on record")
