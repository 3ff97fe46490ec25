"""Netlink's framing of dumps."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.dump import connections, messages
from anetcon.decode import layout as k


def framed(kind: int, sequence: int, body: bytes = b"") -> bytes:
    """A message with a header."""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body


def test_answers_are_taken_until_the_end() -> None:
    """Only messages of this exchange count, and the end marker ends it."""
    taken: list[bytes] = []
    exchange = connections(taken.extend)
    mine, other = framed(0x100, exchange.sequence, b"mine"), framed(0x100, exchange.sequence + 1, b"else")
    assert not exchange.feed(mine + other)
    assert exchange.feed(mine + framed(k.NLMSG_DONE, exchange.sequence, bytes(4)))
    assert taken == [mine, mine]
    assert exchange.failed == 0


def test_a_refusal_says_why() -> None:
    """The kernel's error number is kept."""
    exchange = connections(lambda _: None)
    assert exchange.feed(framed(k.NLMSG_ERROR, exchange.sequence, struct.pack("=i", -1)))
    assert exchange.failed == 1


@given(st.binary(max_size=200))
def test_any_bytes_end(noise: bytes) -> None:
    """Whatever comes, what is handed out lies within it and it ends."""
    assert sum(len(message) for _, _, message in messages(noise)) <= len(noise)
