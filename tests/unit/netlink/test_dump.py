"""Netlink's framing of dumps."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink import headers as k
from anetcon.netlink.dump import connections, heard, messages


def framed(kind: int, sequence: int, body: bytes = b"", flags: int = k.NLM_F_MULTI) -> bytes:
    """A message with a header."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


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


def test_an_answer_is_told_from_what_the_kernel_tells_unasked() -> None:
    """That may have our number by chance, but never says that it is one of many."""
    exchange = connections(lambda _: None)
    for flags, mine in ((k.NLM_F_MULTI, True), (k.NLM_F_MULTI | k.NLM_F_DUMP_INTR, True), (k.NLM_F_REPLACE, False)):
        assert exchange.answers(framed(24, exchange.sequence, flags=flags)) == mine
        assert not exchange.answers(framed(24, exchange.sequence + 1, flags=flags))
    assert exchange.answers(framed(k.NLMSG_ERROR, exchange.sequence, bytes(4), 0))


def test_an_answer_that_was_disturbed_says_so() -> None:
    """The kernel marks it where something changed while it was put together."""
    exchange = connections(lambda _: None)
    exchange.feed(framed(24, exchange.sequence))
    assert not exchange.interrupted
    exchange.feed(framed(k.NLMSG_DONE, exchange.sequence, bytes(4), k.NLM_F_MULTI | k.NLM_F_DUMP_INTR))
    assert exchange.interrupted


def test_an_answer_that_nobody_wants_is_passed_over_to_its_end() -> None:
    """Whether its end stands alone or behind other messages; nothing of it is handed out."""
    exchange = connections(lambda _: pytest.fail("nobody wants it"))
    some, last = framed(24, exchange.sequence, bytes(40)), framed(k.NLMSG_DONE, exchange.sequence, bytes(4))
    assert not exchange.skip(some + some)
    assert exchange.skip(last)
    assert exchange.skip(some + last)
    assert exchange.skip(framed(k.NLMSG_ERROR, exchange.sequence, bytes(20), 0))
    assert not exchange.skip(framed(k.NLMSG_DONE, exchange.sequence + 1, bytes(4)))


def test_what_another_program_sends_says_nothing() -> None:
    """The kernel's port is 0, which no program can have: such a datagram is taken from the socket and passed over."""
    pair = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_USERSOCK) for _ in range(2)]
    with pair[0] as ours, pair[1] as other:
        ours.bind((0, 0))
        exchange = connections(lambda _: pytest.fail("it is forged"))
        other.sendto(framed(0x100, exchange.sequence, b"forged"), ours.getsockname())
        assert not exchange.receive(ours)
        with pytest.raises(BlockingIOError):
            heard(ours)


@given(st.binary(max_size=200))
def test_any_bytes_end(noise: bytes) -> None:
    """Whatever comes, what is handed out lies within it and it ends."""
    exchange = connections(lambda _: None)
    exchange.feed(noise)
    assert not exchange.answers(noise)
    assert sum(len(message) for _, _, message in messages(noise)) <= len(noise)
