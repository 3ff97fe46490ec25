"""Descriptors that a process has open."""

from __future__ import annotations

import operator
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.waiting import wait_until

SOON = 20.0
"""Seconds within which what is let go of is gone, on a busy machine; it takes some milliseconds."""


def processes(auditor: Daemon) -> list[int]:
    """Those that live as long as the daemon: helpers of a moment are none."""
    said = auditor.status()
    return [said["pid"], said["capture"]["pid"], said["follow"]["pid"]]


def descriptors(auditor: Daemon) -> list[int]:
    """How many each process has open: the fewest of some looks, since a sync has some open for a moment."""
    looks = [[len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes(auditor)] for _ in range(10)]
    return [min(look) for look in zip(*looks, strict=True)]


def same_descriptors(auditor: Daemon, before: list[int], within: float = SOON) -> None:
    """No more than before are open, soon."""
    now: list[int] = []

    def same() -> bool:
        now[:] = descriptors(auditor)
        return all(map(operator.le, now, before))

    try:
        wait_until(same, within, "as many are open as before", 0.1)
    except AssertionError:
        raise AssertionError(f"{before} are not open as before; now {now}") from None
