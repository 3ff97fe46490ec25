"""Starting a program as a child of ours, which dies with us and holds what it needs alone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence

from anetcon.system import privileges
from anetcon.system import syscalls as sc
from anetcon.system.report import ERROR, WARNING, said

WITHHELD = frozenset({signal.SIGTERM, signal.SIGHUP})
"""What a child that runs for long is signalled by. Until it can take them they wait: before that they would end it."""


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
        privileges.hold(capable)
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


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter. `-P`: never one that lies in the folder it is started in,
    which may be anybody's."""
    return [sys.executable, "-P", "-m", module, *arguments]
