"""Columns of records as text: IPs, RFC 3339 times and protocol names; rows as JSON. Whole columns, no loop over rows.

What repeats (addresses, names) is converted once a distinct value.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from anetcon import protocols
from anetcon.record import Family, Field, label

_MAPPED = bytes(10) + b"\xff\xff"


def address(packed: bytes, family: Family) -> str:
    """An address of 16 bytes as text; one of IPv6 that holds an IPv4 one is `::ffff:10.1.0.12`."""
    if family is Family.IPV4 and packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def shown(rows: pa.Table, fields: Sequence[Field], safe: Callable[[str], str] | None = None) -> pa.Table:
    """The public columns as they are shown: numbers as numbers, everything else as text; null where unknown. `safe` is
    what becomes of texts that are not made here: names."""
    columns = {}
    for field in fields:
        if field.public:
            known = field.name in rows.column_names
            columns[field.name] = _column(field, rows, safe) if known else pa.nulls(len(rows), pa.string())
    return pa.table(columns)


def _column(field: Field, rows: pa.Table, safe: Callable[[str], str] | None) -> pa.ChunkedArray:
    column = rows[field.name]
    if field.kind == "time":
        return _times(column)
    if field.kind == "address":
        return _addresses(column, rows["family"])
    if field.kind == "mac":
        return _per_value(column, lambda mac: mac.hex(":"))
    if field.name == "proto":
        return _per_value(column, protocols.name)
    if pa.types.is_integer(column.type):
        return column
    return column.cast(pa.string()) if safe is None else _per_value(column.cast(pa.string()), safe)


def _addresses(column: pa.ChunkedArray, families: pa.ChunkedArray) -> pa.ChunkedArray:
    """The family matters to an address of IPv6 that holds one of IPv4, and to no other."""
    texts = _per_value(column, lambda packed: address(packed, Family.IPV4))
    six = pc.equal(families.cast(pa.string()), label(Family.IPV6))
    if not pc.any(six).as_py() or not pc.any(six := pc.and_(six, _hold_ipv4(column))).as_py():
        return texts
    return pc.if_else(six, _per_value(column, lambda packed: address(packed, Family.IPV6)), texts)


def _hold_ipv4(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.starts_with(column.cast(pa.binary()), _MAPPED)


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = column.cast(pa.timestamp("us")).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(text, 10, 11, "T"), "Z", "")


def _per_value(column: pa.ChunkedArray, convert: Callable[[Any], str]) -> pa.ChunkedArray:
    """Convert each distinct value once."""
    codes = column.combine_chunks().dictionary_encode()
    if isinstance(codes, pa.ChunkedArray):  # what combine_chunks gives for no chunk at all, in some versions
        codes = pa.concat_arrays(codes.chunks) if codes.num_chunks else pa.array([], column.type).dictionary_encode()
    texts = pa.array([convert(value) for value in codes.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(codes.indices)])


def json_lines(table: pa.Table, fields: Sequence[Field]) -> list[str]:
    """One JSON object a row, of a table that `shown` made."""
    lines: list[str] = json_texts(table, fields).to_pylist()
    return lines


def json_texts(table: pa.Table, fields: Sequence[Field], end: str = "}") -> pa.StringArray:
    """The same as a column; `end` is what the last value of each is followed by."""
    kinds = {field.name: field.kind for field in fields}
    parts: list[Any] = []
    for number, name in enumerate(table.column_names):
        parts += [f'{"{" if number == 0 else ", "}"{name}": ', _json_values(table[name], kinds[name])]
    texts = pc.binary_join_element_wise(*parts, end, "") if parts else pa.chunked_array([], pa.string())
    return pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.string())


def _json_values(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    if pa.types.is_integer(column.type):
        values = column.cast(pa.string())
    elif kind in ("text", "enum"):
        values = _per_value(column, json.dumps)
    else:
        values = pc.binary_join_element_wise('"', column, '"', "")
    return values.fill_null("null")
