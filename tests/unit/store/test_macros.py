"""Macros for DuckDB say of addresses and networks what Python says."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.query.as_text import address
from anetcon.record import Family, family_of
from anetcon.store import macros, sql

GROUPS = st.lists(st.sampled_from([b"\0\0", b"\0\0", b"\0\1", b"\xff\xff", b"\x0a\xbc"]), min_size=8, max_size=8)
SIX = st.binary(min_size=16, max_size=16) | GROUPS.map(b"".join)
FOUR = st.binary(min_size=4, max_size=4).map((bytes(10) + b"\xff\xff").__add__)
ADDRESSES = st.tuples(FOUR, st.just("ipv4")) | st.tuples(FOUR | SIX, st.just("ipv6"))


@pytest.fixture(scope="module", name="database")
def database_() -> Iterator[duckdb.DuckDBPyConnection]:
    """With the macro file."""
    with duckdb.connect() as database:
        database.execute(macros.text())
        yield database


def one(database: duckdb.DuckDBPyConnection, query: str) -> object:
    """The first value."""
    row = database.execute(query).fetchone()
    assert row is not None
    return row[0]


@given(ADDRESSES)
def test_addresses_as_text(database: duckdb.DuckDBPyConnection, given_: tuple[bytes, str]) -> None:
    """As the program prints them, of both families, also what IPv6 embeds of IPv4."""
    packed, family = given_
    assert one(database, f"SELECT ip_text({sql.blob(packed)}, '{family}')") == address(packed, family_of(family))


@given(FOUR.map(lambda packed: IPv4Address(packed[12:])) | SIX.map(IPv6Address))
def test_addresses_from_text(database: duckdb.DuckDBPyConnection, wanted: IPv4Address | IPv6Address) -> None:
    """Short and long texts are the same bytes; with an IPv4 tail they are refused."""
    for text in {str(wanted), wanted.exploded} - {str(wanted) if "." in str(wanted) and wanted.version == 6 else ""}:
        assert one(database, f"SELECT ip('{text}')") == sql.network(text).first


@given(st.data())
def test_networks(database: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    """What is in one is what the filters of `search` take for it."""
    packed, family = data.draw(ADDRESSES.filter(lambda each: each[1] == "ipv4" or each[0][:1] > b"\0"))
    length = data.draw(st.integers(0, 32 if family_of(family) is Family.IPV4 else 128))
    net = ipaddress.ip_network((packed[12:] if family == "ipv4" else packed, length), strict=False)
    first, last = sql.network(str(net))[:2]
    assert one(database, f"SELECT [net_first('{net}'), net_last('{net}')]") == [first, last]
    assert one(database, f"SELECT in_net({sql.blob(packed)}, '{net}')") is True
    assert one(database, f"SELECT in_net(NULL, '{net}')") is False


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.256", "1:2", "::1::2", "x", "", "1:2:3:4:5:6:7:8:9"])
def test_what_is_no_address_is_an_error(database: duckdb.DuckDBPyConnection, text: str) -> None:
    """It is not taken for another."""
    with pytest.raises(duckdb.Error):
        one(database, f"SELECT ip('{text}')")
