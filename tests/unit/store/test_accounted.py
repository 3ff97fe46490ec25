"""What accounts for an address, in which part of a window: one test a way, and what only looks like one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.record import PUBLIC
from anetcon.store import sql
from anetcon.store.accounted import NEAR, Account, account, left
from anetcon.store.reader import Store
from tests.support.records import DAY, INODE, ROUTER, SECOND, T0, Making, ends, standing, start, whole

WINDOW = (T0 - 60 * SECOND, T0 + 60 * SECOND)
HERE = ("gw1", ROUTER)
POOL = "203.0.113.77"


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A namespace without any public address, attached for days."""
    return Making(tmp_path / "store").add(*whole()).audited()


def asked(making: Making, address: str, window: tuple[int, int] = WINDOW) -> Account:
    """What accounts for an address, where there are no gaps."""
    store = Store(making.path)
    attached = store.intervals("addresses", sql.EVERYTHING, *window)
    return account(store, sql.network(address), window, attached, sql.EVERYTHING, lambda _: [])


def missing(making: Making, address: str) -> list[tuple[int, int]]:
    """In which seconds from T0 nothing accounts for an address."""
    return [((first - T0) // SECOND, (last - T0) // SECOND) for first, last in asked(making, address).missing]


def route(network: str, interface: str, **values: Any) -> dict[str, Any]:
    """A row of the table routes."""
    first, _, length = network.partition("/")
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": interface, "network": first}
    row |= {"family": "ipv6" if ":" in network else "ipv4", "prefix_length": int(length), "from": T0 - DAY, "to": None}
    return row | {name.rstrip("_"): value for name, value in values.items()}


def test_on_an_interface(making: Making) -> None:
    """While an address stands on one of a namespace that is audited, that one accounts for it; not before or after."""
    making.add(standing("203.0.113.7", from_=T0 - 70 * SECOND, to=T0 + 70 * SECOND), table="addresses")
    assert asked(making, "203.0.113.7") == Account([], frozenset({HERE}), translated=True)
    making.add(standing("203.0.113.8", from_=T0 - 30 * SECOND, to=T0 + 30 * SECOND), table="addresses")
    assert missing(making, "203.0.113.8") == [(-60, -30), (30, 60)]
    making.add(standing("203.0.113.8", netns="other", from_=T0 - 90 * SECOND, to=T0), table="addresses")
    assert missing(making, "203.0.113.8") == [(30, 60)]


def test_nothing_knows_it(making: Making) -> None:
    """An address that nothing audited has is missing all the time, and may have been anybody's."""
    assert asked(making, "203.0.113.9") == Account([WINDOW], None, translated=False)
    assert asked(making, "2001:db8::1") == Account([WINDOW], None, translated=False)


def test_nothing_was_recorded(making: Making) -> None:
    """What is said to be unknown of all namespaces is not missing once more, and may have been anybody's."""
    store, everywhere = Store(making.path), [(("gw1", None), WINDOW)]
    attached = store.intervals("addresses", sql.EVERYTHING, *WINDOW)
    found = account(store, sql.network(POOL), WINDOW, attached, sql.EVERYTHING, lambda _: everywhere)  # type: ignore[arg-type,return-value]
    assert found == Account([], None, translated=False)


def test_translated_before_and_after(making: Making) -> None:
    """A pool accounts for its addresses between two connections of one namespace that used it, without a match."""
    before, after = WINDOW[0] - 3600 * SECOND, WINDOW[1] + 3600 * SECOND
    making.add(*whole(start=before, nat_src_ip=POOL))
    assert asked(making, POOL).missing == [WINDOW]
    making.add(*whole(start=after, nat_src_ip=POOL))
    assert asked(making, POOL) == Account([], frozenset({HERE}), translated=True)


def test_a_destination_that_is_translated(making: Making) -> None:
    """So does a namespace that translates the address as a destination; one connection that lasts is enough."""
    called = ends(src="192.0.2.1:5000", dst=f"{POOL}:22", nat_src="192.0.2.1:5000", nat_dst="10.0.0.9:22")
    making.add(start(start=WINDOW[0] - SECOND, class_="float", **called))
    assert asked(making, POOL) == Account([], frozenset({HERE}), translated=True)


@pytest.mark.parametrize("far", ["before", "behind"])
def test_translated_long_ago(making: Making, far: str) -> None:
    """What was translated over a day before, or will be, tells nothing of the time in between."""
    times = {"before": (WINDOW[0] - NEAR - 60 * SECOND, T0 + 300 * SECOND), "behind": (T0 - DAY // 2, T0 + 2 * NEAR)}
    for at in times[far]:
        making.add(*whole(start=at, nat_src_ip=POOL))
    assert asked(making, POOL).missing == [WINDOW]


def test_translated_by_two(making: Making) -> None:
    """One namespace that used the address before and another afterwards do not account for the time in between."""
    making.audited(netns="other").add(*whole(start=T0 - 600 * SECOND, nat_src_ip=POOL))
    making.add(*whole(start=T0 + 600 * SECOND, nat_src_ip=POOL, netns="other"))
    assert asked(making, POOL).missing == [WINDOW]


def test_translated_by_one_that_was_not_attached_in_between(making: Making) -> None:
    """While a namespace was not audited its connections before and afterwards tell nothing."""
    for at in (T0 - 600 * SECOND, T0 + 600 * SECOND):
        making.add(*whole(start=at, nat_src_ip=POOL, netns="other"))
    for row in (standing(netns="other", to=T0 - 300 * SECOND), standing(netns="other", from_=T0 + 30 * SECOND)):
        making.add(row, table="addresses")
    assert missing(making, POOL) == [(-60, 30)]


def test_merely_passed_on(making: Making) -> None:
    """An address that connections came from or went to untranslated is no address of a pool."""
    for at in (T0 - 600 * SECOND, T0 + 600 * SECOND):
        making.add(*whole(start=at, **ends(src=f"{POOL}:1", dst="198.51.100.9:443", nat_src=f"{POOL}:1")))
        making.add(*whole(start=at, **ends(src="198.51.100.9:2", dst=f"{POOL}:443", nat_src="198.51.100.9:2")))
    assert asked(making, POOL).missing == [WINDOW]


def test_in_a_network_behind(making: Making) -> None:
    """A network whose route goes inside accounts for its addresses, translated or not; routed IPv6 as well."""
    for default, inside in (("0.0.0.0/0", "10.1.0.0/16"), ("::/0", "2001:db8:1::/64")):
        making.add(route(default, "qg-1"), route(inside, "qr-1"), table="routes")
    for address in ("10.1.2.3", "2001:db8:1::7"):
        assert asked(making, address) == Account([], frozenset({HERE}), translated=False)
    for address in ("10.2.0.1", "2001:db8:2::7"):
        assert asked(making, address).missing == [WINDOW]


def test_the_network_outside(making: Making) -> None:
    """On the side of the default route others have addresses of the same network: it accounts for none of them."""
    making.add(route("0.0.0.0/0", "qg-1"), route("203.0.113.0/24", "qg-1"), table="routes")
    making.add(route("::/0", "qg-1"), route("2001:db8:ffff::/64", "qg-1"), table="routes")
    for address in (POOL, "2001:db8:ffff::9"):
        assert asked(making, address).missing == [WINDOW]


def test_no_default_route(making: Making) -> None:
    """Without a default route of that family nothing tells which side is outside."""
    making.add(route("10.1.0.0/16", "qr-1"), route("::/0", "qg-1"), table="routes")
    assert asked(making, "10.1.2.3").missing == [WINDOW]
    making.add(route("0.0.0.0/0", "qg-1", from_=T0 - 30 * SECOND, to=T0 + 20 * SECOND), table="routes")
    assert missing(making, "10.1.2.3") == [(-60, -30), (20, 60)]


def test_the_longest_route_counts(making: Making) -> None:
    """Of a network inside a part may be outside."""
    making.add(route("0.0.0.0/0", "qg-1"), route("10.0.0.0/8", "qr-1"), route("10.9.0.0/16", "qg-1"), table="routes")
    assert asked(making, "10.1.2.3").missing == []
    assert asked(making, "10.9.2.3").missing == [WINDOW]
    making.add(route("10.7.0.0/16", "qr-1"), route("10.7.0.0/16", "qg-1"), table="routes")
    assert asked(making, "10.7.0.1").missing == [WINDOW]


@pytest.mark.parametrize(
    ("wide", "address"),
    [(("0.0.0.0/1", "128.0.0.0/1"), POOL), (("2000::/3",), "2001:db8::7"), (("::/1",), "2001:db8::7")],
)
def test_a_route_to_everything_else(making: Making, wide: tuple[str, ...], address: str) -> None:
    """Whatever its length, a route to half of the world leads outside."""
    making.add(
        route("0.0.0.0/0", "qg-1"), route("::/0", "qg-1"), *(route(each, "tun0") for each in wide), table="routes"
    )
    assert asked(making, address).missing == [WINDOW]


def test_what_is_configured(making: Making) -> None:
    """A network that the configuration names as public accounts for its addresses, as long as it did."""
    configured = {"netns": "", "netns_inode": 0, "from_": T0 - 10 * SECOND}
    making.add(
        route("203.0.113.64/27", PUBLIC, **configured), route("2001:db8:5::/48", PUBLIC, **configured), table="routes"
    )
    for address in (POOL, "2001:db8:5::1"):
        assert missing(making, address) == [(-60, -10)]
    assert asked(making, POOL, (T0, T0 + SECOND)) == Account([], None, translated=False)
    assert asked(making, "203.0.113.96").missing == [WINDOW]


SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda each: (each[0], sum(each))), max_size=6)


@given(SPANS, st.integers(0, 20), st.integers(0, 8))
def test_what_is_left_of_a_window(found: list[tuple[int, int]], begin: int, length: int) -> None:
    """Every moment of a window is in a span or in a part that is left, which share their ends; parts are in order."""
    window = (begin, begin + length)
    parts = left(window, [(HERE, span) for span in found])
    for half in range(2 * begin, 2 * (begin + length) + 1):
        moment = half / 2
        inside = any(first <= moment <= last for first, last in found)
        open_part = any(first < moment < last or (length == 0 and first == moment) for first, last in parts)
        assert not (inside and open_part)
        assert inside or any(first <= moment <= last for first, last in parts)
    assert parts == sorted(parts)
