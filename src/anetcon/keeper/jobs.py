"""Errands in namespaces: work that has to wait for other programs, done by forked children that enter one namespace
after another, a few children at a time. What each visit found comes back at once, one line of JSON each.

Refuses to let a child hold on to anything of the keeper's: a socket's copy would keep its namespace alive. A child that
tells nothing for long is killed with whatever it has started; what it had left to do has failed.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from anetcon.keeper.children import Reaper
from anetcon.keeper.loop import Loop, Timer
from anetcon.rules.outcome import VisitOutcome
from anetcon.system import syscalls as sc
from anetcon.system.netns import Home

MOST_CHILDREN = 2
MOST_EACH = 16
STUCK_SECONDS = 30.0

Done = Callable[[VisitOutcome], None]


class Errand:
    """Something to do in a namespace (`path` None: the daemon's own), if it is still the one with this inode."""

    def __init__(self, path: Path | None, inode: int, work: Callable[[], VisitOutcome], done: Done) -> None:
        self.path = path
        self.inode = inode
        self.work = work
        self.done = done


class Errands:
    """What is to be done, and the children that do it."""

    def __init__(self, loop: Loop, reaper: Reaper, home: Home) -> None:
        self._most = MOST_CHILDREN
        self._loop = loop
        self._reaper = reaper
        self._home = home
        self._waiting: deque[Errand] = deque()
        self._children: set[_Child] = set()
        self._begin: Timer | None = None

    @property
    def busy(self) -> bool:
        """Whether anything is still to be done."""
        return bool(self._waiting or self._children)

    def hurry(self, most: int) -> None:
        """Have so many children at work at a time."""
        self._most = most

    def send(self, errand: Errand) -> None:
        """Have it done soon; those sent in one go share children."""
        self._waiting.append(errand)
        if self._begin is None:
            self._begin = self._loop.after(0, self._start)

    def _start(self) -> None:
        self._begin = None
        while self._waiting and len(self._children) < self._most:
            share = -(-len(self._waiting) // (self._most - len(self._children)))
            errands = [self._waiting.popleft() for _ in range(min(MOST_EACH, share))]
            try:
                self._children.add(_Child(self._loop, self._reaper, self._home, errands, self._ended))
            except OSError as error:
                for errand in errands:
                    errand.done(VisitOutcome(error=f"cannot start a process: {error.strerror}"))

    def _ended(self, child: _Child) -> None:
        self._children.discard(child)
        self._start()


class _Child:
    """One forked child with its list."""

    def __init__(
        self, loop: Loop, reaper: Reaper, home: Home, errands: list[Errand], ended: Callable[[_Child], None]
    ) -> None:
        self._loop = loop
        self._left = deque(errands)
        self._ended = ended
        self._buffer = b""
        self._pipe, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        keeper = os.getpid()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._pipe)
            os.close(write)
            raise
        if not self._pid:
            _be_child(keeper, home, errands, write)
        os.close(write)
        self._patience = loop.after(STUCK_SECONDS, self._stuck)
        self._alive = True
        loop.watch(self._pipe, self._on_pipe)
        reaper.expect(self._pid, self._on_end)

    def _on_pipe(self) -> None:
        try:
            data = os.read(self._pipe, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._loop.unwatch(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
            self._finish()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._patience.cancel()
            self._patience = self._loop.after(STUCK_SECONDS, self._stuck)
            self._left.popleft().done(VisitOutcome.of(line))

    def _on_end(self, _status: int) -> None:
        self._alive = False
        self._finish()

    def _finish(self) -> None:
        """Once it has ended and all it said is heard."""
        if self._alive or self._pipe >= 0:
            return
        self._patience.cancel()
        while self._left:
            self._left.popleft().done(VisitOutcome(error="the process that was to see to it ended before it had"))
        self._ended(self)

    def _stuck(self) -> None:
        if self._alive:
            os.killpg(self._pid, signal.SIGKILL)


def _be_child(keeper: int, home: Home, errands: list[Errand], pipe: int) -> None:
    """Do the errands, tell of each, and end."""
    try:
        os.setpgid(0, 0)
        sc.set_death_signal(signal.SIGKILL)
        if os.getppid() != keeper:
            return
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the keeper's, which `systemctl kill` sends to all
        _close_all_but(0, 1, 2, pipe, home.fileno())
        os.set_blocking(pipe, True)
        for errand in errands:
            os.write(pipe, _visit(home, errand).line() + b"\n")
    finally:
        if sys.exc_info()[0] is not None:  # a defect
            sys.excepthook(*sys.exc_info())
        os._exit(0)


def _visit(home: Home, errand: Errand) -> VisitOutcome:
    try:
        if home.enter(errand.path) != errand.inode:
            return VisitOutcome(gone=True)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):  # no file, or one that is no namespace any more
            return VisitOutcome(gone=True)
        return VisitOutcome(error=f"the namespace cannot be entered: {error.strerror}")
    return errand.work()


def _close_all_but(*kept: int) -> None:
    kept = tuple(sorted(kept))
    for before, after in zip(kept, (*kept[1:], os.sysconf("SC_OPEN_MAX")), strict=True):
        os.closerange(before + 1, after)
