"""The keeper's end of the daemon's own log: with a file everybody's standard error is a pipe that `anetcon-log` reads.

Both ends of the pipe stay open here, so that what was said waits for the next `anetcon-log` when one dies. The pipe
never blocks whoever writes: a disk that hangs costs lines of this log (anetcon.system.report counts them), nothing
else. Refuses to open the file.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable

from anetcon.keeper.children import Child, Reaper
from anetcon.keeper.handover import KeptChild
from anetcon.keeper.loop import Loop
from anetcon.system import syscalls as sc
from anetcon.system.process import WITHHELD, python, spawn

STDERR = 2
PIPE_BYTES = 1 << 20
LAST_SECONDS = 5.0
"""How long the last lines may take: a disk that hangs must not keep the daemon from ending."""

F_SETPIPE_SZ = 1031  # linux/fcntl.h


class OwnLog:
    """Standard error as it is, or the way to a file: `use` says which. `state` is that of the keeper before."""

    def __init__(self, loop: Loop, reaper: Reaper, state: KeptChild | None = None) -> None:
        self.path = ""
        self.writer = Child(loop, reaper, "anetcon-log", self._launch, state.restarts if state else 0)
        self._loop = loop
        self._file = ""
        self._pipe: tuple[int, int] | None = None
        self._stderr = STDERR
        self._adopted: int | None = None
        self._stopping = False
        if state:
            self.path = self._file = state.path
            *pipe, self._stderr = state.descriptors
            self._pipe = (pipe[0], pipe[1])
            self._adopted = state.pid
            for descriptor in self.descriptors():
                os.set_inheritable(descriptor, False)

    def descriptors(self) -> list[int]:
        """Both ends of the pipe, and standard error as it was at the start."""
        return [*self._pipe, self._stderr] if self._pipe else []

    def state(self) -> KeptChild | None:
        """What the program that replaces this one needs to know."""
        if not self.path:
            return None
        return KeptChild(self.descriptors(), self.writer.pid, self.writer.restarts, self.path)

    def use(self, path: str) -> None:
        """Whatever is said from now on goes to this file, or with "" to standard error as it was at the start.

        Children that run go on saying it where they did; and so the writer goes on, too, until the end.
        """
        before, self.path = self._file, path
        if not path:
            if self._pipe is not None:
                os.dup2(self._stderr, STDERR)
            return
        self._file = path
        if self._pipe is None:
            self._open()
        assert self._pipe is not None  # noqa: S101  (for the type checker)
        os.dup2(self._pipe[1], STDERR)
        if self._adopted is not None:
            self.writer.adopt(self._adopted)
            self._adopted = None
        elif not before:
            self.writer.start()
        elif before != path:
            self.writer.replace()

    def reopen(self) -> None:
        """The file was renamed."""
        self.writer.signal(signal.SIGHUP)

    def stop(self, ended: Callable[[], None]) -> None:
        """Have the last lines written, then call `ended`, once or twice; what is said later goes to standard error."""
        if self._stopping or self._pipe is None:
            ended()
            return
        self._stopping = True
        os.dup2(self._stderr, STDERR)
        self._loop.after(LAST_SECONDS, ended)
        self.writer.stop(ended)

    def _open(self) -> None:
        self._stderr = fcntl.fcntl(STDERR, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self._pipe[1], F_SETPIPE_SZ, PIPE_BYTES)
        except PermissionError:
            return  # it stays as large as it is

    def _launch(self) -> int:
        source, stderr = self.descriptors()[0], self._stderr
        arguments = python("anetcon.keeper.logfile", "--in", str(source), "--file", self._file)

        def outlive() -> None:
            """It is told of the keeper's death, not killed with it: the last lines say why."""
            os.dup2(stderr, STDERR)
            sc.set_death_signal(signal.SIGTERM)

        return spawn(arguments, keep=[source], before=outlive, held=WITHHELD)
