"""From capture columns to an Arrow record batch of the journal, without copying the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from anetcon.decode.columns import NONE, Array, Columns
from anetcon.record import CONNECTIONS, LINES, TABLES, Class, Field, arrow_schema

_SCHEMA = {table: arrow_schema(table) for table in TABLES}
_STORAGE = {"text": pa.int32(), "enum": pa.int8()}
_TYPES = {f.name: _STORAGE.get(f.kind) or f.arrow_type() for f in CONNECTIONS}
_VALUES = {f.name: pa.array(f.values) for f in CONNECTIONS if f.kind == "enum"}


def connections(columns: Columns, node: str, names: list[str]) -> pa.RecordBatch:
    """The filled rows as a batch; `names` are the namespaces by code. Valid until the columns are filled again."""
    rows = columns.rows
    # Where no type is given, pyarrow looks for pandas at each call: 100 us where there is none.
    dictionaries = {**_VALUES, "node": pa.array([node], pa.string()), "netns": pa.array(names, pa.string())}
    ended = _bitmap(columns.of["end"][:rows] != NONE)
    bitmaps = {"end": ended, "end_reason": ended}
    bitmaps |= {name: _bitmap(mask[:rows]) for name, mask in columns.given.items()}
    bitmaps["reply"] = _bitmap(columns.of["reply"][:rows] != NONE)
    line = columns.of["origin"][:rows] >= min(LINES)
    if line.any():
        bitmaps |= _unseen(line, columns.of["class"][:rows], columns.of["end"][:rows] != NONE)
    zeros = np.zeros(rows, np.int32)
    arrays = [
        _array(field, zeros if field.name == "node" else columns.of[field.name][:rows], bitmaps, dictionaries)
        for field in CONNECTIONS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA["connections"])


Bitmap = tuple[pa.Buffer | None, int]


def _unseen(line: Array, kind: Array, ended: Array) -> dict[str, Bitmap]:
    """The bitmaps of what a line of text does not tell, where some rows are such lines: the source after translation,
    and, of a connection whose destination was translated, what it was before."""
    source, destination = _bitmap(~line), _bitmap(~line | (kind == Class.NAT))
    sides = {"nat_src": source, "dst": destination}
    unseen = {f"{side}_{part}": bitmap for side, bitmap in sides.items() for part in ("ip", "port")}
    return unseen | {"end_reason": _bitmap(ended | line)}


def _bitmap(valid: Array) -> Bitmap:
    """Arrow's validity bitmap of a mask, and how many are null."""
    nulls = len(valid) - int(np.count_nonzero(valid))
    return (pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None), nulls


def _array(field: Field, values: Array, bitmaps: dict[str, Bitmap], dictionaries: dict[str, pa.Array]) -> pa.Array:
    bitmap, nulls = bitmaps.get(field.name, (None, 0))
    array = pa.Array.from_buffers(_TYPES[field.name], len(values), [bitmap, pa.py_buffer(values)], nulls)
    if field.kind in _STORAGE:
        return pa.DictionaryArray.from_arrays(array, dictionaries[field.name], safe=False)
    return array


def rows(table: str, values: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    """A few rows of one of the small tables, as dictionaries by field name; times in microseconds."""
    listed = list(values)
    arrays = [pa.array([row[f.name] for row in listed], f.arrow_type()) for f in TABLES[table]]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA[table])
