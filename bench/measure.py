"""CPU time and memory of a program with all its processes, from the kernel's own books.

CPU time is the kernel's sum for a process (user and system, all its threads, ended ones too), read in nanoseconds
through its CPU clock while it lives and from wait4 once it is over. What the kernel does in interrupts on a program's
behalf is nobody's: it is left out for every program alike.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CPUCLOCK_SCHED = 2
TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Seconds of CPU a living process has used, and those of its children that it has waited for."""
    clock = time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    return clock + sum(int(field) for field in _stat(pid)[13:15]) / TICKS


class Modes(NamedTuple):
    """Seconds of CPU that a process used in its own code, and in the kernel, to a tick of 10 ms."""

    user: float
    system: float


def modes(pid: int) -> Modes:
    """Of a living process, without its children."""
    user, system = (int(field) / TICKS for field in _stat(pid)[11:13])
    return Modes(user, system)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (the state)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def name(pid: int) -> str:
    """What a process calls itself."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def trees(roots: list[int]) -> Iterator[int]:
    """Processes and their living descendants; one that ends meanwhile is passed over by who asks about it."""
    found = list(roots)
    for pid in found:
        yield pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]


def cpu_by_name(pids: list[int]) -> dict[str, float]:
    """Seconds of CPU used so far by these processes and their descendants, by name."""
    used: dict[str, float] = {}
    for pid in trees(pids):
        with contextlib.suppress(OSError):
            used[name(pid)] = used.get(name(pid), 0.0) + cpu(pid)
    return used


def wait(pid: int) -> float:
    """Wait for a child's end; the seconds of CPU that it and all it waited for used in their lives."""
    _, _, usage = os.wait4(pid, 0)
    return usage.ru_utime + usage.ru_stime


def memory(pids: list[int]) -> int:
    """Bytes of memory that would be free without these processes: proportional set size with descendants."""
    total = 0
    for pid in trees(pids):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
    return total
