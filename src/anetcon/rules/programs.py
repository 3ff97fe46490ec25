"""Running iptables and nft, and waiting for them: only children of the keeper may do that.

What a program says goes into memory files, so that no pipe can fill up. Refuses to guess: a program that is missing is
named with its package, and one that fails with what it said.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

FOLDERS = tuple(dict.fromkeys([*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/sbin"]))
LOCK_SECONDS = 5
"""How long iptables waits for the xtables lock."""

Moment = Callable[[], None]
"""Returns when it is time."""

_SAID_MOST = 300


class RulesError(Exception):
    """The rules cannot be read, written or removed: the message says why, for an operator."""


class MissingError(RulesError):
    """A program is not there."""


@functools.cache
def find(name: str) -> str | None:
    """Where a program is."""
    paths = (os.path.join(folder, name) for folder in FOLDERS)  # noqa: PTH118  (names, not files yet)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def run(arguments: list[str], text: str = "", moment: Moment | None = None) -> str:
    """Run a program to its end; what it printed. RulesError with what it said when it failed."""
    status, printed, said = _run(arguments, text, moment)
    if status:
        lines = [line for line in said.strip().splitlines() if line and not line.startswith("#")]
        why = " ".join(lines)[:_SAID_MOST] or "it said nothing"
        raise RulesError(f"`{os.path.basename(arguments[0])}` ended with status {status}: {why}")  # noqa: PTH119
    return printed


def nft(*arguments: str, text: str = "") -> str:
    """Run nft."""
    program = find("nft")
    if program is None:
        raise MissingError("nft is not there: install the package nftables")
    return run([program, *arguments], text)


def save(family: int, variant: str) -> str:
    """What iptables-save prints of the nat table; `variant` is nft or legacy."""
    return run([xtables(family, variant, "save"), "-t", "nat"])


def restore(family: int, variant: str, text: str, moment: Moment | None = None) -> None:
    """One write to the nat table; legacy waits for the xtables lock.

    With a `moment` the program is started, and told what to write only when that returns: 2 ms later it is done.
    """
    run([xtables(family, variant, "restore"), "--noflush", "-w", str(LOCK_SECONDS)], text, moment)


@functools.cache
def xtables(family: int, variant: str, job: str) -> str:
    """The program of iptables (4) or ip6tables (6) for a job; the one without a variant in its name where it fits."""
    tables = "iptables" if family == 4 else "ip6tables"
    path = find(f"{tables}-{variant}-{job}")
    if path is None and (plain := find(f"{tables}-{job}")) is not None:
        path = plain if _variant(plain) == variant else None
    if path is None:
        raise MissingError(f"{tables}-{variant}-{job} is not there: install the package iptables")
    return path


def _variant(path: str) -> str:
    _, printed, _ = _run([path, "-V"])
    return "nft" if "nf_tables" in printed else "legacy"


def _run(arguments: list[str], text: str = "", moment: Moment | None = None) -> tuple[int, str, str]:
    files = [os.memfd_create(f"anetcon-{name}") for name in ("in", "out", "err")]
    late, early = (-1, -1) if moment is None else os.pipe2(os.O_CLOEXEC)
    try:
        content = text.encode(errors="surrogateescape")
        os.write(files[0], content)
        os.lseek(files[0], 0, os.SEEK_SET)
        standard = [files[0] if moment is None else late, *files[1:]]
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(standard)]
        environment = {**os.environ, "LC_ALL": "C"}
        pid = os.posix_spawn(
            arguments[0], arguments, environment, file_actions=actions, setsigdef=[signal.SIGINT, signal.SIGTERM]
        )
        if moment is not None:
            moment()
            os.write(early, content)
            os.close(early)
            early = -1
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), _content(files[1]), _content(files[2])
    except OSError as error:
        raise RulesError(f"cannot run {arguments[0]}: {error.strerror}") from None
    finally:
        for descriptor in (*files, late, early):
            if descriptor >= 0:
                os.close(descriptor)


def _content(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="surrogateescape")


def names_nat(family: int) -> bool:
    """Whether iptables-legacy has a nat table in the namespace we are in. Reading this makes none."""
    path = Path("/proc/thread-self/net", "ip_tables_names" if family == 4 else "ip6_tables_names")
    try:
        return "nat" in path.read_text().split()
    except FileNotFoundError:
        return False
    except PermissionError:
        raise RulesError(f"{path.name} cannot be read: run the daemon as root or in group root") from None
