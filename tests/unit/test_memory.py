"""How capture and the followers keep their memory: what is set before numpy is imported holds afterwards."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from pathlib import Path
from anetcon.memory import keep_freed_memory
keep_freed_memory()
import numpy as np
print(len(list(Path("/proc/self/task").iterdir())))
import pyarrow as pa
print(pa.default_memory_pool().backend_name)
large = np.ones(16 << 20)  # more than malloc keeps: a mapping of its own
print(sum(" hg" in line for line in Path("/proc/self/smaps").read_text().splitlines() if line.startswith("VmFlags:")))
"""


def test_no_huge_pages_and_no_threads_of_a_library_that_is_not_used() -> None:
    """Arrow takes memory from malloc, numpy asks for no huge pages, OpenBLAS has no threads beside ours."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "system", "0"]
