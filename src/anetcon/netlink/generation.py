"""What nftables says of itself over netlink: the generation, raised by every change of a namespace's ruleset; whether
a table is there; and, to members of its group, a message for each commit.

Refuses to read rules: what they say is asked of iptables and nft.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator

# netlink.h, nfnetlink.h, nf_tables.h: the kernel's names
NETLINK_NETFILTER = 12
NLMSG_ERROR = 2
NLM_F_REQUEST = 1
NFNLGRP_NFTABLES = 7
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_GETTABLE = 1
NFT_MSG_NEWGEN = 15
NFT_MSG_GETGEN = 16
NFTA_TABLE_NAME = 1
NFTA_GEN_ID = 1
INET = 0
NFPROTO = {INET: 1, 4: 2, 6: 10}
NUMBERS = {"inet": INET, "ip": 4, "ip6": 6}
"""Families as nftables numbers them."""

_HEADER = struct.Struct("=IHHII")
_NFGENMSG = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_ROOM = 1 << 16
_READS = 1000
"""As many messages are read at a time, so that a ruleset that changes all the time cannot hold up the loop."""

UNKNOWN = -1
"""A generation that no ruleset has: something changed, and what we were told of it was lost."""


def request(kind: int, family: int = 0, attributes: bytes = b"") -> bytes:
    """One message for nftables."""
    length = _HEADER.size + _NFGENMSG.size + len(attributes)
    header = _HEADER.pack(length, NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_REQUEST, 1, 0)
    return header + _NFGENMSG.pack(family, 0, 0) + attributes


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message in a datagram; one that is cut off ends it."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size or position + length > len(data):
            return
        yield kind, data[position + _HEADER.size : position + length]
        position += length + 3 & ~3


def generation_in(data: bytes) -> int | None:
    """The last generation that a datagram tells, None when it tells none."""
    found = None
    for kind, payload in messages(data):
        if kind == NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN:
            found = _generation(payload[_NFGENMSG.size :])
    return found


def _generation(attributes: bytes) -> int | None:
    position = 0
    while position + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, position)
        if length < _ATTRIBUTE.size:
            return None
        value = attributes[position + _ATTRIBUTE.size : position + length]
        if kind & 0x3FFF == NFTA_GEN_ID and len(value) == 4:
            return int.from_bytes(value, "big")
        position += length + 3 & ~3
    return None


def _ask(message: bytes) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as asking:
        asking.settimeout(5)
        asking.send(message)
        return asking.recv(_ROOM)


def generation() -> int:
    """The ruleset's generation in the namespace we are in; UNKNOWN where there is no nftables."""
    found = generation_in(_ask(request(NFT_MSG_GETGEN)))
    return UNKNOWN if found is None else found


def has_table(family: int, name: str) -> bool:
    """Whether nftables has a table for IPv4 (4), IPv6 (6) or both (INET) in the namespace we are in."""
    value = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), NFTA_TABLE_NAME) + value
    answer = _ask(request(NFT_MSG_GETTABLE, NFPROTO[family], attribute + bytes(-len(attribute) % 4)))
    kind, payload = next(messages(answer))
    if kind != NLMSG_ERROR:
        return True
    number = -int.from_bytes(payload[:4], sys.byteorder, signed=True)
    if number in (0, errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EINVAL):
        return number == 0
    raise OSError(number, os.strerror(number))


class RulesetWatch:
    """Hears of every commit in the namespace it was made in. Its socket keeps that namespace alive until `close`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, 1 << NFNLGRP_NFTABLES - 1))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For the loop: readable when `drain` has something to read."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the namespace."""
        self._socket.close()

    def drain(self) -> int | None:
        """Read all that waits: the last generation it tells, UNKNOWN when something was lost, None when none."""
        found: int | None = None
        lost = False
        for _ in range(_READS):
            try:
                told = generation_in(self._socket.recv(_ROOM))
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS
                lost = True
            else:
                found = found if told is None else told
        return UNKNOWN if lost else found

    def wait_commit(self, seconds: float) -> None:
        """Wait for a commit that is told from now on; for children, which may wait. Returns without one in the end."""
        self.drain()
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.poll(seconds * 1000)

    def generation(self) -> int:
        """What the generation is now; UNKNOWN when that cannot be had at once."""
        try:
            self._socket.send(request(NFT_MSG_GETGEN))
        except OSError:
            return UNKNOWN
        told = self.drain()
        return UNKNOWN if told is None else told
