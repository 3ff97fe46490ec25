"""Where a question puts what its memory has no room for, and how much of either it may take.

The folder is made by DuckDB when it is first needed, and removed by it at the end. Its name cannot be guessed: whatever
lies there already would be written to. It is in the store where that belongs to whoever asks, else in TMPDIR: in a
folder of another user's, that user could put a link in its place. What a killed question left is removed by the
sealer. Refuses to make it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from anetcon.store import layout
from anetcon.store.limits import Limits
from anetcon.system import memory

DAY = 86_400
"""Seconds after which a folder is one that was left."""

MACHINE_SHARE, GROUP_SHARE = 0.25, 0.5
"""Of the machine's memory, which is a router's, and of what the control group may use."""

THREAD = 128 << 20
"""Bytes of memory for each thread of a question. Two that read row groups fail at 130 MB, where one does with 60."""

THREADS = 4
"""At most: a question is not to take a router's processors."""

DISK_SHARE = 0.5
"""Of what is free above the floor, below which the oldest records would have to go."""


def settings(store: Path) -> dict[str, str]:
    """The settings of DuckDB for a question about this store."""
    size = _memory()
    threads = max(1, min(THREADS, os.cpu_count() or 1, size // THREAD))
    always = {"memory_limit": f"{size}B", "threads": str(threads)}
    try:
        above = store if _is_ours(store) else Path(tempfile.gettempdir())
        disk = shutil.disk_usage(above)
    except OSError:  # neither can be written to
        return always | {"temp_directory": ""}
    room = max(0, disk.free - Limits().floor(disk.total))
    return always | {
        "temp_directory": str(above / f"{layout.SPILLED}{secrets.token_hex(16)}"),
        "max_temp_directory_size": f"{room * DISK_SHARE:.0f}B",
    }


def sweep(store: Path) -> None:
    """Remove what questions that were killed left in a store."""
    for folder in store.glob(f"{layout.SPILLED}*"):
        if time.time() - folder.lstat().st_mtime > DAY:
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(store: Path) -> bool:
    return store.stat().st_uid == os.geteuid() and os.access(store, os.W_OK)


def _memory() -> int:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = memory.group_limit()
    return int(min(MACHINE_SHARE * machine, machine if group is None else GROUP_SHARE * group))
