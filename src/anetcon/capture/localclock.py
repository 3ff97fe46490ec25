"""Kernel log time to wall clock.

A record's time is that of the kernel's local clock (sched_clock): microseconds since boot that no NTP corrects and that
stand still in suspend. CLOCK_MONOTONIC_RAW does the same, so the two differ by a constant but for a slow drift (they
are scaled by factors computed apart: some parts in a million at most; measured here: none in an hour). A record is read
some time after it was written, never before: the smallest difference seen is the true one, and grows only as fast as
the clocks may drift. Wall clock against CLOCK_MONOTONIC_RAW is known at any moment.

So lines that waited (a reader stopped, a processor busy) do not move the estimate. Pure: times come from the caller.
"""

from __future__ import annotations

from anetcon.kmsg.packets import Stamp

DRIFT = 50e-6
"""How fast the two clocks may drift apart, as a share."""

ASTRAY, PATIENCE = 1_000_000, 30_000_000
"""An estimate that was too small by this (us) in all lines for so long is wrong: the kernel's clock was set back."""


class LocalClock:
    """Keeps the estimate: `sample` improves it, `offset` uses it."""

    def __init__(self) -> None:
        self._least: float | None = None
        self._sampled = 0
        self._difference = 0
        self._astray = 0
        """Since when every sample was far above the estimate; 0: the last one was not."""

    @property
    def offset(self) -> int:
        """What to add to a record's time (us) for wall clock."""
        return round(self._least or 0.0) + self._difference

    def sample(self, time: int, read: Stamp) -> None:
        """A record of this time (us) was read at that moment."""
        self._difference = read.wall - read.raw
        sample = read.raw - time
        if self._least is None:
            self._least = sample
        grown = self._least + DRIFT * max(0, read.raw - self._sampled) if self._sampled else sample
        self._least = min(float(sample), grown)
        self._sampled = read.raw
        if sample - self._least < ASTRAY:
            self._astray = 0
        elif not self._astray:
            self._astray = read.raw
        elif read.raw - self._astray > PATIENCE:
            self._least, self._astray = float(sample), 0
