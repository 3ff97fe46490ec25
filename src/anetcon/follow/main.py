"""The process `anetcon-follow`: seals the journal into the store, and writes the text logs and the sinks, each whatever
happens to the others.

`python -m anetcon.follow.main --settings FD`; started by the keeper only. SIGHUP reopens the logs. SIGTERM: catch up
with all that is flushed, seal all that is closed, exit 0. A follower that fails says so, at most once a minute, and is
made anew from what it saved, after a pause: nothing is lost, the journal waits for it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from anetcon.errors import AnetconError
from anetcon.follow.log import ERROR, MORE_MEMORY, NAME, NOTICE, log, reporter
from anetcon.follow.settings import Settings
from anetcon.link.settings import read
from anetcon.store import layout
from anetcon.system import ondisk
from anetcon.system.memory import collect_seldom, keep_freed_memory, leave
from anetcon.system.syscalls import set_name

T = TypeVar("T")

SIGNALS = {signal.SIGTERM, signal.SIGHUP}
NICE = 10
POLL, BUSY_POLL = 1.0, 5.0
"""Seconds between two looks at the journal; under load the longer: every look brings megabytes of tables, of texts and
of tuples, back into the processor's cache, however few rows it reads."""

BUSY = 5_000
"""Lines written since the look before that are a load."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds before a failed follower is tried again, doubling."""

SAID_EVERY = 60.0
"""Seconds between two lines about the same failure."""


class Follower(Protocol):
    """Something that follows the journal."""

    def step(self) -> bool:
        """Do what is there to do, a piece of it; whether there may be more."""

    def reopen(self) -> None:
        """Files were renamed: go on in new ones."""

    def stop(self) -> None:
        """The last call when all went well."""

    def close(self) -> None:
        """The last call when something failed: let go of everything."""


class Turn:
    """One follower's turns. After a failure, and a pause, it is made anew. While it fails, the file `failed` says why,
    for the status."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Follower],
        failed: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.follower: Follower | None = None
        self._name, self._make, self._failed_path, self._now = name, make, failed, now
        self._pause = FIRST_PAUSE
        self._not_before = 0.0
        self._said = -SAID_EVERY
        self._complained = False
        self._told: str | None = None
        self._tell("")

    def take(self, at_once: bool = False) -> bool:
        """A step; False when all is done, when it failed, or when it is too early after a failure."""
        if self._now() < self._not_before and not at_once:
            return False
        more = self._try(lambda follower: follower.step())
        if more is None:
            return False
        if self._complained:
            log(f"{NOTICE}{self._name}: works again")
        self._tell("")
        self._pause, self._not_before, self._complained = FIRST_PAUSE, 0.0, False
        return more

    def reopen(self) -> None:
        """Have the follower reopen its files, and try at once what failed."""
        self._not_before = 0.0
        if self.follower is not None:
            self._try(lambda follower: follower.reopen())

    def stop(self) -> None:
        """Have the follower save what spares work at the next start."""
        if self.follower is not None:
            self._try(lambda follower: follower.stop())

    def _try(self, action: Callable[[Follower], T]) -> T | None:
        try:
            if self.follower is None:
                self.follower = self._make()
            return action(self.follower)
        except AnetconError as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(_reason(error))
        except MemoryError:
            self._failed(f"too little memory; {MORE_MEMORY}")
        except Exception as error:  # noqa: BLE001 - a defect in one follower must not stop the other
            for line in traceback.format_exc().splitlines():
                log(ERROR + line)
            self._failed(f"{type(error).__name__}: {error}; please report this")
        return None

    def _failed(self, why: str) -> None:
        if self.follower is not None:
            self.follower.close()
        self.follower = None
        self._not_before = self._now() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._tell(f"{self._name}: {why}")
        if self._now() - self._said >= SAID_EVERY:
            log(f"{ERROR}{self._name}: {why}; trying again, nothing is lost")
            self._said = self._now()
            self._complained = True

    def _tell(self, wrong: str) -> None:
        """Where the status finds it; on a disk that is full it does not."""
        if self._failed_path is None or wrong == self._told:
            return
        with contextlib.suppress(OSError):
            if wrong:
                group = layout.group()
                ondisk.replace(self._failed_path, wrong.encode(errors="replace"), group=-1 if group is None else group)
            else:
                self._failed_path.unlink(missing_ok=True)
            self._told = wrong


def _reason(error: OSError) -> str:
    """The file and what is wrong with it; a folder that is new in the configuration is read-only to a service."""
    reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    mend = "; mount it writable or, where the configuration has it since lately, run `anetcon install`"
    return reason + mend * (error.errno == errno.EROFS)


class Process:
    """The followers that are configured, and their turns."""

    def __init__(self, settings: Settings) -> None:
        # Not above: threads of pyarrow must begin with our signals blocked, or one of them gets a signal, and ends us.
        from anetcon.follow import compaction, position, sealing
        from anetcon.follow.sinks import hash_file, kinds

        self._journal = layout.journal_folder(settings.store, "connections")
        sinks = list(kinds.configured(settings))
        position.forget(settings.store, [sink.name for sink in sinks])
        self._turns = [
            Turn(sink.title, sink.make, position.failed_path(layout.follower_path(settings.store, sink.name)))
            for sink in sinks
        ]
        if settings.rsyslog:
            log("rsyslog writes anetcon.nat.log and anetcon.float.log (logs.writer): they are left alone")
            self._turns.append(Turn("hash file", lambda: hash_file.Hashes(settings)))
        # The sealer has its turn behind the others, which have said by then which segments they need.
        self._turns.append(Turn("sealing", lambda: sealing.Sealing(settings)))
        if settings.compact:
            self._turns.append(Turn("compaction", lambda: compaction.Compacting(settings)))

    def run(self) -> None:
        """Until SIGTERM, and then until nothing is left to do."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        lines = 0
        while True:
            more = self.turn()
            before, lines = lines, lines if more else self._lines()
            pause = 0 if more else BUSY_POLL if lines - before >= BUSY else POLL
            received = signal.sigtimedwait(SIGNALS, pause)
            if received is not None and received.si_signo == signal.SIGTERM:
                break
            if received is not None:
                self.reopen()
        while self.turn(at_once=True):
            pass
        for turn in self._turns:
            turn.stop()

    def _lines(self) -> int:
        """Lines written to text logs and sinks so far."""
        return sum(getattr(turn.follower, "lines_written", 0) for turn in self._turns)

    def turn(self, at_once: bool = False) -> bool:
        """A turn of each; whether any may have more to do. None, when there is no journal: not yet, or the mount under
        the store is gone, and nothing may be written into the place it leaves."""
        if not self._journal.is_dir():
            return False
        more = [turn.take(at_once) for turn in self._turns]
        return any(more)

    def reopen(self) -> None:
        """SIGHUP."""
        for turn in self._turns:
            turn.reopen()


def main() -> int:
    """Run until told to stop; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=int, required=True)
    options = parser.parse_args()
    set_name(NAME)
    resolved = read(options.settings)
    reporter.introduce(NAME, resolved["logs"].get("debug", False))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o027)
    os.nice(NICE)
    keep_freed_memory()
    settings = Settings.of(resolved)
    process = Process(settings)
    collect_seldom()
    process.run()
    return 0


if __name__ == "__main__":
    leave(main())
