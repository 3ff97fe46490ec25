"""What the kernel tells of a namespace at once: how full its table and a socket's queue are, what it refused.

Refuses to list connections: short answers, some microseconds.
"""

from __future__ import annotations

import itertools
import socket
import struct
from typing import NamedTuple

from anetcon.system import syscalls as sc

# netlink.h
NLM_F_REQUEST = 1
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
DONE_SIZE = 20

# nfnetlink.h, nfnetlink_conntrack.h
NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_GET_STATS_CPU = 4
IPCTNL_MSG_CT_GET_STATS = 5
CTA_STATS_GLOBAL_ENTRIES = 1
CTA_STATS_GLOBAL_MAX_ENTRIES = 2
CTA_STATS_INVALID = 4
CTA_STATS_DROP = 10
CTA_STATS_ERROR = 12
CTA_STATS_CHAIN_TOOLONG = 15

GET_STATS = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS
GET_STATS_CPU = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU
NLMSGHDR = struct.Struct("=IHHII")
NFGENMSG = struct.Struct("=BBH")
NLATTR = struct.Struct("=HH")
_MEMINFO = struct.Struct("=9I")
_NLA_TYPE_MASK = 0x3FFF
_sequence = itertools.count(1)
_ASK_PROCESSORS = NLMSGHDR.pack(NLMSGHDR.size + NFGENMSG.size, GET_STATS_CPU, NLM_F_REQUEST | NLM_F_DUMP, 0, 0)
_ASK_PROCESSORS += NFGENMSG.pack(0, 0, 0)


def queue(events: socket.socket) -> tuple[int, int, int]:
    """(bytes queued, bytes that fit, messages dropped since it was opened) of a socket."""
    values = _MEMINFO.unpack(events.getsockopt(socket.SOL_SOCKET, sc.SO_MEMINFO, _MEMINFO.size))
    return values[0], values[1], values[8]


def table(asking: socket.socket) -> tuple[int, int]:
    """(connections, limit) of the namespace of a non-blocking ctnetlink socket. OSError when the kernel refuses."""
    sequence = next(_sequence) & 0xFFFFFFFF
    header = NLMSGHDR.pack(NLMSGHDR.size + NFGENMSG.size, GET_STATS, NLM_F_REQUEST, sequence, 0)
    asking.send(header + NFGENMSG.pack(0, 0, 0))
    while True:  # the answer is there when send returns; an answer to an older question may be before it
        found = parse(asking.recv(8192), sequence)
        if found is not None:
            return found.get(CTA_STATS_GLOBAL_ENTRIES, 0), found.get(CTA_STATS_GLOBAL_MAX_ENTRIES, 0)


def parse(data: bytes, sequence: int) -> dict[int, int] | None:
    """The numbers of an answer, by type; None when it answers another question. OSError from an error message."""
    if len(data) < NLMSGHDR.size + 4:
        return None
    length, kind, _, answered, _ = NLMSGHDR.unpack_from(data, 0)
    if answered != sequence:
        return None
    _refuse_error(data, kind)
    return _numbers(data, 0, min(length, len(data)))


class KernelCounts(NamedTuple):
    """What conntrack counted in a namespace since it is there, modulo 2**32 or more: `refused` connections, because its
    table was full or a chain of its hash too long, and packets that it calls invalid, `untracked`."""

    refused: int
    untracked: int


def processors(asking: socket.socket) -> bytes:
    """What each processor counted in the namespace of a non-blocking ctnetlink socket, for `counted`. While nothing was
    counted the answer is the same, byte for byte: reading it is most of the cost. OSError when the kernel refuses."""
    asking.send(_ASK_PROCESSORS)
    pieces = b""
    while True:  # each piece is there when the one before was taken
        piece = asking.recv(65536)
        tail = len(piece) - DONE_SIZE
        if tail >= 0 and NLMSGHDR.unpack_from(piece, tail)[:2] == (DONE_SIZE, NLMSG_DONE):
            return pieces + piece[:tail]
        _refuse_error(piece, NLMSGHDR.unpack_from(piece)[1])
        pieces += piece


def counted(data: bytes) -> KernelCounts:
    """What `processors` gave, added up."""
    refused = untracked = position = 0
    while position + NLMSGHDR.size <= len(data):
        length = NLMSGHDR.unpack_from(data, position)[0]
        if length < NLMSGHDR.size:
            break
        found = _numbers(data, position, min(position + length, len(data)))
        refused += found.get(CTA_STATS_DROP, 0) + found.get(CTA_STATS_CHAIN_TOOLONG, 0)
        untracked += found.get(CTA_STATS_INVALID, 0) + found.get(CTA_STATS_ERROR, 0)
        position += (length + 3) & ~3
    return KernelCounts(refused, untracked)


def _refuse_error(data: bytes, kind: int) -> None:
    if kind == NLMSG_ERROR and len(data) >= NLMSGHDR.size + 4:
        (number,) = struct.unpack_from("=i", data, NLMSGHDR.size)
        raise OSError(-number, "the kernel does not tell the statistics of the connection table")


def _numbers(data: bytes, start: int, end: int) -> dict[int, int]:
    """The attributes of 32 bits of the message at `start`, by type."""
    found: dict[int, int] = {}
    position = start + NLMSGHDR.size + NFGENMSG.size
    while position + NLATTR.size <= end:
        size, attribute = NLATTR.unpack_from(data, position)
        if size == NLATTR.size + 4 and position + size <= end:
            (found[attribute & _NLA_TYPE_MASK],) = struct.unpack_from(">I", data, position + NLATTR.size)
        position += max(NLATTR.size, (size + 3) & ~3)
    return found
