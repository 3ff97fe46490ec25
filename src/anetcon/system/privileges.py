"""Capabilities of a process (linux/capability.h): which it has, and having no others."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from anetcon.system import syscalls as sc

NET_ADMIN, SYS_ADMIN = 12, 21
KILL, SYS_PTRACE, SYS_NICE = 5, 19, 23


def hold(wanted: Collection[int]) -> None:
    """Hold these capabilities, as far as they are permitted, and no others; so does what is executed from here."""
    sc.clear_ambient()
    permitted = held("self", "CapPrm")
    mask = sum(1 << bit for bit in wanted) & permitted
    try:
        sc.capset(mask)
    except PermissionError:  # as under the unit: there what is ambient decides what an executed program has
        if mask != permitted and os.geteuid() == 0:
            raise
    for bit in wanted:
        if mask >> bit & 1:
            sc.raise_ambient(bit)


def held(process: str, kind: str) -> int:
    """A set of capabilities of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1], 16) for line in lines if line.startswith(f"{kind}:")), 0)
