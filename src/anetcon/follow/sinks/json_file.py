"""A file of JSON lines, for whoever collects them: a line when a connection begins, and one when it has ended.

    {"type": "start", "start": "2026-11-20T13:05:09.000000Z", "end": null, "node": "gw1", "netns": "qrouter-...", ...}

`type` is `start`, `end`, or `packet`: no connection, but a packet that conntrack calls invalid. The other keys are as
in `anetcon follow --format jsonl`. What is known by its end first has no line `start`; a connection learnt from a line
of text has no line `end`.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon.follow.sinks.appended import Files
from anetcon.follow.sinks.rows import are
from anetcon.identity import Verdict
from anetcon.identity.tuples import Array
from anetcon.query import as_text
from anetcon.record import CONNECTIONS, Field, Origin, label

PACKET = "packet"
TYPES = ("start", "end", PACKET)
FIELDS = (Field("type", "enum", "what this line tells of", values=TYPES), *CONNECTIONS)
BLOCK = 16_384
"""Rows that are made to lines at once: what repeats is made once in each, and ten megabytes of text are enough."""


class JsonFile(Files):
    """The sink of one file."""

    columns: Collection[str] = tuple(field.name for field in CONNECTIONS)

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, [path.name])
        self._name = path.name

    def take(self, rows: pa.RecordBatch, verdicts: Array) -> int:
        """Write starts, then ends: so that none comes before its start."""
        table = pa.Table.from_batches([rows])
        told = rows["end"].is_valid().to_numpy(zero_copy_only=False).astype(np.int8)
        told[are(rows, "origin", [label(Origin.PACKET)])] = TYPES.index(PACKET)
        chosen = np.flatnonzero(verdicts != Verdict.REPEAT)
        chosen = chosen[np.argsort(told[chosen], kind="stable")]
        for at in range(0, len(chosen), BLOCK):
            block = chosen[at : at + BLOCK]
            self.write(self._name, lines(table.take(pa.array(block)), told[block]))
        return len(chosen)


def lines(rows: pa.Table, told: Array) -> pa.StringArray:
    """The lines of these rows, each with its newline; `told`: of which type each is."""
    types = pa.DictionaryArray.from_arrays(pa.array(told), pa.array(TYPES))
    shown = as_text.shown(rows, CONNECTIONS).add_column(0, "type", types.cast(pa.string()))
    return as_text.json_texts(shown, FIELDS, "}\n")
