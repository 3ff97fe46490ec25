"""The journal cannot be written: since when, how often, why; and saying so, but seldom."""

from __future__ import annotations

import errno

from anetcon.system.clock import Moment
from anetcon.system.report import ERROR, NOTICE, report

SAID_EVERY = 60_000_000
"""Microseconds between two lines about the same trouble."""


class Trouble:
    """`failing` is how many flushes in a row were not written, `since` (wall clock) when the first of them was due."""

    def __init__(self) -> None:
        self.failing = self.error = self.since = 0
        self._said: dict[str, int] = {}
        self._complained = False

    def failed(self, error: OSError, now: Moment, since: int, waiting: int) -> None:
        """A flush was not written; so many rows wait now."""
        self.failing += 1
        self.error = error.errno or errno.EIO
        if self.failing == 1:
            self.since = since
        what = f"cannot write the journal: {error.strerror}; make room or repair the disk"
        self.say("failed", now, f"{what}. What comes waits in memory ({waiting} records now)")

    def over(self) -> None:
        """Everything is written."""
        if self._complained and self.failing:
            report(f"{NOTICE}the journal is written again after {self.failing} failed flushes")
            self._complained = False
        self.failing = self.error = self.since = 0

    def say(self, what: str, now: Moment, line: str) -> None:
        """A line about some trouble."""
        if now.steady - self._said.get(what, -SAID_EVERY) >= SAID_EVERY:
            self._said[what] = now.steady
            self._complained = True
            report(ERROR + line)
