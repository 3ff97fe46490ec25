"""Classes and what the configuration wants, over columns."""

from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.addresses import mapped
from anetcon.capture.settings import network
from anetcon.classify import OwnAddresses, Wanted, classes
from anetcon.decode.columns import Columns
from anetcon.record import Class, Family


def packed(text: str) -> bytes:
    """An address as the record has it."""
    return mapped(ipaddress.ip_address(text).packed) or b""


def columns(*rows: tuple[int, int, str, str, int, str, int]) -> Columns:
    """Columns of (namespace code, proto, source, destination, port, translated destination, port)."""
    made = Columns(len(rows))
    for number, (code, proto, src, dst, port, nat_dst, nat_port) in enumerate(rows):
        made.of["netns"][number], made.of["proto"][number] = code, proto
        for name, text in (("src_ip", src), ("dst_ip", dst), ("nat_dst_ip", nat_dst)):
            made.of[name][number] = np.frombuffer(packed(text), np.uint8)
        made.of["family"][number] = Family.IPV6 if ":" in src else Family.IPV4
        made.of["dst_port"][number], made.of["nat_dst_port"][number] = port, nat_port
    made.rows = len(rows)
    return made


OUT = (0, 6, "10.0.0.5", "198.51.100.9", 443, "198.51.100.9", 443)
FLOATING = (0, 6, "198.51.100.9", "203.0.113.7", 22, "10.0.0.5", 22)
FORWARDED = (0, 6, "198.51.100.9", "203.0.113.7", 2222, "203.0.113.7", 22)
METADATA = (0, 6, "10.0.0.5", "169.254.169.254", 80, "10.0.0.1", 9697)
ELSEWHERE = (1, 6, "10.0.0.5", "10.0.0.1", 80, "10.0.0.1", 80)
OUT6 = (0, 6, "2001:db8::5", "2001:db8:9::9", 443, "2001:db8:9::9", 443)


def test_classes() -> None:
    """`local` before `float` before `nat`, and an address is local to its own namespace only."""
    own = OwnAddresses()
    own.set(0, {(Family.IPV4, packed("10.0.0.1")), (Family.IPV6, packed("2001:db8::1"))})
    of = columns(OUT, FLOATING, FORWARDED, METADATA, ELSEWHERE, OUT6)
    found = classes(of.of, of.words, slice(0, of.rows), own)
    expected = [Class.NAT, Class.FLOAT, Class.FLOAT, Class.LOCAL, Class.NAT, Class.NAT]
    assert found.tolist() == expected


GROUPS = ["224.0.0.0/24", "ff02::/16"]
AROUND = ["224.0.0.0", "224.0.0.18", "224.0.0.255", "224.0.1.0", "223.255.255.255", "::ffff:224.0.0.18", "255.2.0.1"]
AROUND += ["ff02::", "ff02::12", "ff02:ffff::1", "ff01::12", "ff03::", "ff12::1", "2001:db8::1", "10.0.0.1"]
SOURCES = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "::ffff:10.0.0.1"]


def family(text: str) -> Family:
    """By how it is written: `::ffff:10.0.0.1` is IPv6."""
    return Family.IPV6 if ":" in text else Family.IPV4


@given(
    st.sets(st.tuples(st.integers(0, 1), st.sampled_from(SOURCES)), max_size=4),
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(SOURCES), st.sampled_from(AROUND), st.sampled_from(AROUND)).filter(
            lambda one: len({family(text) for text in one[1:]}) == 1
        ),
        max_size=20,
    ),
)
def test_classes_are_those_of_a_plain_twin(owned: set[tuple[int, str]], asked: list[tuple[int, str, str, str]]) -> None:
    """What a namespace sends to link-local multicast is `local`, as what reaches it is; by family, and no wider."""

    def plain(code: int, src: str, dst: str, nat_dst: str) -> Class:
        group = any(ipaddress.ip_address(nat_dst) in ipaddress.ip_network(net) for net in GROUPS)
        if (code, nat_dst) in owned or (group and (code, src) in owned):
            return Class.LOCAL
        return Class.NAT if dst == nat_dst else Class.FLOAT

    own = OwnAddresses()
    for code in (0, 1):
        own.set(code, {(family(text), packed(text)) for its, text in owned if its == code})
    of = columns(*((code, 112, src, dst, 0, nat_dst, 0) for code, src, dst, nat_dst in asked))
    assert classes(of.of, of.words, slice(0, of.rows), own).tolist() == [plain(*one) for one in asked]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sets(st.tuples(st.sampled_from(Family), st.integers(0, 40)), max_size=9)),
        max_size=9,
    ),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Family), st.integers(0, 60)), max_size=40),
)
def test_own_addresses_are_exact(
    changes: list[tuple[int, set[tuple[Family, int]]]], asked: list[tuple[int, Family, int]]
) -> None:
    """Membership is that of a set, whatever the hashes do and whatever each namespace had before: an IPv6 address that
    holds an IPv4 one is another."""

    def address(number: int) -> bytes:
        return packed(f"10.0.0.{number}") if number % 2 else packed(f"2001:db8::{number:x}")

    own, of = OwnAddresses(), {}
    for code, numbers in changes:
        of[code] = numbers
        own.set(code, [(family, address(number)) for family, number in numbers])
    owned = {(code, family, number) for code, numbers in of.items() for family, number in numbers}
    codes, families = (np.array([one[at] for one in asked], np.int32) for at in (0, 1))
    words = np.frombuffer(b"".join(address(number) for *_, number in asked), np.uint64).reshape(-1, 2)
    assert own.reached(codes, families, words).tolist() == [one in owned for one in asked]


def chosen(wanted: Wanted, of: Columns) -> list[bool] | None:
    """The mask over all rows, the classes set as for a namespace without addresses."""
    here = slice(0, of.rows)
    of.of["class"][here] = classes(of.of, of.words, here, OwnAddresses())
    mask = wanted.choose(of.of, of.words["src_ip"][here], here)
    return None if mask is None else mask.tolist()


def test_everything_is_wanted_by_default() -> None:
    """Without protocols and networks there is nothing to choose."""
    assert chosen(Wanted(set(), {}), columns(OUT)) is None


def test_protocols() -> None:
    """Only the protocols asked for are kept."""
    ping = (0, 1, "10.0.0.5", "198.51.100.9", 2048, "198.51.100.9", 2048)
    assert chosen(Wanted({6}, {}), columns(OUT, ping)) == [True, False]


def test_networks_narrow_class_nat_by_source_alone() -> None:
    """Networks leave class float and other namespaces alone; host bits of a network are passed over."""
    wanted = Wanted(set(), {0: [network("10.1.2.3/16"), network("2001:db8::/64")]})
    inside = (0, 6, "10.1.200.5", "198.51.100.9", 443, "198.51.100.9", 443)
    assert chosen(wanted, columns(OUT, inside, FLOATING, ELSEWHERE, OUT6)) == [False, True, True, True, True]


def test_networks_are_of_one_family() -> None:
    """An IPv6 source that holds an IPv4 one is in no IPv4 network, and the other way round."""
    mapped_ = (0, 6, "::ffff:10.1.200.5", "2001:db8::9", 443, "2001:db8::9", 443)
    inside = (0, 6, "10.1.200.5", "198.51.100.9", 443, "198.51.100.9", 443)
    for text, expected in (
        ("10.1.0.0/16", [False, True]),
        ("::ffff:10.1.0.0/112", [True, False]),
        ("::/0", [True, False]),
    ):
        assert chosen(Wanted(set(), {0: [network(text)]}), columns(mapped_, inside)) == expected
