"""A capture that stands still is first continued, then replaced.

In hold a capture that is stopped loses nothing for as long as the guard finds room, so there is time: whoever stopped
it may continue it. But it keeps deleted namespaces alive, with their interfaces, so then there is less. Replacing it
costs what it had read and not flushed; its sockets wait in the keeper.

Time is counted in the keeper's own turns: when everything was stopped, or the machine slept, nothing was late. By the
same look whoever watches the keeper is told whether capture turns (`notify`). Refuses to touch a capture under a
debugger, or one that waits for a disk: no signal would end it, and it goes on by itself.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from anetcon.keeper.children import Child
from anetcon.system.report import WARNING, report

TICKS_A_SECOND = 10
STILL, STILL_RELEASING, STILL_STARTING = 10 * TICKS_A_SECOND, 2 * TICKS_A_SECOND, 30 * TICKS_A_SECOND
"""Turns without progress until it is continued: as a rule; while namespaces wait for it; before it ever turned.

The longest seen on a busy machine was 1.9 s, both as a rule and before the first turn: docs/explanation/unit.md."""

THEN = 2
"""After so many times as long it is killed."""


class Watchdog:
    """Watches `progress`, which goes up while capture's loop turns. `tick` is to be called ten times a second."""

    def __init__(self, capture: Child, progress: Callable[[], int]) -> None:
        self._capture = capture
        self._progress = progress
        self._seen: tuple[int | None, int] = (None, 0)
        self._still = 0
        self._continued = self._spared = False

    def tick(self, works: bool, releasing: bool) -> bool:
        """Look once. `works`: it has begun to turn; `releasing`: namespaces that are gone wait for it to let go.

        Whether it turned since the last look, or is left alone because nothing done to it would help."""
        seen = self._capture.pid, self._progress()
        turned = seen[1] != self._seen[1]
        if seen != self._seen or self._capture.pid is None or self._capture.ending:
            self._seen, self._still, self._continued, self._spared = seen, 0, False, False
            return turned
        self._still += 1
        patience = STILL_STARTING if not works else STILL_RELEASING if releasing else STILL
        if self._still < patience:
            return False
        if not self._may_be_touched(self._capture.pid):
            return True
        if not self._continued:
            self._continued = True
            self._say("it is continued, in case it was stopped")
            self._capture.signal(signal.SIGCONT)
        elif self._still >= THEN * patience:
            self._say("it is killed; another goes on with its sockets")
            self._capture.signal(signal.SIGKILL)
            self._still = 0
        return False

    def _may_be_touched(self, pid: int) -> bool:
        state, tracer = _state(pid)
        spared = tracer != "0" or state == "D"
        if spared and not self._spared:
            self._say("it is debugged and left alone" if tracer != "0" else "it waits for a disk")
        self._spared = spared
        return not spared

    def _say(self, what: str) -> None:
        report(f"{WARNING}{self._capture.name} has not moved for {self._still / TICKS_A_SECOND:g} s: {what}")


def _state(pid: int) -> tuple[str, str]:
    """What a process is doing, by the kernel's letter, and who debugs it (0: nobody)."""
    try:
        said = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()[:12])
    except (OSError, ValueError):
        return "?", "0"
    return said.get("State", "?")[:1], said.get("TracerPid", "0")
