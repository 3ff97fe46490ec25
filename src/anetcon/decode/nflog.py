"""Messages of nfnetlink_log: each has the first bytes of a packet that a rule logged, from its IP header on.

The bytes are whatever somebody sent: every length is checked before use, and what is cut off ends without ports. Ports,
ids and types are as records have them (`record.CONNECTIONS`). Pure functions over bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from anetcon.decode.logline import ECHOES, WITH_TYPES
from anetcon.netlink import headers as k
from anetcon.netlink.framing import Malformed, attributes
from anetcon.record import Family

# linux/netfilter/nfnetlink.h, nfnetlink_log.h
NFNL_SUBSYS_ULOG = 4
NFULNL_MSG_PACKET = 0
LOGGED = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET
NFULA_MARK, NFULA_PAYLOAD = 2, 9

# linux/socket.h, netinet/in.h
AF_INET, AF_INET6 = 2, 10
_WITH_PORTS = (6, 17, 33, 132, 136)
_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS = 0, 43, 44, 51, 60

_MAPPED = bytes(10) + b"\xff\xff"
_OFFSET = 0x1FFF
"""Of IPv4's field of flags and offset: where a fragment belongs, in eights of bytes."""


class Packet(NamedTuple):
    """A packet; addresses of 16 bytes, `size` as its own header says."""

    family: Family
    proto: int
    src_ip: bytes
    src_port: int
    dst_ip: bytes
    dst_port: int
    size: int
    mark: int


def packets(data: bytes) -> tuple[list[Packet], int]:
    """The packets in a datagram, and how many messages could not be read."""
    found, unread = [], 0
    for message in _messages(data):
        try:
            found.append(packet(message))
        except (Malformed, struct.error):
            unread += 1
    return found, unread


def packet(message: bytes) -> Packet:
    """The packet of one message. Raises Malformed or struct.error."""
    parts = {kind: message[start:end] for kind, _, start, end in attributes(message, k.ATTRIBUTES, len(message))}
    payload = parts.get(NFULA_PAYLOAD, b"")
    mark = struct.unpack(">I", parts[NFULA_MARK])[0] if NFULA_MARK in parts else 0
    family = message[k.NLMSG_HDRLEN]
    if family == AF_INET:
        return _four(payload, mark)
    if family == AF_INET6:
        return _six(payload, mark)
    raise Malformed("neither IPv4 nor IPv6")


def _messages(data: bytes) -> Iterator[bytes]:
    """The messages of logged packets in a datagram; one that does not fit ends it."""
    at = 0
    while len(data) - at >= k.ATTRIBUTES:
        length, kind = struct.unpack_from("=IH", data, at)
        if length < k.ATTRIBUTES or at + length > len(data):
            return
        if kind == LOGGED:
            yield data[at : at + length]
        at += (length + 3) & ~3


def _four(data: bytes, mark: int) -> Packet:
    first, _, size, _, place, _, proto, _, source, target = struct.unpack_from(">BBHHHBBH4s4s", data)
    if first >> 4 != 4 or first & 15 < 5:
        raise Malformed("no header of IPv4")
    behind = b"" if place & _OFFSET else data[(first & 15) * 4 :]
    one, other = _ports(proto, behind)
    return Packet(Family.IPV4, proto, _MAPPED + source, one, _MAPPED + target, other, size, mark)


def _six(data: bytes, mark: int) -> Packet:
    first, size, proto, _, source, target = struct.unpack_from(">IHBB16s16s", data)
    if first >> 28 != 6:
        raise Malformed("no header of IPv6")
    proto, behind = _behind(proto, data[40:])
    one, other = _ports(proto, behind)
    return Packet(Family.IPV6, proto, source, one, target, other, size + 40, mark)


def _behind(proto: int, data: bytes) -> tuple[int, bytes]:
    """The protocol behind the extension headers, and its bytes; none where these are cut off, or it is a fragment."""
    while proto in (_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS) and len(data) >= 8:
        following, length, place = struct.unpack_from(">BBH", data)
        if proto == _FRAGMENT:
            length, data = 8, data if place >> 3 == 0 else b""
        else:
            length = length * 4 + 8 if proto == _AUTHENTICATION else length * 8 + 8
        proto, data = following, data[length:]
    return proto, data


def _ports(proto: int, data: bytes) -> tuple[int, int]:
    """Source and destination port; of ICMP the id, where there is one, and type and code."""
    if proto in _WITH_PORTS and len(data) >= 4:
        one, other = struct.unpack_from(">HH", data)
        return int(one), int(other)
    if proto in WITH_TYPES and len(data) >= 6:
        kind, number = struct.unpack_from(">H2xH", data)
        return int(number) if kind >> 8 in ECHOES[proto] else 0, int(kind)
    return 0, 0
