"""Addresses, neighbours and routes as intervals, from route messages built as the kernel builds them."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture import addresses as c
from anetcon.capture import flood
from anetcon.capture.addresses import Context
from anetcon.identity import merge_intervals
from anetcon.record import Family, arrow_schema
from tests.support.capture_parts import at
from tests.support.messages import attribute
from tests.support.route_messages import by, message

MAC, OTHER = b"\xfa\x16\x3e\0\0\1", b"\xfa\x16\x3e\0\0\2"
REACHABLE, STALE = 2, 4
INNER = b"\x0a\0\0\5"


def netlink(kind: int, body: bytes) -> bytes:
    """A route message."""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(index: int, name: bytes, kind: int = c.RTM_NEWLINK, family: int = 0) -> bytes:
    """An interface and its name."""
    header = struct.pack("=BBHiII", family, 0, 1, index, 0, 0)
    return netlink(kind, header + attribute(c.IFLA_IFNAME, name + b"\0"))


def address(kind: int, packed: bytes, index: int = 2) -> bytes:
    """An address appears or vanishes."""
    family = 2 if len(packed) == 4 else 10
    return netlink(kind, struct.pack("=BBBBI", family, 24, 0, 0, index) + attribute(c.IFA_ADDRESS, packed))


def neighbour(kind: int, mac: bytes | None, state: int = REACHABLE, index: int = 2, packed: bytes = INNER) -> bytes:
    """What is known of a neighbour."""
    family = 2 if len(packed) == 4 else 10
    body = struct.pack("=BBHiHBB", family, 0, 0, index, state, 0, 1) + attribute(c.NDA_DST, packed)
    return netlink(kind, body + (attribute(c.NDA_LLADDR, mac) if mac else b""))


def fed(*steps: tuple[int, bytes]) -> Context:
    """A context that knows interface 2 and was fed messages at times."""
    context = Context("n", "qrouter-1", 7)
    context.begin(c.LINKS, 0)
    context.listed([link(2, b"qr-1"), link(3, b"qr-3")])
    context.end(0, whole=True)
    for now, said in steps:
        context.feed(said, now)
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
    assert context.addresses() == [(Family.IPV6, six)]
    assert context.changed


def test_a_mac_that_comes_back_within_one_reading() -> None:
    """Each change is an interval of its own, and the last one lasts: equal beginnings would be one row, ended."""
    macs = (MAC, OTHER, MAC, None, MAC)
    kinds = [c.RTM_NEWNEIGH if mac else c.RTM_DELNEIGH for mac in macs]
    context = fed(*((7, neighbour(kind, mac)) for kind, mac in zip(kinds, macs, strict=True)))
    rows = [{**row, "interface": "x"} for table, row in context.rows if table == "neighbours"]
    merged = merge_intervals(pa.Table.from_pylist(rows, arrow_schema("neighbours")))
    times = [merged[name].cast(pa.int64()).to_pylist() for name in ("from", "to")]
    found = sorted(zip(*times, merged["mac"].to_pylist(), strict=True))
    assert found == [(7, 8, MAC), (8, 9, OTHER), (9, 9, MAC), (10, None, MAC)]


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
    assert list(context.wanted) == [c.LINKS]
    assert context.rows == []
    context.feed(link(9, b"qg-9"), 6)
    assert intervals(context, "interface", "to") == [("qg-9", None)]


def test_a_link_local_neighbour_is_none() -> None:
    """Nothing that is forwarded has its address; the network beside it is another one."""
    there = [bytes((0xFE, second)) + bytes(13) + b"\1" for second in (0x7F, 0x80, 0xBF, 0xC0)]
    context = fed(*((1, neighbour(c.RTM_NEWNEIGH, MAC, packed=packed)) for packed in there))
    assert [row["address"][1] for _, row in context.rows] == [0x7F, 0xC0]


def many(number: int) -> list[bytes]:
    """As many neighbours."""
    return [neighbour(c.RTM_NEWNEIGH, MAC, packed=struct.pack(">I", 0x0A010000 + n)) for n in range(number)]


def test_a_flood_of_neighbours() -> None:
    """As many begin as are allowed. Beyond that a change only ends what was known, so that no MAC address lasts on
    record that is not true; the rest is one gap, and when the minute is over all that is there is known again."""
    context = fed((1, neighbour(c.RTM_NEWNEIGH, MAC)), *((2, each) for each in many(flood.MOST - 1)))
    assert len(context.rows) == flood.MOST
    for each in (neighbour(c.RTM_NEWNEIGH, OTHER), *many(flood.MOST + 99)[flood.MOST - 1 :]):
        context.feed(each, 5)
    context.feed(neighbour(c.RTM_NEWNEIGH, MAC, index=3), 5)
    ended, other = [row for _, row in context.rows[flood.MOST :]]
    assert (ended["mac"], ended["to"], other["interface"]) == (MAC, 5, "qr-3")
    assert context.tick(at(6)) == []
    assert context.tick(at(6 + flood.MINUTE)) == ["qr-1"]
    table, gap = context.rows[-1]
    assert (table, gap["cause"], gap["lost"], gap["from"], gap["to"]) == ("gaps", "neighbours-flood", 101, 5, 5)
    assert list(context.wanted) == [c.NEIGHBOURS]
    relisted(context, c.NEIGHBOURS, 7 + flood.MINUTE, neighbour(c.RTM_NEWNEIGH, OTHER), *many(flood.MOST - 1))
    (row,) = [row for _, row in context.rows[flood.MOST + 3 :] if row["interface"] == "qr-1"]
    assert (row["mac"], row["from"], row["to"]) == (OTHER, 7 + flood.MINUTE, None)


def test_many_neighbours_at_the_start_are_no_flood() -> None:
    """They are there; what comes later is counted."""
    context = fed()
    relisted(context, c.NEIGHBOURS, 3, *many(3 * flood.MOST))
    assert len(context.rows) == 3 * flood.MOST
    assert context.tick(at(flood.MINUTE)) == []


def test_a_flood_is_told_at_the_end() -> None:
    """Also when the namespace goes before the minute is over."""
    context = fed(*((1, each) for each in many(flood.MOST + 1)))
    context.close(2)
    assert [row["lost"] for table, row in context.rows if table == "gaps"] == [1]


def test_another_family_of_tables_is_no_neighbour() -> None:
    """What a bridge or a tunnel knows of MAC addresses (AF_BRIDGE) says nothing about who has an address."""
    other = bytearray(neighbour(c.RTM_NEWNEIGH, MAC))
    other[16] = 7
    assert fed((1, bytes(other))).rows == []


def test_an_interface_that_is_renamed() -> None:
    """What is on it goes on under the new name."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)), (2, link(2, b"qr-9")))
    assert intervals(context, "interface", "from", "to") == [("qr-1", 1, None), ("qr-1", 1, 2), ("qr-9", 2, None)]


