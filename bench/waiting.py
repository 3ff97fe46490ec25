"""How much of the journal's memory a connection takes while the disk is full: packed flushes of several sizes.

`python -m bench.waiting`. Rows are generated (bench/realistic.py), in the order of their times; each connection is two:
its start and its end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from anetcon.journal.write import Writer
from anetcon.system.memory import keep_freed_memory
from bench.realistic import events, generate

CONNECTIONS = 200_000


def main() -> None:
    """Print a line a size."""
    keep_freed_memory()
    rows = events(generate(np.random.default_rng(7), CONNECTIONS)).combine_chunks()
    for size in (20, 200, 2_000, 20_000):
        with tempfile.TemporaryDirectory() as folder, Writer(Path(folder), "connections") as writer:
            whole = range(0, min(rows.num_rows, 200 * size), size)
            packed = sum(len(writer.encode(rows.slice(at, size).to_batches()[0])) for at in whole)
        connections = len(whole) * size / 2
        each = packed / connections
        print(f"flushes of {size} rows: {each:.0f} bytes a connection, {64e6 / each:,.0f} connections in 64 MB")


if __name__ == "__main__":
    main()
