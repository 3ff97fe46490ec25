"""The sealer as a follower: its turns, and dropping what others have passed meanwhile."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from anetcon.store.seal import Sealer

DROP_EVERY = 5.0
"""Seconds between two looks at what every follower has passed."""


TRIM_AFTER = 60.0
"""Seconds after a seal when its memory is given back: the next one, if it comes sooner, need not ask for it again."""


class Sealing:
    """Seals whatever segment is closed."""

    def __init__(self, store: Path) -> None:
        self.sealer = Sealer(store)
        self._dropped = time.monotonic()
        self._sealed: float | None = None

    def step(self) -> bool:
        """One seal, if anything is closed."""
        sealed = self.sealer.seal()
        if not sealed and time.monotonic() - self._dropped >= DROP_EVERY:
            self.sealer.drop()
            self._dropped = time.monotonic()
        if sealed:
            self._sealed = time.monotonic()
        elif self._sealed is not None and time.monotonic() - self._sealed >= TRIM_AFTER:
            # A million connections took hundreds of megabytes, and malloc has been told to keep them.
            ctypes.CDLL(None).malloc_trim(0)
            self._sealed = None
        return sealed

    def reopen(self) -> None:
        """Nothing is held open."""

    def stop(self) -> None:
        """Nothing is left to save."""

    def close(self) -> None:
        """Nothing is held open."""