def test_an_interface_that_goes_away() -> None:
    """All that was on it ends then; a port that leaves a bridge is no interface that goes."""
    rows = (1, address(c.RTM_NEWADDR, INNER)), (1, neighbour(c.RTM_NEWNEIGH, MAC)), (1, ROUTE)
    context = fed(*rows, (2, link(2, b"qr-1", c.RTM_DELLINK, family=7)))
    assert intervals(context, "to") == [(None,)] * 3
    context.feed(link(2, b"qr-1", c.RTM_DELLINK), 3)
    assert intervals(context, "to")[3:] == [(3,)] * 3
    assert context.addresses() == []


ROUTE = message("10.5.0.0/16", by(2))
UNREADABLE = ROUTE[:17] + b"\xff" + ROUTE[18:]
"""Its network has more bits than its address."""


def relisted(context: Context, listing: c.KernelTable, now: int, *answers: bytes, whole: bool = True) -> None:
    """Something is listed that was wanted."""
    context.begin(listing, now)
    if answers:
        context.listed(list(answers))
    context.end(now + 1, whole=whole)


def test_a_route_is_an_interval() -> None:
    """It begins when it is told of, once for each interface. What went is not told for certain: the routes are listed
    again, and what is not there any more ended when the first was said to have gone."""
    context = fed((1, ROUTE), (2, ROUTE), (3, message("::/0", by(2))))
    assert [table for table, _ in context.rows] == ["routes", "routes"]
    assert context.wanted == {}
    said = "interface", "family", "network", "prefix_length", "from", "to"
    assert intervals(context, *said) == [
        ("qr-1", "ipv4", c.mapped(b"\x0a\5\0\0"), 16, 1, None),
        ("qr-1", "ipv6", bytes(16), 0, 3, None),
    ]
    context.feed(message("10.5.0.0/16", by(2), there=False), 5)
    context.feed(message("10.6.0.0/16", by(2), there=False), 7)
    four, six = c.ROUTES.values()
    assert context.wanted == {four: 5}
    relisted(context, four, 8, message("10.7.0.0/16", by(2)))
    assert intervals(context, "prefix_length", "from", "to")[2:] == [(16, 8, None), (16, 1, 5)]
    assert context.wanted == {}
    relisted(context, six, 9)
    assert intervals(context, "prefix_length", "from", "to")[4:] == [(0, 3, 9)]


