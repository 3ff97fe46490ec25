"""What compaction costs: processor time a million connections, and memory.

A day of ten-minute seals becomes a day's file. What a second of a processor is worth differs from machine to machine,
so beside it the same files are read and written again by pyarrow alone, with the same encodings: the limit is a ratio.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from anetcon.store import layout
from anetcon.store.frugal import compactor
from anetcon.store.limits import Limits
from bench.report import Report

ROWS = 4_000_000
RATIO, MEMORY = 3.0, 400
"""Times the processor time of reading and writing alone; megabytes."""


def compaction(report: Report) -> None:
    """Both, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        store = Path(name) / "store"
        making = ["bench.make_store", "--rows", str(ROWS), "--days", "0.5", "--seal-minutes", "10", "--out", str(store)]
        _run(*making)
        plain = json.loads(_run("bench.compaction", "plain", str(store)))
        done = json.loads(_run("bench.compaction", "compact", str(store)))
        size = sum(file.stat().st_size for file in store.glob("node=*/date=*/*day.*.parquet"))
    ratio = done["seconds"] / done["rows"] / (plain["seconds"] / plain["rows"])
    row = {
        "connections": done["rows"],
        "bytes/connection": size / done["rows"],
        "cpu s/million": done["seconds"] / done["rows"] * 1e6,
        "read and written alone": plain["seconds"] / plain["rows"] * 1e6,
        "ratio": ratio,
        "MB": done["megabytes"],
    }
    report.table("compaction", [row])
    report.promise(ratio <= RATIO, f"compaction: {ratio:.1f} times reading and writing alone, at most {RATIO:.0f}")
    report.promise(done["megabytes"] <= MEMORY, f"compaction: {done['megabytes']:.0f} MB, at most {MEMORY}")


def _run(*words: str) -> str:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, check=True, cwd=Path(__file__).parents[1], capture_output=True, text=True).stdout


def _compact(store: Path) -> int:
    """A week later, whatever the clock says."""
    made = compactor(store, Limits(free=0))
    from bench.make_store import LAST

    made.clock = lambda: LAST + 7 * layout.DAY
    return sum(entry.rows for done in made.run() for entry in done.files)


def _plain(store: Path) -> int:
    """Read and written again, file by file, as pyarrow does it."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import pyarrow as pa
    import pyarrow.parquet as pq

    from anetcon.store import parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    rows = 0
    with (
        tempfile.NamedTemporaryFile(prefix="anetcon-bench-") as sink,
        parquet.writer(sink.name, "connections") as file,
    ):
        for path in sorted(store.glob("node=*/date=*/*.parquet")):
            table = pq.read_table(path, partitioning=None, use_threads=False)
            file.write_table(table)
            rows += table.num_rows
    return rows


def main() -> None:
    """One of both: what it took, as JSON."""
    what: Callable[[Path], int] = {"compact": _compact, "plain": _plain}[sys.argv[1]]
    began = time.process_time()
    rows = what(Path(sys.argv[2]))
    took = {
        "rows": rows,
        "seconds": time.process_time() - began,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main()
