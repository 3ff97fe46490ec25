"""What `anetcon-kmsg` passes to capture: one packet of a SOCK_SEQPACKET pair is many whole records of /dev/kmsg.

A packet is never torn, whichever end dies, and what nobody took stays in the socket, which the keeper holds open.
Standard library only.
"""

from __future__ import annotations

import struct
import time
from typing import NamedTuple

LIMIT = 256 << 10
"""Bytes of records in one packet, at most."""

_HEAD = struct.Struct("=qqq")


class Stamp(NamedTuple):
    """When the first `size` bytes of a packet's records were read, the last of them just then: microseconds of wall
    clock, and of CLOCK_MONOTONIC_RAW."""

    wall: int
    raw: int
    size: int

    @classmethod
    def now(cls, size: int) -> Stamp:
        """This moment."""
        return cls(time.time_ns() // 1000, time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) // 1000, size)


def pack(stamp: Stamp, records: bytes) -> bytes:
    """A packet."""
    return _HEAD.pack(*stamp) + records


def unpack(packet: bytes) -> tuple[Stamp, bytes]:
    """What was packed. ValueError for anything else."""
    if len(packet) < _HEAD.size:
        raise ValueError(f"a packet of {len(packet)} bytes")
    return Stamp(*_HEAD.unpack_from(packet)), packet[_HEAD.size :]
