"""The keeper's children: capture and follow, which live as long as it does, and one-shot helpers.

No child outlives the keeper: without it nothing guards the sockets in hold, and another daemon may start. So each is
killed by the kernel when the keeper dies, and loses at most what was not flushed.

Refuses to wait: a child's end is told by SIGCHLD, through `reap`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from anetcon.keeper.loop import Loop, Timer
from anetcon.system.clock import now_us
from anetcon.system.report import ERROR, WARNING, debug, report

STOP_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
LONG_LIFE = 10.0
"""A child that lived this long (s) is started again at once; one that dies earlier, after a growing pause."""

Ended = Callable[[int], None]


class Reaper:
    """Who is told of which child's end."""

    def __init__(self, loop: Loop) -> None:
        self._told: dict[int, Ended] = {}
        loop.on_signal(signal.SIGCHLD, self.reap)

    def expect(self, pid: int, ended: Ended) -> None:
        """Call with the exit status (as of a shell: 128 + signal) when this child has ended."""
        self._told[pid] = ended

    def reap(self) -> None:
        """Collect every child that has ended."""
        while self._told:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            ended = self._told.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if ended is not None:
                ended(code if code >= 0 else 128 - code)


class Child:
    """A program that is kept running; `launch` starts it and returns its pid."""

    def __init__(self, loop: Loop, reaper: Reaper, name: str, launch: Callable[[], int], restarts: int = 0) -> None:
        self.pid: int | None = None
        self.restarts, self.failed = restarts, 0
        """How often it was started again since it had ended by itself, and when it last had (us)."""
        self.name = name
        self._loop = loop
        self._reaper = reaper
        self._launch = launch
        self._since = 0.0
        self._pause = 0.0
        self._wanted = True
        self._replacing = False
        self._ended: Callable[[], None] | None = None
        self._kill: Timer | None = None

    def start(self) -> None:
        """Start it now."""
        self._since = time.monotonic()
        try:
            self.pid = self._launch()
        except OSError as error:
            report(f"{ERROR}cannot start {self.name}: {error.strerror}")
            self._on_end(127)
        else:
            self._reaper.expect(self.pid, self._on_end)
            debug("%s is process %d", self.name, self.pid)

    def adopt(self, pid: int) -> None:
        """Take over the process that ran before this program was re-executed, and replace it."""
        self.pid = pid
        self._reaper.expect(pid, self._on_end)
        self.replace()

    @property
    def ending(self) -> bool:
        """Whether it was told to end, for good or to be replaced."""
        return self._replacing or not self._wanted

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def replace(self) -> None:
        """Have it end in order and start again."""
        if self.pid is not None and not self._replacing:
            self._replacing = True
            self._terminate()

    def stop(self, ended: Callable[[], None]) -> None:
        """Have it end in order and call `ended`; killed after STOP_SECONDS."""
        self._wanted = False
        self._ended = ended
        if self.pid is None:
            ended()
        elif not self._replacing:
            self._terminate()

    def _terminate(self) -> None:
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # one that was stopped cannot end
        self._kill = self._loop.after(STOP_SECONDS, self._out_of_time)

    def _out_of_time(self) -> None:
        report(f"{WARNING}{self.name} did not end within {STOP_SECONDS:g} s and is killed")
        self.signal(signal.SIGKILL)

    def _on_end(self, status: int) -> None:
        self.pid = None
        if self._kill is not None:
            self._kill.cancel()
        if not self._wanted:
            if self._ended is not None:
                self._ended()
            return
        if self._replacing:
            debug("%s ended with status %d, to be replaced", self.name, status)
            self._replacing, self._pause = False, 0.0
        else:
            if time.monotonic() - self._since >= LONG_LIFE:
                self._pause = 0.0
            report(f"{ERROR}{self.name} ended with status {status}; starting it again in {self._pause:g} s")
            self.restarts, self.failed = self.restarts + 1, now_us()
        self._loop.after(self._pause, self._start_again)
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))

    def _start_again(self) -> None:
        if self._wanted:
            self.start()
