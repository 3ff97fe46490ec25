"""Bytes a connection at rest, by how many a node has a second, in files as compaction writes them, of full row groups;
beside them the text logs of the same connections, as they are and packed by gzip, which is what logrotate leaves.
"""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pyarrow as pa

from anetcon.follow.sinks.lines import Lines, Settings
from anetcon.identity.tuples import numbers
from anetcon.record import Class
from anetcon.store import parquet
from anetcon.store.draft import Draft
from bench.realistic import generate, world
from bench.report import Report

RATES = (1, 10, 83, 500)
"""Connections a second: a home, an office, the mean of a node, a busy node."""
ROWS = 500_000
TEXT_ROWS = 100_000
LIMIT = 19.6
"""Bytes at the highest rate: 20 less the 0.4 of an index of addresses."""


def at_rest(report: Report) -> None:
    """Each rate, and the text."""
    rng = np.random.default_rng(1)
    of = world(rng)
    rows: list[dict[str, Any]] = []
    for rate in RATES:
        made = generate(rng, ROWS, seconds=ROWS / rate, of=of)
        draft = Draft.of(made)
        size = parquet.encode("connections", draft.table, draft.groups(draft.every())).size
        text = _text(made.slice(0, TEXT_ROWS))
        row = {"connections a second": rate, "bytes a connection": size / ROWS}
        rows.append(row | {"text": len(text) / TEXT_ROWS, "text, gzip": len(gzip.compress(text, 6)) / TEXT_ROWS})
    report.table("bytes at rest", rows)
    took = rows[-1]["bytes a connection"]
    report.promise(took <= LIMIT, f"bytes: {took:.2f} a connection at {RATES[-1]} a second, at most {LIMIT}")


def _text(made: pa.Table) -> bytes:
    """The lines of both text logs."""
    batch = made.combine_chunks().to_batches()[0]
    classes, lines = numbers(batch["class"].indices), Lines(Settings("net-1"))
    kinds = (Class.NAT, Class.FLOAT)
    told = [lines.of(batch, np.flatnonzero(classes == kind), kind) for kind in kinds]
    return "\n".join(line for each in told for line in each.to_pylist()).encode()
