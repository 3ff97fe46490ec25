"""What each step behind capture costs a row, on realistic connections: `python -m bench.columns [--rows N]`.

CPU time of this process, the best of several runs, in nanoseconds: a quiet machine is needed, nothing else.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from anetcon.system.memory import keep_freed_memory

keep_freed_memory()  # as in the processes measured; before pyarrow is imported

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

from anetcon.follow.sinks.lines import Lines, Settings  # noqa: E402
from anetcon.identity import Tracker, flow_hash, merge  # noqa: E402
from anetcon.identity.connections import settle  # noqa: E402
from anetcon.identity.tuples import columns_of, new_key, numbers  # noqa: E402
from anetcon.journal.read import read_segment  # noqa: E402
from anetcon.journal.write import Writer  # noqa: E402
from anetcon.record import Class  # noqa: E402
from anetcon.store import layout  # noqa: E402
from anetcon.store.seal import Sealer  # noqa: E402
from bench.realistic import events, generate  # noqa: E402

FLUSH_ROWS = 75_000


def best(work: Callable[[], object], rows: int, runs: int = 5) -> float:
    """Nanoseconds a row."""
    times = []
    for _ in range(runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) / rows * 1e9


def measure(rows: int) -> dict[str, float]:
    """Every step's nanoseconds, by what the row is."""
    made = generate(np.random.default_rng(1), rows, seconds=rows / 800)
    stream = pa.Table.from_batches(events(made).to_batches(max_chunksize=FLUSH_ROWS))
    columns = columns_of(stream.combine_chunks())
    found = {
        "flow_hash, an event": best(lambda: flow_hash(columns, new_key()), 2 * rows),
        "settle, a connection": best(lambda: settle(columns), rows),
        "merge with its tables, a connection": best(lambda: merge(stream), rows),
        "tracker, an event": best(lambda: _track(stream), 2 * rows),
    }
    batch = made.slice(0, 100_000).combine_chunks().to_batches()[0]
    chosen = np.flatnonzero(numbers(batch["class"].indices) == Class.NAT)
    lines = Lines(Settings("net-1"))
    found["text, a line"] = best(lambda: lines.of(batch, chosen, Class.NAT), len(chosen))
    with tempfile.TemporaryDirectory() as folder:
        found |= _seal(Path(folder), stream, rows)
    return found


def _track(stream: pa.Table) -> None:
    tracker = Tracker()
    for batch in stream.to_batches():
        tracker.update(batch)


def _seal(store: Path, stream: pa.Table, rows: int) -> dict[str, float]:
    times = []
    for run in range(3):
        folder = layout.journal_folder(store / str(run), "connections")
        with Writer(folder, "connections") as writer:
            for batch in stream.to_batches():
                writer.append(batch, 0, 0)
        sealer = Sealer(store / str(run))
        reading = best(lambda at=folder: [flush.batch for flush in read_segment(at, 1)], 2 * rows, 1)  # type: ignore[misc]
        times.append((best(sealer.seal, rows, 1), reading, sealer.statistics.bytes / sealer.statistics.connections))
    sealing, reading, size = (min(column) for column in zip(*times, strict=True))
    return {"reading the journal, an event": reading, "sealing, a connection": sealing, "bytes a connection": size}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    options = parser.parse_args()
    for what, value in measure(options.rows).items():
        print(f"{what:40s}{value:8.1f}" + (" ns" if "bytes" not in what else ""))
    print(f"(load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
