"""Compaction as a follower: a child process now and then, which comes behind everything else on the machine.

The child does what there is to do and ends. It is killed when the daemon stops or dies: at any moment that does no harm
(`store.compact`). What it cannot do it says in the daemon's log, and the next one tries again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from anetcon.errors import AnetconError
from anetcon.follow.log import ERROR, MORE_MEMORY, log, reporter
from anetcon.follow.settings import Settings
from anetcon.store.limits import Limits
from anetcon.system.memory import leave
from anetcon.system.process import python, spawn
from anetcon.system.syscalls import set_name

NAME = "anetcon-compact"
EVERY = 600.0
"""Seconds between two: as often as something is sealed, if nobody sets it otherwise."""


class Compacting:
    """Starts the child, and sees it end."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._now = settings, now
        self._next = now() + EVERY
        self._pid: int | None = None

    def step(self) -> bool:
        """Start one when it is time; there is never more to do at once."""
        if self._pid is not None:
            self._reap()
        elif self._now() >= self._next:
            self._next = self._now() + EVERY
            free = self._settings.limits.free
            words = ["--store", str(self._settings.store), *(() if free is None else ("--free", str(free)))]
            self._pid = spawn(python("anetcon.follow.compaction", *words))
        return False

    def _reap(self) -> None:
        pid, status = os.waitpid(self._pid or -1, os.WNOHANG)
        if pid:
            self._pid = None
            if os.waitstatus_to_exitcode(status) < 0:
                log(f"{ERROR}compaction: killed; it goes on later; {MORE_MEMORY}")

    def reopen(self) -> None:
        """Nothing is held open."""

    def stop(self) -> None:
        """End the child, if there is one."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = None

    def close(self) -> None:
        """The same."""
        self.stop()


def come_last() -> None:
    """Have every other process come before this one, at the processor and, with that, at the disk."""
    os.nice(19)
    with contextlib.suppress(OSError):  # what confines the service may forbid it: then it is nice alone
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> int:
    """The child: compact a store; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--free", type=int)
    options = parser.parse_args()
    set_name(NAME)
    reporter.introduce(NAME)
    os.umask(0o027)
    come_last()
    from anetcon.store.frugal import compactor  # pyarrow begins its threads behind all this

    try:
        for done in compactor(options.store, Limits(free=options.free)).run():
            log(done.said)
    except AnetconError as error:
        log(f"{ERROR}compaction: {error}")
    except OSError as error:
        log(f"{ERROR}compaction: {error.filename}: {error.strerror}; nothing is lost")
    except MemoryError:
        log(f"{ERROR}compaction: too little memory; {MORE_MEMORY}; nothing is lost")
    else:
        return 0
    return AnetconError.exit_status


if __name__ == "__main__":
    leave(main())