@pytest.mark.parametrize(
    "hint",
    [
        message("10.5.0.0/16", by(2), there=False),
        message("10.5.0.0/16", by(3), replaces=True),
        link(2, b"qr-1"),
        link(3, b"qr-3", c.RTM_DELLINK),
        address(c.RTM_DELADDR, INNER),
        netlink(c.RTM_DELNEXTHOP, bytes(8)),
        netlink(c.RTM_NEWNEXTHOP, bytes(8)),
    ],
)
def test_when_routes_are_listed_again(hint: bytes) -> None:
    """Whenever one of a family may have gone: the kernel does not tell of each."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)), (2, ROUTE))
    assert context.wanted == {}
    context.feed(hint, 3)
    assert context.wanted[c.ROUTES[Family.IPV4]] == 3


def test_a_change_is_newer_than_the_listing_it_comes_in() -> None:
    """What is told between its answers counts, whichever way; what was told before the first does not."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)), (1, address(c.RTM_NEWADDR, b"\x0a\0\0\6")))
    context.want(2, c.ADDRESSES)
    context.begin(c.ADDRESSES, 3)
    context.feed(address(c.RTM_NEWADDR, b"\x0a\0\0\7"), 3)
    context.listed([address(c.RTM_NEWADDR, b"\x0a\0\0\6")])
    context.feed(address(c.RTM_DELADDR, b"\x0a\0\0\6"), 4)
    context.feed(address(c.RTM_DELADDR, b"\x0a\0\0\x08"), 4)
    context.feed(address(c.RTM_NEWADDR, b"\x0a\0\0\x09"), 5)
    context.listed([address(c.RTM_NEWADDR, b"\x0a\0\0\6"), address(c.RTM_NEWADDR, b"\x0a\0\0\x08")])
    context.end(6, whole=True)
    assert context.addresses() == [(Family.IPV4, c.mapped(b"\x0a\0\0\x09"))]
    ended = [(row["address"][-1], row["to"]) for _, row in context.rows if row["to"]]
    assert sorted(ended) == [(5, 2), (6, 4), (7, 3)]


def test_a_listing_with_holes_ends_nothing() -> None:
    """It is wanted once more, since the same time."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)))
    context.want(2, c.ADDRESSES)
    relisted(context, c.ADDRESSES, 3, whole=False)
    assert context.wanted == {c.ADDRESSES: 2}
    assert len(context.addresses()) == 1
    relisted(context, c.ADDRESSES, 4)
    assert intervals(context, "to") == [(None,), (2,)]


def test_an_interface_that_no_listing_has() -> None:
    """It is gone, with what was on it; what waited for its name waits no longer."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)), (1, address(c.RTM_NEWADDR, INNER, index=9)))
    relisted(context, c.LINKS, 3, link(3, b"qr-3"))
    assert intervals(context, "to") == [(None,), (4,)]
    assert not context._unnamed


@pytest.mark.parametrize("last", [message("10.200.0.0/16", by(2)), message("10.6.0.0/16"), UNREADABLE])
def test_too_many_routes_are_none(last: bytes) -> None:
    """One more than is followed, or one whose interface is not told or that cannot be read: all end, no other begins,
    and none is asked for."""
    networks = [f"10.{n // 256}.{n % 256}.0/24" for n in range(c.MOST_ROUTES)]
    context = fed(*((1, message(network, by(2))) for network in networks))
    assert intervals(context, "to") == [(None,)] * c.MOST_ROUTES
    context.feed(last, 5)
    assert context.routes_unknown
    ended = [row["to"] for _, row in context.rows if row["to"] is not None]
    assert ended in ([5] * c.MOST_ROUTES, [5] * (c.MOST_ROUTES + 1))
    before = len(context.rows)
    context.feed(message("10.201.0.0/16", by(2)), 6)
    context.feed(link(2, b"qr-1"), 6)
    assert (len(context.rows), context.wanted) == (before, {})


def test_a_link_to_one_peer_has_no_network() -> None:
    """The prefix length of its address is that of the peer's network."""
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 2) + attribute(c.IFA_LOCAL, INNER)
    context = fed((1, netlink(c.RTM_NEWADDR, body + attribute(c.IFA_ADDRESS, b"\x0a\1\0\1"))))
    assert intervals(context, "address", "prefix_length") == [(c.mapped(INNER), 32)]
    context = fed((1, netlink(c.RTM_NEWADDR, body + attribute(c.IFA_ADDRESS, INNER))))
    assert intervals(context, "prefix_length") == [(24,)]


def test_closing_ends_every_interval() -> None:
    """When the namespace goes, nothing stays open."""
    context = fed((1, address(c.RTM_NEWADDR, INNER)), (2, neighbour(c.RTM_NEWNEIGH, MAC)))
    context.close(9)
    assert sorted(intervals(context, "to"), key=str) == [(9,), (9,), (None,), (None,)]
    assert context.addresses() == []


@given(st.binary(max_size=120), st.integers(0, 200), st.integers(0, 255))
def test_damaged_messages_are_passed_over(noise: bytes, at: int, value: int) -> None:
    """Neither noise nor a changed byte raises."""
    changed = bytearray(neighbour(c.RTM_NEWNEIGH, MAC) + address(c.RTM_NEWADDR, INNER) + link(3, b"x") + ROUTE)
    changed[at % len(changed)] = value
    fed((1, noise), (2, bytes(changed)))
