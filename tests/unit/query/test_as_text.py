"""Columns as text say what the values are."""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from anetcon.query import as_text
from anetcon.record import TABLES, Field
from tests.support.records import batch, packed, start


def column(kind: str, name: str = "x") -> list[Field]:
    """A table of one column."""
    return [Field(name, kind, "a test", nullable=True)]


def shown(field: list[Field], values: list[object], families: list[str] | None = None) -> list[object]:
    """The values as they are shown."""
    table = pa.table({field[0].name: pa.array(values, field[0].arrow_type())})
    if families is not None:
        table = table.append_column("family", pa.array(families, pa.string()))
    return list(as_text.shown(table, field)[field[0].name].to_pylist())


@given(st.lists(st.ip_addresses() | st.none()))
def test_addresses(addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address | None]) -> None:
    """An address reads back as itself, whatever its bytes: IPv4 as IPv4, IPv6 as IPv6."""
    values: list[object] = [address and packed(str(address)) for address in addresses]
    families = [f"ipv{address.version}" if address else "ipv4" for address in addresses]
    for address, said in zip(addresses, shown(column("address"), values, families), strict=True):
        assert (None if said is None else ipaddress.ip_address(str(said))) == address


def test_an_ipv6_address_that_holds_an_ipv4_one() -> None:
    """It is written with the dots of that, and never without its prefix."""
    same = packed("10.1.0.12")
    assert shown(column("address"), [same, same], ["ipv4", "ipv6"]) == ["10.1.0.12", "::ffff:10.1.0.12"]


@given(st.lists(st.integers(0, 7_258_118_400_000_000) | st.none()))
def test_times(times: list[int | None]) -> None:
    """A time is RFC 3339 in UTC, to the microsecond, ending in Z."""
    for time, said in zip(times, shown(column("time"), list(times)), strict=True):
        if time is not None:
            assert str(said)[-8] == "."
            assert str(said).endswith("Z")
            assert datetime.fromisoformat(str(said)) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
        else:
            assert said is None


def test_small_ones() -> None:
    """Protocols go by name where they have one, MAC addresses with colons, numbers as numbers."""
    assert shown(column("u8", "proto"), [6, 17, 253]) == ["tcp", "udp", "253"]
    assert shown(column("mac"), [b"\xfa\x16\x3e\0\0\1"]) == ["fa:16:3e:00:00:01"]
    assert shown(column("u64"), [2**64 - 1, None]) == [2**64 - 1, None]
    assert shown(column("u8", "prefix_length"), [24, None]) == [24, None]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_json_lines(names: list[str]) -> None:
    """Whatever is in a name, each row is one line of JSON that reads back."""
    fields = TABLES["connections"]
    rows = pa.Table.from_batches([batch("connections", [start(netns=name, end=None) for name in names])])
    lines = as_text.json_lines(as_text.shown(rows, fields), fields)
    said = [json.loads(line) for line in lines]
    assert not any("\n" in line for line in lines)
    assert [row["netns"] for row in said] == names
    assert list(said[0]) == [field.name for field in fields if field.public]
    assert (said[0]["end"], said[0]["proto"], said[0]["src_ip"]) == (None, "tcp", "10.0.0.5")


def test_no_rows_and_missing_columns() -> None:
    """No rows are no lines, and a column the rows do not have is null."""
    fields = TABLES["connections"]
    empty = pa.Table.from_batches([batch("connections", [])])
    assert as_text.json_lines(as_text.shown(empty, fields), fields) == []
    without = pa.Table.from_batches([batch("connections", [start()])]).drop_columns("ct_id")
    assert as_text.shown(without, fields)["ct_id"].to_pylist() == [None]
