"""The sealer as a follower: its turns, what retention removes, and dropping what others have passed meanwhile."""

from __future__ import annotations

import ctypes
import time

from anetcon.follow.log import MORE_MEMORY, NOTICE, log
from anetcon.follow.settings import Settings
from anetcon.store.entry import rfc3339
from anetcon.store.seal import Sealer

DROP_EVERY = 5.0
"""Seconds between two looks at what every follower has passed, and at what is to be removed."""


TRIM_AFTER = 60.0
"""Seconds after a seal when its memory is given back: the next one, if it comes sooner, need not ask for it again."""


class Sealing:
    """Seals whatever segment is closed."""

    def __init__(self, settings: Settings) -> None:
        self.sealer = Sealer(settings.store, limits=settings.limits, node=settings.node)
        self._looked = -DROP_EVERY
        self._sealed: float | None = None

    def step(self) -> bool:
        """One seal, if anything is closed; before it what makes room for it."""
        if time.monotonic() - self._looked >= DROP_EVERY:
            self._looked = time.monotonic()
            self.sealer.drop()
            self._retain()
        sealed = self._seal()
        if sealed:
            self._sealed = time.monotonic()
        elif self._sealed is not None and time.monotonic() - self._sealed >= TRIM_AFTER:
            # A million connections took hundreds of megabytes, and malloc has been told to keep them.
            ctypes.CDLL(None).malloc_trim(0)
            self._sealed = None
        return sealed

    def _seal(self) -> bool:
        """A seal; one that has too little memory is done again with fewer rows: the journal has them all."""
        try:
            return self.sealer.seal()
        except MemoryError:
            rows = self.sealer.take_less()
            if rows is None:
                raise
            log(f"{NOTICE}sealing: too little memory: goes on with {rows} rows at once; {MORE_MEMORY}")
        ctypes.CDLL(None).malloc_trim(0)
        return True

    def _retain(self) -> None:
        cut = self.sealer.retain()
        if cut is not None:
            log(f"{NOTICE}retention: removed what had ended before {rfc3339(cut.before)} ({cut.reason})")

    def reopen(self) -> None:
        """Nothing is held open."""

    def stop(self) -> None:
        """Nothing is left to save."""

    def close(self) -> None:
        """Nothing is held open."""
