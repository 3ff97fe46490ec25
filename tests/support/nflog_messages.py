"""Messages of nfnetlink_log, as the kernel makes them."""

from __future__ import annotations

import socket
import struct

from anetcon.decode.nflog import LOGGED, NFULA_MARK, NFULA_PAYLOAD
from tests.support.messages import attribute

ONE4, TWO4 = b"\xc0\0\x02\x07", b"\xcb\0\x71\x09"


ONE6, TWO6 = socket.inet_pton(socket.AF_INET6, "2001:db8:1::12"), socket.inet_pton(socket.AF_INET6, "2001:db8:f::1")


PORTS = struct.pack(">HH", 4000, 80)


def message(family: int, payload: bytes, mark: int | None = None, kind: int = LOGGED) -> bytes:
    """One message of the kernel's."""
    marked = b"" if mark is None else attribute(NFULA_MARK, struct.pack(">I", mark))
    body = struct.pack(">BBH", family, 0, 7) + marked + attribute(NFULA_PAYLOAD, payload)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def four(proto: int, behind: bytes, place: int = 0, options: bytes = b"") -> bytes:
    """A packet of IPv4, of 100 bytes by its header."""
    first = 0x40 | 5 + len(options) // 4
    return struct.pack(">BBHHHBBH4s4s", first, 0, 100, 1, place, 64, proto, 0, ONE4, TWO4) + options + behind


def six(proto: int, behind: bytes) -> bytes:
    """A packet of IPv6, of 100 bytes by its header."""
    return struct.pack(">IHBB16s16s", 6 << 28, 60, proto, 64, ONE6, TWO6) + behind
