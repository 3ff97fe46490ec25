"""What the process gives up before it reads anything: every capability, and root where it can.

As root: becomes the user `anetcon` if there is one and the store is its own; else it stays user 0, without a single
capability (so that it may do what the owner of the store's files may, and nothing else). As any other user: drops
what capabilities it has. Either way nothing it might execute could gain any (no_new_privs). Group `adm` is kept, so
that files can be given to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
from pathlib import Path

from anetcon.keeper.syscalls import clear_ambient, set_death_signal
from anetcon.store import layout

USER = "anetcon"

# prctl.h, capability.h
PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


def drop(store: Path) -> None:
    """Give up what is not needed to read the journal of `store` and to write beside it. Raises OSError."""
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # a root that may not, as in a container, stays what it is
            _become_owner(store)
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    clear_ambient()
    if not _capable():  # under the unit it was started without any, and capset is forbidden there
        return
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)()))


def _become_owner(store: Path) -> None:
    group = layout.group()
    os.setgroups([] if group is None else [group])
    user = _owner(store)
    if user is not None:
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        set_death_signal(signal.SIGKILL)  # the kernel forgets it with the change of user


def _owner(store: Path) -> pwd.struct_passwd | None:
    try:
        user = pwd.getpwnam(USER)
        return user if store.stat().st_uid == user.pw_uid else None
    except (KeyError, OSError):
        return None


def _capable() -> bool:
    """Whether there is a capability that this process has or may take. What it could only inherit (the unit leaves that
    set) is none: with no_new_privs a program that is executed gains nothing by it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return any(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
