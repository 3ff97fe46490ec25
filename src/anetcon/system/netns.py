"""Network namespaces: entering one for the time it takes, and coming home."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from anetcon.system import syscalls as sc


class Home:
    """The namespace the daemon was started in: where `entered` comes back to."""

    def __init__(self) -> None:
        self._descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self._descriptor).st_ino

    def fileno(self) -> int:
        """What a child needs to come home."""
        return self._descriptor

    def enter(self, path: Path | None) -> int:
        """Go to the namespace at `path` (None: home), for good; its inode."""
        if path is None:
            sc.setns(self._descriptor, sc.CLONE_NEWNET)
            return self.inode
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            sc.setns(descriptor, sc.CLONE_NEWNET)
            return os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def entered(self, path: Path | None) -> Iterator[int]:
        """Be in the namespace at `path` (None: at home) inside the block; gives its inode."""
        inode = self.enter(path)
        try:
            yield inode
        finally:
            if path is not None:
                self._come_back(path)

    def _come_back(self, path: Path) -> None:
        try:
            sc.setns(self._descriptor, sc.CLONE_NEWNET)
        except OSError as error:
            raise SystemExit(f"anetcon-keeper: cannot leave the namespace {path}: {error.strerror}") from error
