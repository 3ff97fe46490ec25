"""The keeper's children: capture and follow, which live as long as it does, and one-shot helpers.

No child outlives the keeper: without it nothing guards the sockets in hold, and another daemon may start. So each is
killed by the kernel when the keeper dies, and loses at most what was not flushed.

Refuses to wait: a child's end is told by SIGCHLD, through `reap`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence

from anetcon.keeper import capabilities
from anetcon.keeper import syscalls as sc
from anetcon.keeper.clock import now_us
from anetcon.keeper.loop import Loop, Timer
from anetcon.keeper.report import ERROR, WARNING, debug, said

STOP_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
LONG_LIFE = 10.0
"""A child that lived this long (s) is started again at once; one that dies earlier, after a growing pause."""

WITHHELD = frozenset({signal.SIGTERM, signal.SIGHUP})
"""What a child that runs for long is signalled by. Until it can take them they wait: before that they would end it."""

Ended = Callable[[int], None]


def spawn(
    arguments: list[str],
    keep: Sequence[int] = (),
    stdin: int | None = None,
    stdout: int | None = None,
    before: Callable[[], object] | None = None,
    held: Collection[signal.Signals] = (),
    capable: Collection[int] = (),
) -> int:
    """Start a program that inherits the descriptors `keep` and dies with us; its pid. `before` runs in the child, which
    begins with the signals `held` blocked, and has no capabilities but those it is to be `capable` of."""
    ours = os.getpid()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)  # the keeper would take what comes until the program runs for its own
        for number in WITHHELD:
            signal.signal(number, signal.SIG_DFL)
        sc.set_death_signal(signal.SIGKILL)
        if os.getppid() != ours:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # at a terminal Ctrl-C is for the keeper, which stops all in order
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # as is this, which `systemctl kill` sends to all
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        for wanted, standard in ((stdin, 0), (stdout, 1)):
            if wanted is not None:
                os.dup2(wanted, standard)
        if before is not None:
            before()
        capabilities.hold(capable)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.execvp(arguments[0], arguments)  # noqa: S606  (a shell is what we do not want)
    except OSError as error:
        say(f"{ERROR}cannot start {arguments[0]}: {error.strerror}")
    finally:
        os._exit(127)


def hasten(name: str, priority: int, other: str) -> None:
    """In the child: have it come before other processes. `other` is what would let it without a capability."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, priority)
    except PermissionError:
        say(f"{WARNING}{name} does not come before other processes; give its unit {other}, or the daemon CAP_SYS_NICE")


def say(what: str) -> None:
    """In the child, before it is the program."""
    os.write(2, f"{said('anetcon-keeper', what)}\n".encode())


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

    def __init__(self, loop: Loop, reaper: Reaper, name: str, launch: Callable[[], int], report: Callable[[str], None]):
        self.pid: int | None = None
        self.restarts = self.failed = 0
        """How often it was started again since it had ended by itself, and when it last had (us)."""
        self.name = name
        self._loop = loop
        self._reaper = reaper
        self._launch = launch
        self._report = report
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
            self._report(f"{ERROR}cannot start {self.name}: {error.strerror}")
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
        self._report(f"{WARNING}{self.name} did not end within {STOP_SECONDS:g} s and is killed")
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
            self._report(f"{ERROR}{self.name} ended with status {status}; starting it again in {self._pause:g} s")
            self.restarts, self.failed = self.restarts + 1, now_us()
        self._loop.after(self._pause, self._start_again)
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))

    def _start_again(self) -> None:
        if self._wanted:
            self.start()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter. `-P`: never one that lies in the folder it is started in,
    which may be anybody's."""
    return [sys.executable, "-P", "-m", module, *arguments]
