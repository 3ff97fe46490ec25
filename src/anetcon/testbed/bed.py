"""Network namespaces that nobody else uses, and that are gone afterwards whatever happened.

Names say whose they are: `anet<owner>-<random>-<role>`, or for a router that must look like Neutron's a
`qrouter-<uuid>` whose last group is the owner: a process id, and in which PID namespace it is one, since containers may
share /run/netns. `sweep` removes those whose process is dead, as far as we see such processes. Programs it ends only in
namespaces that a testbed made: a name can be one for the machine's own (`ip netns attach`), where all of it runs.

Programs are started from a thread that has entered the network namespace alone. `ip netns exec` is not used: it gives
its child private mounts, which see other namespaces late and keep them from others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from anetcon.errors import AnetconError, PermissionMissingError, ProgramMissingError

RUN_NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
PATIENCE = 5.0
"""Seconds a program has between SIGTERM and SIGKILL."""

_OWNED = re.compile(
    r"(?:anet(?=[0-9a-f]{12}-)|qrouter-a4e7c049-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-(?=[0-9a-f]{12}$))"
    r"(?P<space>[0-9a-f]{6})(?P<pid>[0-9a-f]{6})"
)
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def entered(path: Path) -> Iterator[None]:
    """Inside the block the calling thread, what it opens and what it starts are in another network namespace.

    The way back is opened first, so that the thread cannot be stranded.
    """
    with Path("/proc/thread-self/ns/net").open("rb") as home, path.open("rb") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def command(args: list[str], text: str = "") -> str:
    """Run a program to its end, giving it `text`; its output. AnetconError with what it said when it fails."""
    try:
        done = subprocess.run(args, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ProgramMissingError(f"{args[0]} is not installed: install iproute2, iptables and nftables") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise AnetconError(f"`{' '.join(args)}` failed with status {done.returncode}: {said}")
    return done.stdout


class Namespace:
    """One network namespace, made at once. `close` ends what was started in it and removes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = RUN_NETNS / name
        self._children: list[subprocess.Popen[Any]] = []
        command(["ip", "netns", "add", name])

    def inside(self) -> contextlib.AbstractContextManager[None]:
        """Enter it with the calling thread: see `entered`."""
        return entered(self.path)

    def run(self, *args: str, text: str = "") -> str:
        """Run a program in it to its end; its output."""
        with self.inside():
            return command(list(args), text)

    def start(self, *args: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a program in it that `close` will end; `options` as for Popen."""
        with self.inside():
            child = subprocess.Popen(list(args), **options)
        self._children.append(child)
        return child

    def socket(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        """A socket that lives in it."""
        with self.inside():
            return socket.socket(family, kind, proto)

    def sysctl(self, **values: object) -> None:
        """Set kernel parameters below /proc/sys/net; a double underscore in a name stands for the slash."""
        with self.inside():
            for name, value in values.items():
                Path("/proc/sys/net", *name.split("__")).write_text(str(value))

    @property
    def inode(self) -> int:
        """What tells two namespaces of one name apart."""
        return self.path.stat().st_ino

    def close(self) -> None:
        """End what was started here, then remove the namespace; does nothing the second time."""
        for child in self._children:
            end(child)
        self._children.clear()
        remove(self.name)


def end(child: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL when that was not enough."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def remove(name: str) -> None:
    """Delete a namespace if it is there."""
    with contextlib.suppress(AnetconError):
        command(["ip", "netns", "del", name])


def sweep() -> list[str]:
    """Remove what processes that are dead now left behind, programs included; the names of it."""
    if not RUN_NETNS.is_dir():
        return []
    names = [path.name for path in RUN_NETNS.iterdir()]
    left = [name for name in names if _is_orphan(name)]
    others = (RUN_NETNS / name for name in names if name not in left)
    spared = {_which(path) for path in (*others, Path("/proc/self/ns/net"), Path("/proc/1/ns/net"))}
    for name in left:
        with contextlib.suppress(AnetconError):
            if _which(RUN_NETNS / name) not in spared:
                for pid in command(["ip", "netns", "pids", name]).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
        remove(name)
    return left


def _which(path: Path) -> tuple[int, int] | None:
    """What two names of one namespace have in common; None for one that has gone meanwhile or that we may not see."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _is_orphan(name: str) -> bool:
    match = _OWNED.match(name)
    if match is None:
        return False
    return match["space"] == owner(0)[:6] and not Path("/proc", str(int(match["pid"], 16))).exists()


def owner(pid: int | None = None) -> str:
    """What names say of a process of our PID namespace, without one of ourselves: 12 hexadecimal digits, the last 24
    bits of that namespace's inode and the process id (which has at most 22, proc(5))."""
    space = Path("/proc/self/ns/pid").stat().st_ino & 0xFFFFFF
    return f"{space:06x}{os.getpid() if pid is None else pid:06x}"


class Testbed:
    """Everything one demo, test or benchmark builds. Leaving the block removes it, SIGTERM included.

    Refuses to begin without root, in one sentence.
    """

    __test__ = False  # pytest takes the name for a test class otherwise

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._id = f"anet{owner()}-{secrets.token_hex(2)}"
        self._previous: Any = None

    def namespace(self, role: str) -> Namespace:
        """A namespace named after its role."""
        return self._add(f"{self._id}-{role}")

    def router_namespace(self, name: str | None = None) -> Namespace:
        """A namespace that looks like one of Neutron's routers; `name` brings an earlier one back."""
        return self._add(name or router_name())

    def _add(self, name: str) -> Namespace:
        self._stack.callback(remove, name)
        namespace = Namespace(name)
        self._stack.callback(namespace.close)
        return namespace

    def __enter__(self) -> Testbed:
        if os.geteuid():
            raise PermissionMissingError("making network namespaces needs root: run it with sudo")
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            self._previous = signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None


def router_name() -> str:
    """A fresh `qrouter-<uuid>` that says which process it belongs to."""
    random = secrets.token_hex(5)
    return f"qrouter-a4e7c049-{random[:4]}-4{random[4:7]}-8{random[7:]}-{owner()}"


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
