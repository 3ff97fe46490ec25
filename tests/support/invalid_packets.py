"""Packets that conntrack calls invalid, through a router."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest

from anetcon.testbed.topology import SERVER, SERVER6, Router
from tests.load import packets
from tests.load.packets import ETHERNET, FIN, ICMP, PSH, RST, SYN, TCP, UDP, Bytes
from tests.support.daemon import Daemon

EACH = 10


URG = 0x20


KINDS = {"fin": FIN, "null": 0, "xmas": FIN | PSH | URG, "rst": RST, "syn-fin": SYN | FIN}


COUNTER = """
table netdev untranslated {
  counter arrived { }
  chain ingress {
    type filter hook ingress device "%s" priority 0;
    ip saddr 10.0.0.0/8 counter name arrived
    ip6 saddr %s counter name arrived
  }
}
"""


DROP = "table inet invalid {\n chain forward {\n type filter hook forward priority 0;\n ct state invalid drop\n }\n}\n"


@pytest.fixture
def router(router: Router) -> Router:
    """It tracks IPv6 too, and the far side counts what arrives untranslated."""
    router.namespace.run("nft", "-f", "-", text="table ip6 tracked {\n chain here {\n ct state new\n }\n}\n")
    arrives = COUNTER % (router.link, router.instances[0].address6)
    router.world.namespace.run("nft", "-f", "-", text=arrives)
    return router


def arrived(router: Router) -> int:
    """How many packets the far side got from an inside address."""
    said = json.loads(router.world.namespace.run("nft", "-j", "list", "counter", "netdev", "untranslated", "arrived"))
    return sum(int(entry["counter"]["packets"]) for entry in said["nftables"] if "counter" in entry)


def segments() -> dict[str, tuple[int, Bytes]]:
    """One packet of each kind without its IP header: no connection belongs to any of them."""
    ports = np.array([4000]), np.array([80])
    made = {name: (TCP, packets.tcp(1, *ports, flags)) for name, flags in KINDS.items()}
    return {**made, "reply": (ICMP, packets.echo(1, 0, np.array([7]))), "checksum": (UDP, packets.udp(1, *ports, 0))}


def scan(router: Router, six: bool) -> int:
    """EACH of every kind, also over IPv6 if wanted; how many were sent."""
    inside = router.instances[0]
    sent = 0
    for name, (proto, segment) in segments().items():
        sent += send(router, inside.address, SERVER, proto, segment, spoil=name == "checksum")
    for flags in KINDS.values() if six else ():
        sent += send(router, inside.address6, SERVER6, TCP, packets.tcp(1, np.array([4000]), np.array([80]), flags))
    return sent


def send(router: Router, source: str, to: str, proto: int, segment: Bytes, *, spoil: bool = False) -> int:
    """EACH packets as the instance would; a spoilt one has a wrong checksum."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    mac = packets.mac_bytes(router.mac(1))
    here, there = (packets.address_bytes(each)[None] for each in (source, to))
    rows = packets.frames(mac, mac, here, there, proto, segment)
    if spoil:
        rows[:, -1] ^= 0xFF
    with router.instances[0].namespace.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for _ in range(EACH):
            raw.sendto(rows[0, ETHERNET:].tobytes(), (to, 0))
    return EACH


def judged(auditor: Daemon) -> dict[str, int | None]:
    """Each cause of a gap about such packets, with its number."""
    return {gap["cause"]: gap["lost"] for gap in auditor.gaps() if gap["cause"].startswith("untracked")}
