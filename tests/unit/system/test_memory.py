"""How capture and the followers keep their memory: what is set before numpy is imported holds afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anetcon.system.memory import group_limit

PROGRAM = """
from pathlib import Path
from anetcon.system.memory import keep_freed_memory
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


@pytest.mark.parametrize(
    ("said", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "5000\n"}, 5000),
        ("0::/\n", {"memory.max": "7000\n"}, 7000),
        ("9:name=systemd:/x\n4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "6000\n"}, 6000),
        ("0::/a\n", {}, None),
        ("", {}, None),
    ],
)
def test_what_a_control_group_may_use(tmp_path: Path, said: str, files: dict[str, str], limit: int | None) -> None:
    """The least of the group's own limit and those above it, of either version of control groups."""
    (tmp_path / "cgroup").write_text(said)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert group_limit(tmp_path / "cgroup", tmp_path) == limit
    assert group_limit(tmp_path / "not-there", tmp_path) is None
