"""Who may change what counts in a store: the sealer and an import, one at a time, whoever of them runs.

The lock is `sealing.lock`, held for the few moments that a seal takes. Who is about to write files under names that a
manifest will only then count says so in it first (`begin`) and takes it back when all is done: whoever finds it said by
somebody who is gone removes what was left, before anything else. Readers need no lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anetcon.store import layout
from anetcon.system import ondisk

MODE = 0o600
"""Whoever may read a file can hold a lock on it for ever: not everybody who may read the store is to."""

_BEGUN = b"files are being written\n"


class HeldLock:
    """The lock, held."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.left_behind = os.fstat(descriptor).st_size > 0
        """Whether whoever had it last did not come to the end."""

    def begin(self) -> None:
        """Files are going to be written. Raises OSError."""
        os.pwrite(self._descriptor, _BEGUN, 0)
        os.fsync(self._descriptor)

    def end(self) -> None:
        """All that was written counts, or is gone again. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        self.left_behind = False


@contextmanager
def turn(store: Path, *, wait: bool, name: str = layout.SEALING_LOCK) -> Iterator[HeldLock | None]:
    """Hold a lock; None when somebody else does, and `wait` is not wanted. Raises OSError."""
    descriptor = ondisk.open_file(store / name, os.O_RDWR | os.O_CREAT, MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield HeldLock(descriptor)
    finally:
        os.close(descriptor)
