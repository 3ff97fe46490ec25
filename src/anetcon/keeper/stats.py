"""What the kernel tells of a namespace at once: how full its connection table and a socket's queue are.

Refuses dumps: one short answer, some microseconds.
"""

from __future__ import annotations

import itertools
import socket
import struct

from anetcon.keeper import syscalls as sc

# netlink.h
NLM_F_REQUEST = 1
NLMSG_ERROR = 2

# nfnetlink.h, nfnetlink_conntrack.h
NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_GET_STATS = 5
CTA_STATS_GLOBAL_ENTRIES = 1
CTA_STATS_GLOBAL_MAX_ENTRIES = 2

GET_STATS = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS
NLMSGHDR = struct.Struct("=IHHII")
NFGENMSG = struct.Struct("=BBH")
NLATTR = struct.Struct("=HH")
_MEMINFO = struct.Struct("=9I")
_NLA_TYPE_MASK = 0x3FFF
_sequence = itertools.count(1)


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
        answer = parse(asking.recv(8192), sequence)
        if answer is not None:
            return answer


def parse(data: bytes, sequence: int) -> tuple[int, int] | None:
    """(connections, limit) from an answer, None when it answers another question. OSError from an error message."""
    if len(data) < NLMSGHDR.size + 4:
        return None
    length, kind, _, answered, _ = NLMSGHDR.unpack_from(data, 0)
    if answered != sequence:
        return None
    if kind == NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", data, NLMSGHDR.size)
        raise OSError(-number, "the kernel does not tell the size of the connection table")
    found: dict[int, int] = {}
    position, end = NLMSGHDR.size + NFGENMSG.size, min(length, len(data))
    while position + NLATTR.size <= end:
        size, attribute = NLATTR.unpack_from(data, position)
        if size == NLATTR.size + 4 and position + size <= end:
            (found[attribute & _NLA_TYPE_MASK],) = struct.unpack_from(">I", data, position + NLATTR.size)
        position += max(NLATTR.size, (size + 3) & ~3)
    return found.get(CTA_STATS_GLOBAL_ENTRIES, 0), found.get(CTA_STATS_GLOBAL_MAX_ENTRIES, 0)
