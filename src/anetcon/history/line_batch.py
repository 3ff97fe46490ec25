"""Rows of imported text: capture's columns with a node, and whether both sides of the translation are known; and the
table that the store takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from anetcon.decode.columns import ADDRESSES, NONE, Array, Columns
from anetcon.record import CONNECTIONS, Class, EndReason, Origin, StartIs, arrow_schema

TOLD, UNTOLD = -2, -1

_ENUMS = {field.name: pa.array(field.values) for field in CONNECTIONS if field.kind == "enum"}


class LineBatch(Columns):
    """Rows in the making. `both` tells which know both sides; `node` and `netns` are codes. `lasted` is TOLD where text
    tells the start; of what only an end was found of, how long that says it lasted, or UNTOLD."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.of["node"] = np.zeros(capacity, np.int32)
        self.of["both"] = np.zeros(capacity, np.bool_)
        self.of["lasted"] = np.zeros(capacity, np.int64)

    def plain(self, here: slice) -> None:
        """Rows that know what every text tells, and nothing else."""
        for name in ("zone", "mark", "ct_id", "netns_inode"):
            self.of[name][here] = 0
        self.of["reply"][here], self.of["start_is"][here] = NONE, StartIs.BEGIN
        self.of["end"][here], self.of["end_reason"][here], self.of["origin"][here] = (
            NONE,
            EndReason.UNKNOWN,
            Origin.IMPORT,
        )
        self.of["lasted"][here] = TOLD
        self.give_nothing(here)


def ended(start: int, printed: int, lasted: int) -> int:
    """When a connection ended whose DESTROY was printed at a time, which may be a minute later."""
    return printed if lasted == UNTOLD else max(min(start + lasted, printed), start)


def table(batch: LineBatch, rows: Array, nodes: list[str], namespaces: list[str]) -> pa.Table:
    """These rows as the store has them, by their start."""
    start = batch.of["start"]
    rows = rows[np.argsort(start[rows], kind="stable")]
    both = batch.of["both"][rows]
    seen = {
        **dict.fromkeys(("nat_src_ip", "nat_src_port"), both),
        **dict.fromkeys(("dst_ip", "dst_port"), both | (batch.of["class"][rows] == Class.NAT)),
        **{name: mask[rows] for name, mask in batch.given.items()},
        "end": batch.of["end"][rows] != NONE,
        "reply": batch.of["reply"][rows] != NONE,
    }
    names = {"node": nodes, "netns": namespaces}
    arrays = []
    for field in CONNECTIONS:
        values = batch.of[field.name][rows]
        mask = ~seen[field.name] if field.name in seen else None
        if field.kind == "text":
            arrays.append(pa.DictionaryArray.from_arrays(pa.array(values), pa.array(names[field.name], pa.string())))
        else:
            arrays.append(arrow(field.name, values, mask))
    return pa.Table.from_arrays(arrays, schema=arrow_schema("connections"))


def arrow(name: str, values: Array, mask: Array | None = None) -> pa.Array:
    """A column of addresses, enums or numbers as the store has it; null where masked."""
    if name in ADDRESSES:
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(values), _buffers(mask, values))
    if name in _ENUMS:
        return pa.DictionaryArray.from_arrays(pa.array(values, mask=mask), _ENUMS[name])
    return pa.array(values, mask=mask).cast(arrow_schema("connections").field(name).type)


def _buffers(mask: Array | None, values: Array) -> list[pa.Buffer | None]:
    bitmap = None if mask is None or not mask.any() else pa.py_buffer(np.packbits(~mask, bitorder="little"))
    return [bitmap, pa.py_buffer(np.ascontiguousarray(values))]
