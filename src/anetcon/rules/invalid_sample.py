"""The rule of ours that counts packets that conntrack calls invalid where they leave, and logs a sample of them: its
table, the socket that the sample comes to (nfnetlink_log), and how many it counted."""

from __future__ import annotations

import errno
import os
import socket
import struct

from anetcon.netlink import generation as netlink
from anetcon.rules.tables import Table
from anetcon.system import syscalls as sc

NAME = "anetcon_packets"
FAMILIES = {"ip": 2, "ip6": 10}
"""Families of nftables, as the kernel numbers them: IPv6 may be tracked where IPv4 is not, and the other way."""
RATE = 100
"""Packets a second, of a family, that are logged; and as many at once. All are counted."""
GROUP = 27911
"""The group of nfnetlink_log; other programs take small numbers."""
BYTES = 128
"""Of each packet: its headers."""
LATE = 10
"""Hundredths of a second that the kernel keeps a message, to tell more at once."""
BUFFER = 1 << 18
COUNTER = "left"
_CHAIN = (
    f"counter {COUNTER} {{ }}\n chain postrouting {{\n  type filter hook postrouting priority 1000; policy accept;\n"
    f"  ct state invalid counter name {COUNTER} limit rate {RATE}/second burst {RATE} packets"
    f" log group {GROUP} snaplen {BYTES}\n }}\n"
)

# linux/netfilter/nfnetlink_log.h, nf_tables.h
_CONFIG = 4 << 8 | 1
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_TIMEOUT = 1, 2, 4
NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET = 1, 2
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NFT_MSG_GETOBJ = 19
NFTA_OBJ_TABLE, NFTA_OBJ_NAME, NFTA_OBJ_TYPE, NFTA_OBJ_DATA = 1, 2, 3, 4
NFT_OBJECT_COUNTER, NFTA_COUNTER_PACKETS = 1, 2
_ATTRIBUTE = struct.Struct("=HH")


def made(family: str) -> Table:
    """Our table of a family."""
    return Table(f"{family} {NAME}", _CHAIN, "count packets that are invalid")


def listen() -> socket.socket:
    """A socket that gets what our rules log in the namespace we are in. OSError when it cannot be had."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, sc.SO_RCVBUFFORCE, BUFFER)
        opened.setsockopt(sc.SOL_NETLINK, sc.NETLINK_NO_ENOBUFS, 1)
        opened.connect((0, 0))  # the kernel refuses what another program sends there
        asked = (
            _attribute(NFULA_CFG_CMD, bytes([NFULNL_CFG_CMD_BIND]))
            + _attribute(NFULA_CFG_MODE, struct.pack(">IBx", BYTES, NFULNL_COPY_PACKET))
            + _attribute(NFULA_CFG_TIMEOUT, struct.pack(">I", LATE))
        )
        head = struct.pack("=IHHII", 20 + len(asked), _CONFIG, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
        opened.send(head + struct.pack(">BBH", 0, 0, GROUP) + asked)
        answer = opened.recv(8192)  # it is there when send returns
        number = -struct.unpack_from("=i", answer, 16)[0]
        if number:
            raise OSError(number, f"group {GROUP} of nfnetlink_log: {os.strerror(number)}")
    except OSError:
        opened.close()
        raise
    return opened


def left(asking: socket.socket, family: str) -> int | None:
    """How many packets our rule of a family counted in the namespace of a non-blocking netfilter socket; None: it is
    not there. OSError when the kernel does not tell."""
    parts = _attribute(NFTA_OBJ_TABLE, NAME.encode() + b"\0") + _attribute(NFTA_OBJ_NAME, COUNTER.encode() + b"\0")
    parts += _attribute(NFTA_OBJ_TYPE, struct.pack(">I", NFT_OBJECT_COUNTER))
    asking.send(netlink.request(NFT_MSG_GETOBJ, FAMILIES[family], parts))
    kind, payload = next(netlink.messages(asking.recv(8192)), (0, b""))
    if kind == netlink.NLMSG_ERROR:
        number = -struct.unpack_from("=i", payload)[0]
        if number == errno.ENOENT:
            return None
        raise OSError(number, os.strerror(number))
    return counted(payload[4:])


def counted(attributes: bytes) -> int:
    """The packets that a counter has, by the attributes of its message; 0 where they do not say."""
    data = _parts(attributes).get(NFTA_OBJ_DATA, b"")
    return int.from_bytes(_parts(data).get(NFTA_COUNTER_PACKETS, b""), "big")


def _parts(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)
