"""Whole Ethernet frames as rows of bytes, thousands at once, their checksums right.

Every function takes columns (numpy arrays of one length, or single values) and returns one row a frame. Nothing here
touches a socket.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Column = NDArray[Any] | int

ETHERNET = 14
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"


def mac_bytes(mac: str) -> Bytes:
    """A MAC address as six bytes."""
    return np.frombuffer(bytes.fromhex(mac.replace(":", "")), np.uint8)


def address_bytes(address: str) -> Bytes:
    """An IP address as 4 or 16 bytes."""
    return np.frombuffer(ipaddress.ip_address(address).packed, np.uint8)


def count_up(address: str, offsets: NDArray[np.integer[Any]]) -> Bytes:
    """Addresses that lie `offsets` above the given one, 4 or 16 bytes a row; at most the last 32 bits change."""
    rows = np.tile(address_bytes(address), (len(offsets), 1))
    last = rows[:, -4:].copy().view(">u4")[:, 0]
    rows[:, -4:] = (last + offsets).astype(">u4").view(np.uint8).reshape(-1, 4)
    return rows


def words(rows: Bytes, offset: int, count: int = 1) -> NDArray[np.uint16]:
    """16-bit words in network order from an even offset of each row, as a view that can be written."""
    view: NDArray[np.uint16] = rows[:, offset : offset + 2 * count].view(">u2")
    return view


def set_word(rows: Bytes, offset: int, value: Column) -> None:
    """Put a 16-bit number into each row."""
    words(rows, offset)[:, 0] = value


def long(rows: Bytes, offset: int) -> NDArray[np.int64]:
    """A 32-bit number of each row."""
    pair = words(rows, offset, 2).astype(np.int64)
    return pair[:, 0] << 16 | pair[:, 1]


def set_long(rows: Bytes, offset: int, value: Column) -> None:
    """Put a 32-bit number into each row."""
    value = np.asarray(value, np.int64)
    set_word(rows, offset, value >> 16 & 0xFFFF)
    set_word(rows, offset + 2, value & 0xFFFF)


def checksum(total: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """The Internet checksum of sums of 16-bit words."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).astype(np.uint16)


def word_sums(rows: Bytes, offset: int, end: int) -> NDArray[np.uint32]:
    """The sum of each row's 16-bit words between two even offsets."""
    total: NDArray[np.uint32] = words(rows, offset, (end - offset) // 2).sum(axis=1, dtype=np.uint32)
    return total


def tcp(count: int, source: Column, destination: Column, flags: int, seq: Column = 0, ack: Column = 0) -> Bytes:
    """TCP headers without options."""
    rows = np.zeros((count, 20), np.uint8)
    set_word(rows, 0, source)
    set_word(rows, 2, destination)
    set_long(rows, 4, seq)
    set_long(rows, 8, ack)
    rows[:, 12], rows[:, 13] = 5 << 4, flags
    set_word(rows, 14, 0xFFFF)
    return rows


def udp(count: int, source: Column, destination: Column, payload: int) -> Bytes:
    """UDP headers before `payload` bytes."""
    rows = np.zeros((count, 8), np.uint8)
    set_word(rows, 0, source)
    set_word(rows, 2, destination)
    set_word(rows, 4, 8 + payload)
    return rows


def echo(count: int, kind: int, identifier: Column, sequence: int = 1) -> Bytes:
    """ICMP or ICMPv6 echo headers."""
    rows = np.zeros((count, 8), np.uint8)
    rows[:, 0] = kind
    set_word(rows, 4, identifier)
    set_word(rows, 6, sequence)
    return rows


CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}
"""Where a protocol keeps its checksum."""


def frames(to_mac: Bytes, from_mac: Bytes, source: Bytes, destination: Bytes, proto: int, segment: Bytes) -> Bytes:
    """Ethernet and IP before `segment` (protocol header and payload, of even length, its checksum zero)."""
    count, length = segment.shape
    ip = 20 if source.shape[-1] == 4 else 40
    rows = np.zeros((count, ETHERNET + ip + length), np.uint8)
    rows[:, 0:6], rows[:, 6:12] = to_mac, from_mac
    rows[:, 12:14] = np.frombuffer(IPV4 if ip == 20 else IPV6, np.uint8)
    if ip == 20:
        rows[:, 14], rows[:, 22], rows[:, 23] = 0x45, 64, proto
        set_word(rows, 16, ip + length)
        set_word(rows, 20, 0x4000)  # do not fragment
        rows[:, 26:30], rows[:, 30:34] = source, destination
        set_word(rows, 24, checksum(word_sums(rows, 14, 34)))
    else:
        rows[:, 14], rows[:, 20], rows[:, 21] = 0x60, proto, 64
        set_word(rows, 18, length)
        rows[:, 22:38], rows[:, 38:54] = source, destination
    rows[:, ETHERNET + ip :] = segment
    seal(rows, proto)
    return rows


def seal(rows: Bytes, proto: int) -> None:
    """Compute the protocol's checksum anew in frames of one kind and length."""
    start = ETHERNET + (20 if rows[0, 12:14].tobytes() == IPV4 else 40)
    at = start + CHECKSUM_AT[proto]
    set_word(rows, at, 0)
    sums = word_sums(rows, start, rows.shape[1])
    if proto != ICMP:  # which alone has no pseudo header
        addresses = 26 if start == ETHERNET + 20 else 22
        sums += word_sums(rows, addresses, start) + np.uint32(proto + rows.shape[1] - start)
    set_word(rows, at, checksum(sums))
    if proto == UDP:
        words(rows, at)[words(rows, at) == 0] = 0xFFFF  # zero would mean none
