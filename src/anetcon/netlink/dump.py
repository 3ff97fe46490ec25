"""Netlink dumps, a piece at a time: what is asked once and answered in many messages, without ever waiting.

One exchange is under way on a socket at a time; whoever owns it feeds it when the socket is readable. `Exchange` knows
netlink's framing only; what the messages mean is its callback's.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
from collections.abc import Callable, Iterator

from anetcon.netlink import framing
from anetcon.netlink import headers as k

BUFFER = 1 << 16
"""The kernel answers dumps in pieces of at most 32 KiB (linux/netlink.h, NLMSG_GOODSIZE and af_netlink.c)."""

CT_GET = k.NFNL_SUBSYS_CTNETLINK << 8 | k.IPCTNL_MSG_CT_GET
NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE = (  # linux/netfilter/nf_tables.h
    k.NFNL_SUBSYS_NFTABLES << 8 | number for number in (1, 4, 7)
)
_DONE = struct.Struct("=IHHIIi")
"""The message that ends a dump: a header and an errno."""

NFGENMSG_UNSPEC = struct.pack("=BBH", 0, k.NFNETLINK_V0, 0)


def heard(sock: socket.socket) -> bytes:
    """A datagram that waits in a socket; nothing of one that another program sent: the kernel's port is 0, and no
    program can have it. Raises BlockingIOError, OSError."""
    data, sender = sock.recvfrom(BUFFER, socket.MSG_DONTWAIT)
    return b"" if sender and sender[0] else data


def messages(data: bytes | memoryview) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence number, whole message) of each message in a datagram; stops at the first that does not fit."""
    at = 0
    while len(data) - at >= k.NLMSG_HDRLEN:
        length, kind, _, sequence = struct.unpack_from("=IHHI", data, at)
        if length < k.NLMSG_HDRLEN or at + length > len(data):
            return
        yield kind, sequence, bytes(data[at : at + length])
        at += (length + 3) & ~3


def attributes(message: bytes, header: int) -> dict[int, bytes]:
    """The attributes of a message behind its `header` bytes, by type. Raises Malformed."""
    found = framing.attributes(message, k.NLMSG_HDRLEN + header, len(message))
    return {kind: message[begin:end] for kind, _, begin, end in found}


class Exchange:
    """One dump: `send` asks, `receive` takes what came and says whether it is over; `failed` is the kernel's errno,
    `interrupted` says that something changed meanwhile, so that the answer may have holes."""

    _sequence = secrets.randbits(31)
    """Of the latest. Another capture's dump may be left in the same socket: its answers have other numbers."""

    def __init__(self, kind: int, body: bytes, take: Callable[[list[bytes]], None]) -> None:
        Exchange._sequence += 1
        self.sequence = Exchange._sequence
        self.kind = kind
        self.body = body
        self.take = take
        self.failed = 0
        self.interrupted = False

    def send(self, sock: socket.socket) -> None:
        """Ask. Raises OSError."""
        flags = k.NLM_F_REQUEST | k.NLM_F_DUMP
        length = k.NLMSG_HDRLEN + len(self.body)
        sock.send(struct.pack("=IHHII", length, self.kind, flags, self.sequence, 0) + self.body)

    def answers(self, data: bytes) -> bool:
        """Whether a datagram answers this exchange: its messages have our number, which what the kernel tells unasked
        may have by chance, and then without NLM_F_MULTI."""
        if len(data) < k.NLMSG_HDRLEN:
            return False
        kind, flags, sequence = struct.unpack_from("=HHI", data, 4)
        return sequence == self.sequence and (kind == k.NLMSG_ERROR or bool(flags & k.NLM_F_MULTI))

    def skip(self, data: bytes) -> bool:
        """Pass over a datagram that answers; True when it is over. Costs the same however much is in it."""
        if struct.unpack_from("=H", data, 4)[0] == k.NLMSG_ERROR:
            return True
        if len(data) < _DONE.size:
            return False
        length, kind, _, sequence, _, _ = _DONE.unpack_from(data, len(data) - _DONE.size)
        return (length, kind, sequence) == (_DONE.size, k.NLMSG_DONE, self.sequence)

    def feed(self, data: bytes | memoryview) -> bool:
        """Take one datagram's messages that answer this exchange; True when it is over."""
        answers: list[bytes] = []
        over = False
        for kind, sequence, message in messages(data):
            if sequence != self.sequence:
                continue
            if kind in (k.NLMSG_DONE, k.NLMSG_ERROR):
                if kind == k.NLMSG_ERROR and len(message) >= 20:
                    self.failed = -struct.unpack_from("=i", message, 16)[0]
                over = True
                break
            answers.append(message)
        if answers or over:
            self.interrupted |= bool(struct.unpack_from("=H", data, 6)[0] & k.NLM_F_DUMP_INTR)
        if answers:
            self.take(answers)
        return over

    def receive(self, sock: socket.socket) -> bool:
        """Feed what waits in the socket, one datagram; True when the exchange is over. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            return self.feed(heard(sock))
        return False


def connections(take: Callable[[list[bytes]], None]) -> Exchange:
    """Every entry of a namespace's connection table (IPCTNL_MSG_CT_GET)."""
    return Exchange(CT_GET, NFGENMSG_UNSPEC, take)
