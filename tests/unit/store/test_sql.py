"""Conditions hold for exactly what they say, judged by DuckDB itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.store import sql
from tests.support.records import packed

ADDRESSES = st.ip_addresses()
HOLDS = duckdb.connect()


def holds(condition: str, column: str, value: object, family: str = "") -> bool:
    """Whether a condition is true of one value of a column, in a row of that family."""
    rows = f"(SELECT $1 AS {column}, $2 AS family)"
    (row,) = HOLDS.execute(f"SELECT {condition} FROM {rows}", [value, family]).fetchall()  # noqa: S608 - of this file alone
    return bool(row[0])


@given(st.binary(max_size=20))
def test_blobs(value: bytes) -> None:
    """A literal of bytes is these bytes."""
    assert holds(f"x = {sql.blob(value)}", "x", value)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_texts(value: str) -> None:
    """A literal of text is this text, quotes and all."""
    assert holds(sql.text_in("x", [value]), "x", value)
    assert not holds(sql.text_in("x", [value + "'"]), "x", value)


@given(ADDRESSES, ADDRESSES, st.data())
def test_networks(
    inside: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    data: st.DataObject,
) -> None:
    """An address is in a network if and only if it is, whatever its bytes: IPv4 is never in a network of IPv6."""
    length = data.draw(st.integers(0, inside.max_prefixlen))
    network = ipaddress.ip_network(f"{inside}/{length}", strict=False)
    condition = sql.address_in("x", sql.network(f"{inside}/{length}"))
    for address in (inside, other, network[0], network[-1]):
        assert holds(condition, "x", packed(str(address)), f"ipv{address.version}") == (address in network)


def test_all_of_ipv6_is_not_ipv4() -> None:
    """`::/0` and `::ffff:10.0.0.1` mean IPv6 alone, though IPv4 addresses are kept as bytes inside of it."""
    for text, address, family, inside in (
        ("::/0", "10.0.0.1", "ipv4", False),
        ("::/0", "::ffff:10.0.0.1", "ipv6", True),
        ("::/0", "2001:db8::1", "ipv6", True),
        ("::ffff:10.0.0.1", "10.0.0.1", "ipv4", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "ipv6", True),
        ("10.0.0.1", "::ffff:10.0.0.1", "ipv6", False),
        ("0.0.0.0/0", "::ffff:10.0.0.1", "ipv6", False),
    ):
        assert holds(sql.address_in("x", sql.network(text)), "x", packed(address), family) is inside, text


@given(st.text())
def test_any_text_is_a_network_or_refused(text: str) -> None:
    """Whatever is not an address or a network is a ValueError."""
    try:
        found = sql.network(text)
        assert found.first <= found.last
    except ValueError as error:
        assert str(error)  # noqa: PT017 - nearly every text is refused


@pytest.mark.parametrize("text", ["fe80::1%eth0", "10.0.0.0/33", "10.0.0", "host.example", ""])
def test_what_is_no_network(text: str) -> None:
    """Names, zones and impossible prefixes are refused."""
    with pytest.raises(ValueError, match="'"):
        sql.network(text)


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535))
def test_ranges(first: int, last: int, value: int) -> None:
    """A number is in a range with its ends."""
    assert holds(sql.number_in("x", first, last), "x", value) == (first <= value <= last)


@pytest.mark.parametrize(("combine", "empty"), [(sql.every, True), (sql.either, False)])
def test_nothing_combined(combine: Callable[[list[str]], str], empty: bool) -> None:
    """Of no conditions every one holds, and not one."""
    assert holds(combine([]), "x", 1) is empty


@given(st.integers(0, 7_258_118_400_000_000))
def test_times(us: int) -> None:
    """A literal of a time is this microsecond."""
    assert holds(f"epoch_us({sql.timestamp(us)}) = x", "x", us)
