"""nftables' netlink messages: what is asked, and what can be read from any answer."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink import generation as netlink


def message(kind: int, payload: bytes) -> bytes:
    """One netlink message, padded."""
    length = 16 + len(payload)
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + payload + bytes(-length % 4)


def newgen(generation: int) -> bytes:
    """A commit, as the kernel tells it: the generation, then who made it."""
    name = b"iptables\0"
    attributes = struct.pack("=HH", 8, 1) + generation.to_bytes(4, "big")
    attributes += struct.pack("=HH", 4 + len(name), 3) + name + bytes(-len(name) % 4)
    return message(10 << 8 | 15, b"\0\0\0\1" + attributes)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_last_generation_counts(first: int, last: int) -> None:
    """Of several commits in one datagram the last; other messages tell none."""
    rule = message(10 << 8 | 6, b"\1\0\0\0")
    assert netlink.generation_in(rule + newgen(first) + rule + newgen(last)) == last
    assert netlink.generation_in(rule) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    """No datagram makes the reader fail or hang, whole or after a good message."""
    for each in (data, newgen(7) + data, message(10 << 8 | 15, b"\0\0\0\1" + data)):
        found = netlink.generation_in(each)
        assert found is None or 0 <= found < 2**32


def test_a_request() -> None:
    """It says its own length."""
    asked = netlink.request(netlink.NFT_MSG_GETGEN)
    assert struct.unpack_from("=IHH", asked) == (len(asked), 10 << 8 | 16, 1)
