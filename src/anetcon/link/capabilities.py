"""The capabilities that an engine needs, by number (linux/capability.h): whether this process has them, and having no
others, whoever started it.

The unit gives them to a user who has nothing else. Root, by hand or in a container, becomes who owns the store, whose
files it writes, and gives up all other capabilities: what capture and follow might be made to do they could do to the
files of nobody else. Refuses to try what they are for: what is missing is said before anything fails for it.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from anetcon.errors import PermissionMissingError
from anetcon.link.engine_kinds import KINDS
from anetcon.system import syscalls as sc
from anetcon.system.privileges import KILL, NET_ADMIN, SYS_ADMIN, SYS_NICE, SYS_PTRACE, held, hold
from anetcon.system.readers import READERS

ALWAYS = {"CAP_NET_ADMIN": NET_ADMIN, "CAP_SYS_ADMIN": SYS_ADMIN}
LOG_SWITCH = Path("/proc/sys/net/netfilter/nf_log_all_netns")
"""It is in the machine's first network namespace, which cannot be entered from another without CAP_SYS_PTRACE."""

MOST_FILES = 65536
HASTE = {resource.RLIMIT_NICE: 40, resource.RLIMIT_RTPRIO: 1}
"""getrlimit(2): a niceness of -20, and the lowest priority of those in real time."""

FOR_RULES = {"CAP_NET_RAW": 13}
FOR_KERNEL_LOG = {"CAP_SYSLOG": 34}


def needed(engine: str) -> dict[str, int]:
    """All that an engine needs."""
    kind = KINDS[engine]
    return ALWAYS | (FOR_RULES if kind.rules else {}) | (FOR_KERNEL_LOG if kind.kernel_log else {})


def require(engine: str, process: str = "self") -> None:
    """Raise PermissionMissingError naming each capability that this process, or another, has not."""
    has = held(process, "CapEff")
    missing = [name for name, bit in needed(engine).items() if not has >> bit & 1]
    if missing:
        raise PermissionMissingError(
            f"the engine {engine} needs {' and '.join(missing)}: start the daemon as root, with that engine; its "
            "service gets them by `anetcon install`, which writes a drop-in for the engine that is configured"
        )


def become(store: Path, engine: str, *, replaced: bool = False) -> None:
    """Be who owns the store, with what the engine needs and nothing else. Raises PermissionMissingError.

    `replaced`: the children of the program before this one may be another user's, and are to be ended.
    """
    _raise_file_limit()
    sc.no_new_privileges()
    if os.geteuid() != 0:
        return  # what the unit gives, and what its administrator added
    wanted = {*needed(engine).values()}
    wanted |= set() if _may_hasten() else {SYS_NICE}
    wanted |= {SYS_PTRACE} if KINDS[engine].rules and not LOG_SWITCH.exists() else set()
    _join_readers()
    with contextlib.suppress(FileNotFoundError):  # what is made then is root's
        if owner := store.stat().st_uid:
            wanted |= {KILL} if replaced else set()
            _become(owner, store)
    hold(wanted)


def _may_hasten() -> bool:
    """Let children come before other processes without a capability, as the unit does; whether that could be done.
    Where it could not, the keeper keeps CAP_SYS_NICE for the moment in which it starts one."""
    try:
        for limit, value in HASTE.items():
            resource.setrlimit(limit, (value, value))
    except (ValueError, OSError):
        return False
    return True


def _raise_file_limit() -> None:
    """Four sockets a namespace, and as many again in capture: ask for what that takes, be content with less."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, MOST_FILES), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            continue
        return


def _join_readers() -> None:
    """Have whatever is created belong to the group of readers; that of root may read what iptables-legacy shows."""
    import grp

    with contextlib.suppress(KeyError, PermissionError):
        number = grp.getgrnam(READERS).gr_gid
        os.setgroups([0])
        os.setresgid(number, number, number)


def _become(user: int, store: Path) -> None:
    sc.keep_capabilities()
    try:
        os.setresuid(user, user, user)
    except PermissionError:
        raise PermissionMissingError(
            f"the store {store} belongs to user {user}, whom this root may not become: give it a store of its own, by "
            "--store, or the capabilities CAP_SETUID and CAP_SETGID"
        ) from None
    sc.set_dumpable()
