"""Which processes there are, and who has which socket open. Parsers are pure; /proc is read at the edge.

What may not be read is left out: in a container, or without root, the owner of a socket stays unknown.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class HostProcess:
    """One process. `state` is the letter of /proc/PID/stat: T stopped, D waiting for a disk, Z ended."""

    pid: int
    parent: int
    name: str
    state: str
    words: tuple[str, ...]


def process(stat: str, cmdline: bytes) -> HostProcess | None:
    """A process from its two files; None when they cannot be read. A name may hold blanks and brackets."""
    head, bracket, rest = stat.rpartition(")")
    number, _, name = head.partition(" (")
    fields = rest.split()
    if not bracket or not number.isdecimal() or len(fields) < 2 or not fields[1].isdecimal():
        return None
    words = tuple(word.decode(errors="replace") for word in cmdline.split(b"\0") if word)
    return HostProcess(int(number), int(fields[1]), name, fields[0], words)


def every(proc: Path = PROC) -> dict[int, HostProcess]:
    """Every process there is, by number."""
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                made = process((entry / "stat").read_text(errors="replace"), (entry / "cmdline").read_bytes())
                if made is not None:
                    found[made.pid] = made
    return found


def family(pid: int, processes: Iterable[HostProcess]) -> set[int]:
    """A process, its children, and theirs."""
    children: dict[int, list[int]] = {}
    for each in processes:
        children.setdefault(each.parent, []).append(each.pid)
    found, todo = {pid}, [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def owners(inodes: Collection[int], pids: Iterable[int], proc: Path = PROC) -> dict[int, tuple[int, ...]]:
    """Which processes have which of these sockets open."""
    found: dict[int, list[int]] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in pids if wanted else ():
        with contextlib.suppress(OSError):
            for entry in os.scandir(proc / str(pid) / "fd"):
                with contextlib.suppress(OSError):
                    inode = wanted.get(os.readlink(entry.path))  # noqa: PTH115 - thousands of them
                    if inode is not None and pid not in found.setdefault(inode, []):
                        found[inode].append(pid)
    return {inode: tuple(pids) for inode, pids in found.items()}


def capabilities(status: str, which: str = "CapEff") -> int:
    """A set of capabilities of /proc/PID/status, as bits."""
    line = next((line for line in status.splitlines() if line.startswith(f"{which}:")), "")
    with contextlib.suppress(IndexError, ValueError):
        return int(line.split()[1], 16)
    return 0


def open_files_limit(limits: str) -> int | None:
    """The soft limit of open files of /proc/PID/limits; None when it says none."""
    for line in limits.splitlines():
        if line.startswith("Max open files"):
            soft = line.removeprefix("Max open files").split()[:1]
            return int(soft[0]) if soft and soft[0].isdecimal() else None
    return None
