"""The group of those who may read the records, and files that are theirs to read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from anetcon.system import ondisk

READERS = "adm"
"""Group whose members may read the records."""


def give_to_readers(descriptor: int) -> None:
    """Let the group of readers read a file or folder of ours, where there is such a group and we may."""
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, -1, number())


def number() -> int:
    """The number of the group that is to own what root makes; -1 where it does already, or there is none."""
    if os.geteuid() == 0:
        import grp

        with contextlib.suppress(KeyError):
            return grp.getgrnam(READERS).gr_gid
    return -1


def replace(path: Path, content: bytes) -> None:
    """Replace a file whole: a reader sees the old or the new."""
    ondisk.replace(path, content, group=number())
