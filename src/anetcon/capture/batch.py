"""From capture columns to an Arrow record batch of the journal, without copying the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from anetcon.decode.columns import COUNTERS, NONE, Array, Columns
from anetcon.record import CONNECTIONS, TABLES, Field, arrow_schema


def connections(columns: Columns, node: str, names: list[str]) -> pa.RecordBatch:
    """The filled rows as a batch; `names` are the namespaces by code. Valid until the columns are filled again."""
    rows = columns.rows
    dictionaries = {"node": pa.array([node]), "netns": pa.array(names, pa.string())}
    zeros = np.zeros(rows, np.int32)
    valid = {
        "end": columns.of["end"][:rows] != NONE,
        "end_reason": columns.of["end_reason"][:rows] != NONE,
        **dict.fromkeys(COUNTERS, columns.counted[:rows]),
    }
    arrays = []
    for field in CONNECTIONS:
        values = zeros if field.name == "node" else columns.of[field.name][:rows]
        storage = _array(field, values, valid.get(field.name))
        if field.kind in ("text", "enum"):
            dictionary = dictionaries.get(field.name)
            storage = pa.DictionaryArray.from_arrays(
                storage, dictionary if dictionary is not None else pa.array(field.values), safe=False
            )
        arrays.append(storage)
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema("connections"))


_STORAGE = {"text": pa.int32(), "enum": pa.int8()}


def _array(field: Field, values: Array, valid: Array | None) -> pa.Array:
    bitmap, nulls = None, 0
    if valid is not None:
        nulls = len(valid) - int(np.count_nonzero(valid))
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None
    kind = _STORAGE.get(field.kind) or field.arrow_type()
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(values)], nulls)


def rows(table: str, values: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    """A few rows of one of the small tables, as dictionaries by field name; times in microseconds."""
    listed = list(values)
    arrays = [pa.array([row[f.name] for row in listed], f.arrow_type()) for f in TABLES[table]]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table))
