"""One installation at a time: of two at once each would undo what the other began. Refuses to wait for the other."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from anetcon.errors import AnetconError

LOCK = Path("/run/anetcon-install.lock")
"""For the running machine, where only root can hold it; a tree's own folder is its lock."""


@contextlib.contextmanager
def alone(root: Path, lock: Path = LOCK) -> Iterator[None]:
    """Inside the block nobody else installs or uninstalls there. AnetconError when somebody does."""
    place, flags = (lock, os.O_RDWR | os.O_CREAT) if root == Path("/") else (root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor = os.open(place, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:  # without root, or such a folder, nothing is installed: who makes the plan says so
        yield
        return
    try:
        _take(descriptor, root)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AnetconError(f"another `anetcon install` or `uninstall` works on {root}: wait until it is done") from None
