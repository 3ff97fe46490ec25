"""Frames are what a network card would take: lengths and checksums right for every protocol."""

from __future__ import annotations

import ipaddress
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.load import packets
from tests.load.packets import ICMP, ICMP6, TCP, UDP

MAC = packets.mac_bytes("02:00:00:00:00:01")


def ones_sum(data: bytes) -> int:
    """The Internet checksum's sum, the slow and obvious way: 0xFFFF when the checksum inside is right."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def segment(proto: int, port: int, payload: bytes) -> packets.Bytes:
    """A header of that protocol before a payload."""
    if proto == TCP:
        head = packets.tcp(1, port, 443, packets.SYN, seq=port << 12, ack=1)
    elif proto == UDP:
        head = packets.udp(1, port, 53, len(payload))
    else:
        head = packets.echo(1, 8 if proto == ICMP else 128, port)
    return np.hstack([head, np.frombuffer(payload, np.uint8)[None, :]])


@given(
    proto=st.sampled_from([TCP, UDP, ICMP, ICMP6]),
    ipv6=st.booleans(),
    numbers=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    port=st.integers(0, 65535),
    payload=st.binary(max_size=64).map(lambda data: data[: len(data) // 2 * 2]),
)
def test_checksums_are_right(proto: int, ipv6: bool, numbers: tuple[int, int], port: int, payload: bytes) -> None:
    """IP header and segment (with its pseudo header) each sum to all ones."""
    ip = ipaddress.IPv6Address if ipv6 else ipaddress.IPv4Address
    source, destination = (ip(number) for number in numbers)
    rows = packets.frames(
        MAC,
        MAC,
        packets.address_bytes(str(source)),
        packets.address_bytes(str(destination)),
        proto,
        segment(proto, port, payload),
    )
    frame = rows[0].tobytes()
    start = 14 + (40 if ipv6 else 20)
    if not ipv6:
        assert ones_sum(frame[14:34]) == 0xFFFF
    pseudo = source.packed + destination.packed + struct.pack("!HH", proto, len(frame) - start)
    assert ones_sum((b"" if proto == ICMP else pseudo) + frame[start:]) == 0xFFFF


def test_lengths_are_right() -> None:
    """The IP header's length is that of the frame, in both versions."""
    four, six = (
        packets.frames(MAC, MAC, address, address, TCP, packets.tcp(1, 1, 2, packets.SYN))
        for address in (packets.address_bytes("10.0.0.1"), packets.address_bytes("2001:db8::1"))
    )
    assert (packets.words(four, 16)[0, 0], four.shape[1]) == (40, 54)
    assert (packets.words(six, 18)[0, 0], six.shape[1]) == (20, 74)


@pytest.mark.parametrize(
    ("first", "above", "last"), [("10.0.0.250", 10, "10.0.1.4"), ("2001:db8::ff", 1, "2001:db8::100")]
)
def test_addresses_count_up(first: str, above: int, last: str) -> None:
    """Counting carries over from one byte to the next."""
    assert packets.count_up(first, np.array([above]))[0].tobytes() == ipaddress.ip_address(last).packed


@given(st.integers(0, 2**32 - 1))
def test_a_long_number_is_read_as_it_was_written(value: int) -> None:
    """32 bits survive being written into a frame."""
    rows = np.zeros((1, 8), np.uint8)
    packets.set_long(rows, 2, value)
    assert packets.long(rows, 2)[0] == value
