"""What older formats of journal and store lack: the one place that knows of them. Rows are as they are now once read.

A field that a format does not have is null, but for `family`: until format 2 the bytes of an address alone told it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import numpy as np
import pyarrow as pa

from anetcon.errors import StoreError
from anetcon.record import FAMILIES, FORMAT, TABLES, Family, Field, arrow_schema

_MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", np.uint32)
_SQL_TYPES = {"enum": "VARCHAR", "u8": "UTINYINT"}

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


def require(number: int, where: object) -> None:
    """Raise StoreError for what a newer program wrote."""
    if number > FORMAT:
        raise StoreError(f"{where} was written by a newer version of anetcon: use that one to read it")


def as_now(rows: Rows, where: object, wanted: Collection[str] | None = None) -> Rows:
    """Rows of a file or segment `where`, as the field table has them now: those `wanted` of its fields, or all.

    Raises StoreError when a newer program wrote them.
    """
    said = rows.schema.metadata or {}
    name, number = said.get(b"anetcon.table", b"").decode(), said.get(b"anetcon.format", b"1")
    require(int(number) if number.isdigit() else FORMAT + 1, where)
    if name not in TABLES:
        return rows
    now = arrow_schema(name)
    fields = [
        field for field in TABLES[name] if field.name in rows.schema.names or wanted is None or field.name in wanted
    ]
    schema = pa.schema([now.field(field.name) for field in fields], now.metadata)
    if rows.schema.equals(schema):
        return rows
    if isinstance(rows, pa.Table):
        return pa.Table.from_batches([_batch(batch, fields, schema) for batch in rows.to_batches()], schema)
    return _batch(rows, fields, schema)


def selected(table: str, number: int) -> str:
    """The fields of a table, in SQL, from files of a format."""
    return ", ".join(f'"{field.name}"' if field.since <= number else _in_sql(table, field) for field in TABLES[table])


def _batch(rows: pa.RecordBatch, fields: list[Field], schema: pa.Schema) -> pa.RecordBatch:
    there = rows.schema.names
    columns = [rows[field.name] if field.name in there else _missing(rows, field) for field in fields]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _missing(rows: pa.RecordBatch, field: Field) -> pa.Array:
    if field.name != "family":
        return pa.nulls(rows.num_rows, field.arrow_type())
    address = rows["src_ip" if "src_ip" in rows.schema.names else "address"]
    data = address.buffers()[1] if len(address) else b""
    words = np.frombuffer(data, np.uint32)[4 * address.offset :][: 4 * len(address)].reshape(-1, 4)
    four = (words[:, :3] == _MAPPED).all(axis=1)
    codes = np.where(four, np.int8(Family.IPV4), np.int8(Family.IPV6))
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(FAMILIES))


def _in_sql(table: str, field: Field) -> str:
    if field.name != "family":
        return f'NULL::{_SQL_TYPES[field.kind]} AS "{field.name}"'
    address = "src_ip" if table == "connections" else "address"
    first, last = ("'" + "".join(f"\\x{byte:02X}" for byte in _MAPPED.tobytes() + end) + "'::BLOB" for end in _ENDS)
    four, six = FAMILIES
    return f"CASE WHEN {address} BETWEEN {first} AND {last} THEN '{four}' ELSE '{six}' END AS family"


_ENDS = (bytes(4), b"\xff" * 4)
