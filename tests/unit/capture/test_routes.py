"""What route messages say, from messages built as the kernel builds them."""

from __future__ import annotations

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture import routes as r
from anetcon.netlink.framing import Malformed
from anetcon.record import Family
from tests.support.messages import attribute
from tests.support.route_messages import by, message

IPV4, IPV6 = Family.IPV4, Family.IPV6


def hops(*of: tuple[int, int]) -> bytes:
    """Several next hops: interface and flags of each, with a gateway behind it."""
    gateway = attribute(5, bytes(4))
    return attribute(
        r.RTA_MULTIPATH,
        b"".join(struct.pack("=HBBi", 8 + len(gateway), flags, 0, index) + gateway for index, flags in of),
    )


@pytest.mark.parametrize(
    ("network", "family"),
    [("10.5.0.0/16", IPV4), ("0.0.0.0/0", IPV4), ("2001:db8:6::/48", IPV6), ("::/0", IPV6), ("10.0.0.7/32", IPV4)],
)
def test_a_network_and_its_interface(network: str, family: Family) -> None:
    """A default route has no address: the network is everything."""
    parsed = ipaddress.ip_network(network)
    expected = r.RoutePrefix(family, parsed.network_address.packed, parsed.prefixlen)
    assert r.route(message(network, by(3))) == (expected, [3])


def test_several_next_hops() -> None:
    """Each interface counts, but for one that is down; one that the kernel does not name is not known."""
    found = r.route(message("10.6.0.0/16", hops((3, 0), (4, r.RTNH_F_DEAD), (5, 16))))
    assert found is not None
    assert found.interfaces == [3, 5]
    unnamed = r.route(message("10.6.0.0/16", attribute(30, struct.pack("=I", 7))))
    assert unnamed is not None
    assert unnamed.interfaces is None


@pytest.mark.parametrize(
    "said",
    [
        message("10.0.0.1/32", by(3), kind=2, table=r.RT_TABLE_LOCAL),
        message("10.0.0.1/32", by(3), table=r.RT_TABLE_LOCAL),
        message("10.0.0.0/8", kind=6),
        message("10.0.0.1/32", by(3), flags=r.RTM_F_CLONED),
        message("fe80::/64", by(3)),
    ],
)
def test_what_counts_for_nothing(said: bytes) -> None:
    """Our own addresses, what is thrown away, what is remembered of one far end, link-local addresses."""
    assert r.route(said) is None


def test_every_table_counts() -> None:
    """Also one with a number that the header has no room for."""
    assert r.route(message("10.0.0.0/8", by(3), table=100_255)) is not None


@given(st.binary(max_size=120), st.integers(0, 150), st.integers(0, 255))
def test_damaged_messages(noise: bytes, at: int, value: int) -> None:
    """Noise and a changed byte are Malformed, struct.error, or a route; never anything else."""
    changed = bytearray(message("10.6.0.0/16", hops((3, 0), (4, 0))))
    changed[at % len(changed)] = value
    for data in (noise, bytes(changed)):
        with contextlib.suppress(Malformed, struct.error):
            found = r.route(data)
            assert found is None or len(found.network.address) in (4, 16)
