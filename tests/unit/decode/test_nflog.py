"""Packets that the kernel logged, as their first bytes: what is read of them, and that no bytes do harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.decode import nflog
from anetcon.decode.nflog import AF_INET, AF_INET6, Packet, packets
from anetcon.record import Family
from tests.support.nflog_messages import ONE4, ONE6, PORTS, TWO4, TWO6, four, message, six

MAPPED = bytes(10) + b"\xff\xff"


def packet4(proto: int, one: int = 0, other: int = 0, mark: int = 0) -> Packet:
    """What is to be read of `four`."""
    return Packet(Family.IPV4, proto, MAPPED + ONE4, one, MAPPED + TWO4, other, 100, mark)


def packet6(proto: int, one: int = 0, other: int = 0) -> Packet:
    """What is to be read of `six`."""
    return Packet(Family.IPV6, proto, ONE6, one, TWO6, other, 100, 0)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (four(6, PORTS), packet4(6, 4000, 80)),
        (four(17, PORTS, options=bytes(8)), packet4(17, 4000, 80)),
        (four(17, PORTS, place=0x2000), packet4(17, 4000, 80)),
        (four(17, PORTS, place=185), packet4(17)),
        (four(6, PORTS[:3]), packet4(6)),
        (four(47, PORTS), packet4(47)),
        (four(1, b"\x08\0\0\0\x01\x02"), packet4(1, 0x102, 0x800)),
        (four(1, b"\x03\x01\0\0\x01\x02"), packet4(1, 0, 0x301)),
        (four(1, b"\x08\0"), packet4(1)),
    ],
)
def test_ipv4(payload: bytes, found: Packet) -> None:
    """Ports, or id and type, where they are there: not in a later fragment, and not where they are cut off."""
    assert packets(message(AF_INET, payload)) == ([found], 0)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (six(6, PORTS), packet6(6, 4000, 80)),
        (six(58, b"\x81\0\0\0\x01\x02"), packet6(58, 0x102, 0x8100)),
        (six(0, b"\x3c\x01" + bytes(14) + b"\x11\0" + bytes(6) + PORTS), packet6(17, 4000, 80)),
        (six(44, b"\x11\0\0\x01" + bytes(4) + PORTS), packet6(17, 4000, 80)),
        (six(44, b"\x11\0\x01\x01" + bytes(4) + PORTS), packet6(17)),
        (six(51, b"\x06\x01" + bytes(10) + PORTS), packet6(6, 4000, 80)),
        (six(43, b"\x06\x09" + bytes(14)), packet6(6)),
        (six(60, b"\x06\0\0"), packet6(60)),
        (six(59, PORTS), packet6(59)),
    ],
)
def test_ipv6(payload: bytes, found: Packet) -> None:
    """The same behind extension headers."""
    assert packets(message(AF_INET6, payload)) == ([found], 0)


def test_several_in_a_datagram() -> None:
    """Each is read; what cannot be is counted; other messages, as the one that ends a datagram, are none."""
    done = struct.pack("=IHHII", 20, 3, 0, 0, 0) + bytes(4)
    parts = [
        message(AF_INET, four(6, PORTS), mark=7),
        message(7, four(6, PORTS)),
        message(AF_INET, b"\x45"),
        message(AF_INET, six(6, PORTS)),
        message(AF_INET6, four(6, bytes(40))),
        message(AF_INET6, six(6, PORTS)),
        done,
    ]
    assert packets(b"".join(parts)) == ([packet4(6, 4000, 80, 7), packet6(6, 4000, 80)], 4)


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    """Whatever they are, they are packets or counted."""
    found, unread = packets(data)
    assert len(found) + unread <= len(data) // 20


@given(st.sampled_from((AF_INET, AF_INET6)), st.binary(max_size=160), st.booleans())
def test_any_packet(family: int, payload: bytes, whole: bool) -> None:
    """What somebody sent is one packet with numbers that a record can hold, or counted once."""
    made = {AF_INET: four, AF_INET6: six}[family](payload[0] if payload else 0, payload[1:]) if whole else payload
    found, unread = packets(message(family, made))
    assert len(found) + unread == 1
    for each in found:
        assert len(each.src_ip) == len(each.dst_ip) == 16
        assert 0 <= each.proto < 256
        assert 0 <= min(each.src_port, each.dst_port) <= max(each.src_port, each.dst_port) < 65536
        assert 0 <= each.size < 65576
    assert found or not whole


@given(st.integers(0, 200), st.sampled_from((AF_INET, AF_INET6)))
def test_what_is_cut_off(length: int, family: int) -> None:
    """A message that is shorter than it says ends the datagram."""
    data = message(family, {AF_INET: four, AF_INET6: six}[family](6, PORTS))
    assert packets(data[:length]) == (packets(data) if length >= len(data) else ([], 0))


def test_no_attribute() -> None:
    """A message without a payload is counted."""
    assert packets(struct.pack("=IHHII", 20, nflog.LOGGED, 0, 0, 0) + struct.pack(">BBH", AF_INET, 0, 7)) == ([], 1)
