"""A process that dies in the middle of what it does to the disk: at any step, with the step half done or not at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class CrashError(OSError):
    """The process dies here."""


def raised() -> None:
    """How a process dies that goes on to be tested."""
    raise CrashError("died here")


def killed() -> None:
    """How one really does."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def crash_at(number: int, torn: bool, die: Callable[[], None] = raised) -> Iterator[Callable[[], int]]:
    """Everything that changes the disk, counted; the one of this number dies instead, having done half of its work
    or nothing. Yields how many there were."""
    count = 0

    def counted(real: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                if torn and half is not None:
                    half(*arguments)
                die()
            return real(*arguments, **named)

        return call

    real = {name: getattr(os, name) for name in ("write", "pwrite", "fsync", "fdatasync", "ftruncate", "truncate")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", counted(real["write"], lambda fd, data: real["write"](fd, data[: len(data) // 2])))
        patch.setattr(
            os, "pwrite", counted(real["pwrite"], lambda fd, data, at: real["pwrite"](fd, data[: len(data) // 2], at))
        )
        for name in ("fsync", "fdatasync", "truncate"):
            patch.setattr(os, name, counted(real[name], real[name]))
        for name in ("rename", "unlink", "mkdir", "write_text"):
            patch.setattr(Path, name, counted(getattr(Path, name), getattr(Path, name)))
        if torn:  # a process that died cuts nothing off
            patch.setattr(os, "ftruncate", lambda *_: None if count >= number else real["ftruncate"](*_))
        yield lambda: count
