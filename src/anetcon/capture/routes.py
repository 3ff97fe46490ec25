"""What a route message of the kernel says of the networks behind an interface. Pure functions over bytes.

Only unicast routes count, of every table but `local`; a network of link-local addresses is behind nothing. The kernel
sends no message for each route that goes (measured: those of IPv4 whose interface goes down, those of a next hop object
that is removed), and one for two when a route replaces another: so a message tells for certain only that a route is
there, and whoever needs to know what went lists the routes again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from anetcon.netlink import headers as k
from anetcon.netlink.dump import attributes
from anetcon.netlink.framing import Malformed
from anetcon.record import Family

# linux/rtnetlink.h
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTMSG_LEN, RTNEXTHOP_LEN = 12, 8
RTA_DST, RTA_OIF, RTA_MULTIPATH, RTA_TABLE = 1, 4, 9, 15
RT_TABLE_LOCAL = 255
RTN_UNICAST = 1
RTM_F_CLONED = 0x200
RTNH_F_DEAD = 1
AF_INET, AF_INET6 = 2, 10

FAMILIES = {AF_INET: Family.IPV4, AF_INET6: Family.IPV6}

_BITS = {Family.IPV4: 32, Family.IPV6: 128}
_LINK_LOCAL = 0xFE80 >> 6


class RoutePrefix(NamedTuple):
    """A network: its first address, 4 or 16 bytes, and how many bits of that are the network."""

    family: Family
    address: bytes
    prefix_length: int


class Route(NamedTuple):
    """A network and the indices of the interfaces it is reached by; None when the kernel does not tell those."""

    network: RoutePrefix
    interfaces: list[int] | None


def get(family: int) -> bytes:
    """The body of a request for the unicast routes of a family."""
    return struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, RTN_UNICAST, 0)


def route(message: bytes) -> Route | None:
    """What a message says; None when it is of no route that counts. Raises Malformed or struct.error."""
    header = struct.unpack_from("=BBBBBBBBI", message, k.NLMSG_HDRLEN)
    family, length, _, _, table, _, _, kind, flags = header
    if family not in FAMILIES or kind != RTN_UNICAST or flags & RTM_F_CLONED:
        return None
    found = attributes(message, RTMSG_LEN)
    if RTA_TABLE in found:
        table = struct.unpack("=I", found[RTA_TABLE])[0]
    network = _network(FAMILIES[family], found.get(RTA_DST, b""), length)
    if table == RT_TABLE_LOCAL or _is_link_local(network):
        return None
    if RTA_OIF in found:
        return Route(network, [struct.unpack("=i", found[RTA_OIF])[0]])
    return Route(network, list(_hops(found[RTA_MULTIPATH])) if RTA_MULTIPATH in found else None)


def _network(family: Family, address: bytes, length: int) -> RoutePrefix:
    bits = _BITS[family]
    if len(address) not in (0, bits // 8) or length > bits:
        raise Malformed("a route to no network")
    return RoutePrefix(family, address or bytes(bits // 8), length)


def _is_link_local(network: RoutePrefix) -> bool:
    first = int.from_bytes(network.address[:2], "big") >> 6
    return network.family == Family.IPV6 and network.prefix_length >= 10 and first == _LINK_LOCAL


def _hops(data: bytes) -> Iterator[int]:
    """The interfaces of a route with several next hops, but for those that are down."""
    at = 0
    while len(data) - at >= RTNEXTHOP_LEN:
        length, flags, _, index = struct.unpack_from("=HBBi", data, at)
        if length < RTNEXTHOP_LEN or at + length > len(data):
            raise Malformed("next hops that do not fit")
        if not flags & RTNH_F_DEAD:
            yield index
        at += (length + 3) & ~3
