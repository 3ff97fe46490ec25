"""A compaction that is killed at each of its steps: `python -m tests.support.compacting STORE TORN`.

Says a line a step: whether it was killed there, and how many files count then. Ends when one came to its end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pyarrow as pa

from anetcon.store import manifest
from anetcon.store.compact import Compactor
from tests.support.crashing import crash_at, killed
from tests.support.records import DAY, T0


def main(store: Path, torn: bool) -> None:
    """Kill one after the other."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    number, status = 0, -1
    while status:
        number += 1
        pid = os.fork()
        if not pid:
            with crash_at(number, torn, killed):
                next(Compactor(store, clock=lambda: T0 + 40 * DAY).run(), None)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        sys.stdout.write(f"{number} {status} {len(manifest.replay(store).connections)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "torn")
