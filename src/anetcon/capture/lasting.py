"""Gaps that last: begun with one row of the journal, ended with a second one that has `to`.

Which ones last now is kept in a small file beside the journal. A capture that crashed leaves it behind: the next one
ends what it lists at the last flush, from where on another gap (the daemon or capture was down) says the rest. A gap
that still lasts is begun anew, from that moment, since a row that was ended once cannot go on.

Refuses to fail for the file: without it a gap may seem to last longer than it did, which claims too little, never too
much.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from anetcon.gaps import Cause, Gap, Mark
from anetcon.system import ondisk

Tell = Callable[[Gap], None]

Key = tuple[str | None, Cause]
"""Namespace (None: all) and cause."""


class Lasting:
    """The gaps that last. Times in microseconds of wall clock."""

    def __init__(self, file: Path, tell: Tell, since: int) -> None:
        self._file = file
        self._tell = tell
        self._since = since
        self.left: set[Key] = set()
        """What lasted when the capture before this one wrote for the last time."""
        self._began: dict[Key, int] = {}
        self._saved: dict[Key, int] = {}

    def end_those_before(self, at: int) -> None:
        """End what lasted when the capture before this one wrote for the last time, at `at`."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            for netns, name, began in json.loads(self._file.read_bytes()):
                cause = Cause(name)
                self._saved[netns, cause] = began
                self.left.add((netns, cause))
                self._tell(Gap(netns, began, max(began, at), cause))

    def begin(self, netns: str | None, cause: Cause, start: int) -> None:
        """From `start` on, unless it lasts already."""
        if (netns, cause) not in self._began:
            self._began[netns, cause] = start = max(start, self._since)
            self._tell(Gap(netns, start, None, cause))

    def end(self, netns: str | None, cause: Cause, at: int, lost: int | None = None) -> bool:
        """Over, at `at`; whether it lasted."""
        began = self._began.pop((netns, cause), None)
        if began is not None:
            self._tell(Gap(netns, began, max(began, at), cause, lost))
        return began is not None

    def take(self, gap: Gap) -> None:
        """A gap that somebody else tells: one that begins, that ends, or that is over already."""
        if gap.end is None:
            self.begin(gap.netns, gap.cause, gap.start or 0)
        elif gap.lost is not None or not self.end(gap.netns, gap.cause, gap.end):
            self._tell(gap)

    def lasts(self, netns: str | None, cause: Cause) -> bool:
        """Whether it does now."""
        return (netns, cause) in self._began

    def end_local(self, netns: str, at: int) -> None:
        """A namespace is let go of, at `at`: what is a state of it is over."""
        for key in [key for key in self._began if key[0] == netns and Mark.LOCAL in key[1].marks]:
            self.end(*key, at)

    def end_all(self, at: int) -> None:
        """Everything is over, at `at`; but what outlasts capture, which the next one finds `left`."""
        for key in [key for key in self._began if Mark.OUTLASTS not in key[1].marks]:
            self.end(*key, at)

    def before_flush(self) -> None:
        """Write down what begins, before the journal tells of it: whatever is on record can be ended after a crash."""
        self._save(self._saved | self._began)

    def after_flush(self) -> None:
        """Forget what ended, once the journal has told of it."""
        self._save(self._began)

    def _save(self, lasting: dict[Key, int]) -> None:
        if self._saved == lasting:
            return
        with contextlib.suppress(OSError):
            ondisk.replace(self._file, json.dumps([[*key, began] for key, began in lasting.items()]).encode())
            self._saved = dict(lasting)
