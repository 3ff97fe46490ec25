"""The lives of connections, packet by packet: which kinds there are, and what either side says when.

Pure: columns in, frames out. A life goes in steps; in each step some frames leave on the instances' side and some on
the world's. What an instance opens is answered by an echo in the world (`mixed`), since only there the translated
source is known; what the world opens is answered inside by frames that are known before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anetcon.testbed.topology import Router
from tests.load.packets import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, UDP, Bytes, count_up, echo, tcp, udp

Array = NDArray[Any]

SERVER_SEQ = 0x50000000
"""Where every server's sequence numbers begin. A client's begin at the connection's index: that is how it is known
again after translation. UDP and ICMP carry the index first in their payload."""
REFUSED, DISCARD = 81, 9
"""TCP port that answers by a reset; UDP port that answers nothing."""
DATA = 64
HOSTS = 200
"""Machines on either side of a router."""
MOST = 60_000
"""Connections of one router that never repeat a 5-tuple."""
ECHO = {ICMP: (8, 0), ICMP6: (128, 129)}
"""Types of request and answer."""


class Packet(NamedTuple):
    """One packet: in which step, by the opener or the other side, and what it says."""

    step: int
    opener: bool
    flags: int = 0
    seq: int = 0
    ack: int = 0
    data: int = 0


_OPEN = (Packet(1, True, SYN), Packet(2, True, PSH | ACK, 1, 1, DATA))
CLOSED = (*_OPEN, Packet(3, True, FIN | ACK, 1 + DATA, 1 + DATA), Packet(4, True, ACK, 2 + DATA, 2 + DATA))
ABORTED = (*_OPEN, Packet(3, True, RST | ACK, 1 + DATA, 1 + DATA))
SERVED = (
    Packet(1, True, SYN),
    Packet(2, False, SYN | ACK, 0, 1),
    Packet(3, True, PSH | ACK, 1, 1, DATA),
    Packet(4, False, FIN | PSH | ACK, 1, 1 + DATA, DATA),
    Packet(5, True, FIN | ACK, 1 + DATA, 2 + DATA),
    Packet(6, False, ACK, 2 + DATA, 2 + DATA),
)
ONE = (Packet(1, True, SYN, data=DATA),)
ANSWERED = (Packet(1, True, data=DATA), Packet(2, False, data=DATA))
STEPS = 6


@dataclass(frozen=True)
class Kind:
    """A kind of connection; `share` of all. `floating`: the instance behind a floating address."""

    name: str
    share: float
    proto: int
    life: Sequence[Packet]
    ipv6: bool = False
    inbound: bool = False
    floating: bool = False
    service: int = 443


KINDS = (
    Kind("tcp", 0.25, TCP, CLOSED),
    Kind("tcp aborted", 0.05, TCP, ABORTED, service=80),
    Kind("tcp refused", 0.05, TCP, (Packet(1, True, SYN),), service=REFUSED),
    Kind("tcp from floating", 0.08, TCP, CLOSED, floating=True),
    Kind("tcp to floating", 0.12, TCP, SERVED, inbound=True, floating=True),
    Kind("tcp6", 0.08, TCP, CLOSED, ipv6=True),
    Kind("tcp6 inwards", 0.04, TCP, SERVED, ipv6=True, inbound=True),
    Kind("udp", 0.15, UDP, ONE, service=53),
    Kind("udp unanswered", 0.04, UDP, ONE, service=DISCARD),
    Kind("udp to floating", 0.03, UDP, ANSWERED, inbound=True, floating=True, service=5060),
    Kind("udp6", 0.05, UDP, ONE, ipv6=True, service=53),
    Kind("icmp", 0.03, ICMP, ONE, service=0),
    Kind("icmp to floating", 0.01, ICMP, ANSWERED, inbound=True, floating=True, service=0),
    Kind("icmp6", 0.02, ICMP6, ONE, ipv6=True, service=0),
)


@dataclass(frozen=True)
class Truth:
    """Every connection as it is made, one column a field, by the field names of a record; IPv4 in 16 bytes.

    `nat_src_port` of what goes out by SNAT is filled in when the packet is seen outside, as `seen` is.
    """

    kind: Array
    router: Array
    proto: Array
    src_ip: Array
    src_port: Array
    dst_ip: Array
    dst_port: Array
    nat_src_ip: Array
    nat_src_port: Array
    nat_dst_ip: Array
    nat_dst_port: Array
    seen: Array


_ENDS = ("src_ip", "dst_ip", "nat_src_ip", "nat_dst_ip")


def truth(routers: Sequence[Router], connections: int, seed: int, block: int) -> Truth:
    """Draw so many connections. Rows are in the order of making: within a block router by router."""
    random = np.random.default_rng(seed)
    router = random.integers(0, len(routers), connections)
    router = router[np.lexsort((router, np.arange(connections) // block))]
    kind = random.choice(len(KINDS), connections, p=[k.share for k in KINDS])
    protocols = np.array([k.proto for k in KINDS], np.uint8)[kind]
    ends = {end: np.zeros((connections, 16), np.uint8) for end in _ENDS}
    ports = {f"{end[:-3]}_port": np.zeros(connections, np.uint16) for end in _ENDS}
    made = Truth(kind=kind, router=router, proto=protocols, seen=np.zeros(connections, bool), **ends, **ports)
    for number, each in enumerate(routers):
        mine = np.flatnonzero(router == number)
        if len(mine) > MOST:
            raise ValueError(f"{len(mine)} connections through one router: take more routers")
        for code, k in enumerate(KINDS):
            chosen = kind[mine] == code
            _address(made, mine[chosen], np.flatnonzero(chosen), each, k, random)
    return made


def _address(made: Truth, rows: Array, order: Array, router: Router, kind: Kind, random: np.random.Generator) -> None:
    """Addresses and ports of one router's connections of one kind; `order` is their place among the router's."""
    n = router.number
    here = count_up(f"2001:db8:{n}:1::1" if kind.ipv6 else f"10.{n}.128.1", order % HOSTS)
    there = count_up("2001:db8:beef::1" if kind.ipv6 else "198.51.100.1", random.integers(0, HOSTS, len(order)))
    public = here if kind.ipv6 else count_up(router.snat, order * 0)
    port = 1024 + order // HOSTS
    if kind.floating:
        outer, inner = next(iter(router.floating.items()))
        here, public = count_up(inner, order * 0), count_up(outer, order * 0)
        port = 1024 + order
    if kind.inbound:
        clients = count_up("2001:db8:c::1" if kind.ipv6 else "192.0.2.1", order % HOSTS)
        source, seen, target, final, port = clients, clients, public, here, 1024 + order // HOSTS
    else:
        source, seen, target, final = here, public, there, there
    service = kind.service if kind.proto not in ECHO else ECHO[kind.proto][0] << 8
    made.src_ip[rows], made.nat_src_ip[rows] = widened(source), widened(seen)
    made.dst_ip[rows], made.nat_dst_ip[rows] = widened(target), widened(final)
    made.src_port[rows] = made.nat_src_port[rows] = port
    made.dst_port[rows] = made.nat_dst_port[rows] = service


def widened(addresses: Bytes) -> Bytes:
    """16 bytes for each address, IPv4 as ::ffff:a.b.c.d."""
    if addresses.shape[1] == 16:
        return addresses
    wide = np.zeros((len(addresses), 16), np.uint8)
    wide[:, 10:12], wide[:, 12:] = 0xFF, addresses
    return wide


def segments(made: Truth, rows: Array, kind: Kind, packet: Packet) -> tuple[Bytes, Bytes, Bytes]:
    """Source, destination and protocol segment of one packet of each given connection, as its sender sends it."""
    source, destination = made.src_ip[rows], made.dst_ip[rows]
    ports = made.src_port[rows], made.dst_port[rows]
    index = rows.astype(np.int64)
    seq, ack = index + packet.seq, np.where(packet.ack > 0, SERVER_SEQ + packet.ack, 0)
    if not packet.opener:  # from the machine behind the translation back to the client
        source, destination, ports = made.nat_dst_ip[rows], made.nat_src_ip[rows], ports[::-1]
        seq, ack = index * 0 + SERVER_SEQ + packet.seq, index + packet.ack
    payload = np.full((len(rows), packet.data), 0x2E, np.uint8)
    if kind.proto == TCP:
        head = tcp(len(rows), *ports, packet.flags, seq, ack)
    else:
        payload[:, :4] = index.astype(">u4").view(np.uint8).reshape(-1, 4)
        if kind.proto == UDP:
            head = udp(len(rows), *ports, packet.data)
        else:
            head = echo(len(rows), ECHO[kind.proto][not packet.opener], made.src_port[rows])
    first = 0 if kind.ipv6 else 12
    return source[:, first:], destination[:, first:], np.hstack([head, payload])
