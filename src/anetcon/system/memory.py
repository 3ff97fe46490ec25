"""How the processes that move much data keep their memory. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
MOST_MMAP_THRESHOLD = 32 << 20  # a higher one is refused (malloc.c, HEAP_MAX_SIZE / 2)


def keep_freed_memory() -> None:
    """Have malloc keep what is freed (mallopt(3)), and Arrow use malloc. To be called before numpy and pyarrow are
    imported.

    Measured: the temporaries of numpy and Arrow, over 128 KiB each, are otherwise mapped and unmapped batch by batch,
    and the page faults cost three times the decoding. Huge pages, which numpy asks for, cost the sealer a quarter more
    CPU: the kernel clears them, and makes room for them, while the process waits. Nothing here uses OpenBLAS, whose
    threads spin while numpy is imported.
    """
    os.environ.update(ARROW_DEFAULT_MEMORY_POOL="system", NUMPY_MADVISE_HUGEPAGE="0", OPENBLAS_NUM_THREADS="1")
    libc = ctypes.CDLL(None)
    for option, value in ((M_MMAP_THRESHOLD, MOST_MMAP_THRESHOLD), (M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 16 << 20)):
        libc.mallopt(option, value)


def group_limit(proc: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that the control group of this process may use, or one above it; None where nothing limits it."""
    limits = []
    with contextlib.suppress(OSError):
        for line in proc.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers in ("", "memory"):
                above = mounts / controllers
                name = "memory.limit_in_bytes" if controllers else "memory.max"
                place = above / group.lstrip("/")
                limits += [_number(each / name) for each in (place, *place.parents) if each.is_relative_to(above)]
    return min((limit for limit in limits if limit is not None), default=None)


def _number(file: Path) -> int | None:
    """What a file says; None where it is not there, or says no number, such as `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def collect_seldom() -> None:
    """Leave alone what is there now, and look for garbage seldom: columns and batches make no cycles. To be called
    when everything is imported and made."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def leave(status: int) -> NoReturn:
    """End the process without taking its memory apart, which takes longer than many a stop."""
    sys.stderr.flush()
    os._exit(status)
