"""The world's answer to a flow of frames: recognize first packets, send everything back to where it came from.

Pure: frames in, frames out. A TCP segment is answered by its own data with the flags a server would set, a datagram and
an echo request by themselves; resets, bare acknowledgements and answers to what the world itself opened are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anetcon.testbed.topology import WORLD4, WORLD6
from tests.load.lives import DISCARD, ECHO, REFUSED, SERVER_SEQ
from tests.load.packets import (
    ACK,
    ETHERNET,
    FIN,
    IPV4,
    IPV6,
    RST,
    SYN,
    TCP,
    UDP,
    Bytes,
    address_bytes,
    long,
    seal,
    set_long,
    words,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Frames of one IP version, protocol and length that go one way. `inbound`: answers to what the world opened."""

    rows: Bytes
    ipv6: bool
    proto: int
    inbound: bool

    @property
    def start(self) -> int:
        """Where the protocol header begins."""
        return ETHERNET + (40 if self.ipv6 else 20)

    @property
    def data(self) -> int:
        """Bytes of payload behind a TCP header."""
        return int(self.rows.shape[1]) - self.start - 20

    def sources(self) -> Bytes:
        """Source addresses."""
        return self.rows[:, 22:38] if self.ipv6 else self.rows[:, 26:30]

    def source_ports(self) -> Array:
        """Source ports, or ICMP ids."""
        return words(self.rows, self.start + (0 if self.proto in (TCP, UDP) else 4))[:, 0]


def groups(rows: Bytes, lengths: Array) -> Iterator[tuple[Array, Group]]:
    """The frames of connections, sorted; which rows each group is. Everything else (ARP and the like) is left out."""
    kinds = words(rows, 12)[:, 0]
    for version, at, servers, prefix in ((IPV4, 23, 30, WORLD4), (IPV6, 20, 38, WORLD6)):
        mine = np.flatnonzero(kinds == int.from_bytes(version, "big"))
        if not len(mine):
            continue
        server = _prefix(prefix)
        inbound = (rows[mine, servers : servers + len(server)] != server).any(axis=1)
        keys = lengths[mine].astype(np.int64) << 9 | rows[mine, at].astype(np.int64) << 1 | inbound
        for key in np.unique(keys).tolist():
            where = mine[keys == key]
            proto = key >> 1 & 0xFF
            if proto in (TCP, UDP, *ECHO):
                yield where, Group(rows[where, : key >> 9], version == IPV6, proto, bool(key & 1))


def _prefix(network: str) -> Bytes:
    address, length = network.split("/")
    return address_bytes(address)[: int(length) // 8]


def first_packets(group: Group) -> tuple[Array, Array]:
    """Which frames of a group are the first that come through of a connection, and which connections those are."""
    rows, start = group.rows, group.start
    if group.proto != TCP:
        return np.arange(len(rows)), long(rows, start + 8)
    flags = rows[:, start + 13]
    if group.inbound:
        chosen = np.flatnonzero(flags & (SYN | RST))
        return chosen, long(rows[chosen], start + 8) - 1
    chosen = np.flatnonzero(flags == SYN)
    return chosen, long(rows[chosen], start + 4)


def answers(group: Group) -> tuple[Array, Bytes]:
    """Which frames of a group are answered, and the answers."""
    start, ports = group.start, words(group.rows, group.start, 2)
    answered = np.full(len(group.rows), not group.inbound)
    if group.proto == TCP:
        flags = group.rows[:, start + 13]
        answered &= (flags & RST == 0) & ((flags != ACK) | (group.data > 0))
    elif group.proto == UDP:
        answered &= ports[:, 1] != DISCARD
    chosen = np.flatnonzero(answered)
    rows = group.rows[chosen]
    if len(chosen):
        _turn(rows, group)
        seal(rows, group.proto)
    return chosen, rows


def _turn(rows: Bytes, group: Group) -> None:
    """Make requests answers, all but the checksum; the IP header's holds still when addresses change places."""
    start, middle = group.start, 38 if group.ipv6 else 30
    size = 16 if group.ipv6 else 4
    _swap(rows, 0, 6, 6)
    _swap(rows, middle - size, middle, size)
    if group.proto in ECHO:
        rows[:, start] = ECHO[group.proto][1]
        return
    _swap(rows, start, start + 2, 2)
    if group.proto == TCP:
        flags = rows[:, start + 13].copy()
        syn, refused = flags & SYN != 0, words(rows, start)[:, 0] == REFUSED
        seq, ack = long(rows, start + 4), long(rows, start + 8)
        set_long(rows, start + 4, np.where(refused, 0, np.where(syn, SERVER_SEQ, ack)))
        set_long(rows, start + 8, seq + group.data + (flags & (SYN | FIN) != 0))
        rows[:, start + 13] = np.where(refused, RST, flags) | ACK


def _swap(rows: Bytes, first: int, second: int, size: int) -> None:
    kept = rows[:, first : first + size].copy()
    rows[:, first : first + size] = rows[:, second : second + size]
    rows[:, second : second + size] = kept
