"""Addresses and neighbours as intervals, from route messages built as the kernel builds them."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture import context as c
from anetcon.capture.context import Context
from tests.unit.decode.messages import attribute

MAC, OTHER = b"\xfa\x16\x3e\0\0\1", b"\xfa\x16\x3e\0\0\2"
REACHABLE, STALE = 2, 4
INNER = b"\x0a\0\0\5"


def netlink(kind: int, body: bytes) -> bytes:
    """A route message."""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(index: int, name: bytes) -> bytes:
    """An interface and its name."""
    return netlink(c.RTM_NEWLINK, struct.pack("=BBHiII", 0, 0, 1, index, 0, 0) + attribute(c.IFLA_IFNAME, name + b"\0"))


def address(kind: int, packed: bytes, index: int = 2) -> bytes:
    """An address appears or vanishes."""
    family = 2 if len(packed) == 4 else 10
    return netlink(kind, struct.pack("=BBBBI", family, 24, 0, 0, index) + attribute(c.IFA_ADDRESS, packed))


def neighbour(kind: int, mac: bytes | None, state: int = REACHABLE, index: int = 2) -> bytes:
    """What is known of a neighbour."""
    body = struct.pack("=BBHiHBB", 2, 0, 0, index, state, 0, 1) + attribute(c.NDA_DST, INNER)
    return netlink(kind, body + (attribute(c.NDA_LLADDR, mac) if mac else b""))


def fed(*steps: tuple[int, bytes]) -> Context:
    """A context that knows interface 2 and was fed messages at times."""
    context = Context("n", "qrouter-1", 7)
    context.feed(link(2, b"qr-1"), 0)
    for now, message in steps:
        context.feed(message, now)
    return context


def intervals(context: Context, *columns: str) -> list[tuple[Any, ...]]:
    """The rows collected, the columns asked for."""
    return [tuple(row[name] for name in columns) for _, row in context.rows]


def test_an_address_is_an_interval() -> None:
    """It begins when it appears, once, and ends when it vanishes; IPv6 as well."""
    six = bytes(15) + b"\1"
    context = fed(
        (1, address(c.RTM_NEWADDR, INNER)),
        (2, address(c.RTM_NEWADDR, INNER)),
        (3, address(c.RTM_NEWADDR, six)),
        (4, address(c.RTM_DELADDR, INNER)),
    )
    four = c.mapped(INNER)
    assert intervals(context, "address", "from", "to") == [(four, 1, None), (six, 3, None), (four, 1, 4)]
    assert context.rows[0][1]["interface"] == "qr-1"
    assert context.addresses() == [six]
    assert context.changed


def test_a_neighbour_keeps_its_interval_while_it_is_stale() -> None:
    """Another MAC begins another interval, a failed or removed entry ends it; staleness does neither."""
    context = fed(
        (1, neighbour(c.RTM_NEWNEIGH, None, c.NUD_INCOMPLETE)),
        (2, neighbour(c.RTM_NEWNEIGH, MAC)),
        (3, neighbour(c.RTM_NEWNEIGH, MAC, STALE)),
        (4, neighbour(c.RTM_NEWNEIGH, OTHER)),
        (5, neighbour(c.RTM_NEWNEIGH, OTHER, c.NUD_FAILED)),
        (6, neighbour(c.RTM_DELNEIGH, OTHER)),
    )
    assert intervals(context, "mac", "from", "to") == [(MAC, 2, None), (MAC, 2, 4), (OTHER, 4, None), (OTHER, 4, 5)]
    assert not context.changed


def test_an_unknown_interface_is_asked_for() -> None:
    """What came before the interface's name waits for it."""
    context = fed((5, address(c.RTM_NEWADDR, INNER, index=9)))
    assert context.wants_links
    assert context.rows == []
    context.feed(link(9, b"qg-9"), 6)
    assert intervals(context, "interface", "to") == [("qg-9", None)]


def test_closing_ends_every_interval() -> None:
    """When the namespace goes, nothing stays open."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)), (2, neighbour(c.RTM_NEWNEIGH, MAC)))
    context.close(9)
    assert sorted(intervals(context, "to"), key=str) == [(9,), (9,), (None,), (None,)]
    assert context.addresses() == []


@given(st.binary(max_size=120), st.integers(0, 119), st.integers(0, 255))
def test_damaged_messages_are_passed_over(noise: bytes, at: int, value: int) -> None:
    """Neither noise nor a changed byte raises."""
    message = bytearray(neighbour(c.RTM_NEWNEIGH, MAC) + address(c.RTM_NEWADDR, INNER) + link(3, b"x"))
    message[at % len(message)] = value
    fed((1, noise), (2, bytes(message)))
