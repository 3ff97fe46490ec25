"""Processes of a daemon that stand still, and what its guard does then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.support.daemon import Daemon


def capture(auditor: Daemon) -> list[int]:
    """The process of capture."""
    pid = auditor.capture_pid()
    assert pid is not None
    return [pid]


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Inside the block these processes do nothing. The keeper's helpers of a moment may be over just then."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def guarding(auditor: Daemon) -> bool:
    """Whether the guard has left hold, and has not come back to it."""
    said = auditor.errors()
    return said.count("events that capture has no room for are dropped") > said.count("capture has caught up")
