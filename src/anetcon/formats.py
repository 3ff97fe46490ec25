"""What the formats of journal and store have in common and apart: the one place that knows of older ones.

- A field that a file does not have is null, but for `family`: until format 2 the bytes of an address alone told it.
- From format 3 on numbers in files are signed, and files of connections that ended have no `ct_id`.
- Rows that Python reads have the types of the journal (`as_now`); what SQL reads has those of the files (`selected`),
  and so has what is to be written or asked beside files (`as_files`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.errors import StoreError
from anetcon.record import FAMILIES, FORMAT, TABLES, Family, Field, arrow_schema, file_fields, file_schema, table_of

SIGNED = 3
"""The first format whose files have signed numbers, and `ct_id` only where it serves merging."""

_MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", np.uint32)
_ENDS = (bytes(4), b"\xff" * 4)
_SQL_TYPES = {"enum": "VARCHAR", "u8": "SMALLINT", "u16": "INTEGER", "u32": "BIGINT", "u64": "BIGINT"}
_MOST = (1 << 63) - 1

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
    now, there = arrow_schema(name), {*rows.schema.names}
    fields = [field for field in TABLES[name] if field.name in there or wanted is None or field.name in wanted]
    schema = pa.schema([now.field(field.name) for field in fields], now.metadata)
    if rows.schema.equals(schema):
        return rows
    if isinstance(rows, pa.Table):
        return pa.Table.from_batches([_batch(batch, fields, schema) for batch in rows.to_batches()], schema)
    return _batch(rows, fields, schema)


def as_files(rows: pa.Table, kind: str) -> pa.Table:
    """Rows as the journal has them, with the columns and types of files of this kind.

    A number that no signed one of 64 bits holds becomes the largest: no counter of a kernel comes near it.
    """
    schema = file_schema(kind)
    return pa.Table.from_arrays([_signed(rows[field.name], field.type) for field in schema], schema=schema)


def typed(rows: pa.Table, table: str) -> pa.Table:
    """Rows that SQL read, of whichever columns, with the types of the journal."""
    types = {field.name: field.type for field in arrow_schema(table)}
    columns = {name: rows[name].cast(types.get(name, rows[name].type)) for name in rows.column_names}
    return pa.table(columns)


def selected(kind: str, number: int) -> str:
    """The fields of a table, in SQL, from files of this kind and of a format."""
    there = {field.name for field in (file_fields(kind) if number >= SIGNED else TABLES[table_of(kind)])}
    return ", ".join(
        _as_now_in_sql(field, number) if field.name in there and field.since <= number else _missing_in_sql(kind, field)
        for field in TABLES[table_of(kind)]
    )


def _signed(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    if column.type == pa.uint64() and (pc.max(column).as_py() or 0) > _MOST:
        column = pc.min_element_wise(column, pa.scalar(_MOST, pa.uint64()), skip_nulls=False)
    return column.cast(wanted)


def _batch(rows: pa.RecordBatch, fields: list[Field], schema: pa.Schema) -> pa.RecordBatch:
    there = rows.schema.names
    columns = [
        rows[field.name].cast(field.arrow_type()) if field.name in there else _missing(rows, field) for field in fields
    ]
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


def _as_now_in_sql(field: Field, number: int) -> str:
    if number >= SIGNED or not field.kind.startswith("u"):
        return f'"{field.name}"'
    column = f'"{field.name}"'
    if field.kind == "u64":
        column = f"CASE WHEN {column} > {_MOST} THEN {_MOST} ELSE {column} END"
    return f'({column})::{_SQL_TYPES[field.kind]} AS "{field.name}"'


def _missing_in_sql(kind: str, field: Field) -> str:
    if field.name != "family":
        return f'NULL::{_SQL_TYPES[field.kind]} AS "{field.name}"'
    address = "src_ip" if table_of(kind) == "connections" else "address"
    first, last = ("'" + "".join(f"\\x{byte:02X}" for byte in _MAPPED.tobytes() + end) + "'::BLOB" for end in _ENDS)
    four, six = FAMILIES
    return f"CASE WHEN {address} BETWEEN {first} AND {last} THEN '{four}' ELSE '{six}' END AS family"
