"""System calls and kernel constants that Python 3.11 lacks: setns, unshare, prctl, inotify, getsockopt.

Constants keep the kernel's names. Refuses to hide a failure: every call raises OSError.
"""

from __future__ import annotations

import ctypes
import os

# sched.h
CLONE_NEWNET = 0x40000000

# prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

# capability.h
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

# inotify.h
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
IN_DELETE_SELF = 0x00000400
IN_MOVE_SELF = 0x00000800
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000
IN_ONLYDIR = 0x01000000

# asm-generic/socket.h
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55

# netlink.h
SOL_NETLINK = 270
NETLINK_NETFILTER = 12
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_DROP_MEMBERSHIP = 2
NETLINK_BROADCAST_ERROR = 4
NETLINK_NO_ENOBUFS = 5
NETLINK_GET_STRICT_CHK = 12

# nfnetlink_compat.h, nfnetlink.h: numbers of the groups
NFNLGRP_CONNTRACK_NEW = 1
NFNLGRP_CONNTRACK_DESTROY = 3
NFNLGRP_NFTABLES = 7

# rtnetlink.h: numbers of the groups
RTNLGRP_LINK = 1
RTNLGRP_NEIGH = 3
RTNLGRP_IPV4_IFADDR = 5
RTNLGRP_IPV4_ROUTE = 7
RTNLGRP_IPV6_IFADDR = 9
RTNLGRP_IPV6_ROUTE = 11
RTNLGRP_NEXTHOP = 32

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def getsockopt(descriptor: int, level: int, option: int, value: bytes, size: int) -> bytes:
    """getsockopt(2) for options that read `value` too (Python's own passes nothing in); at most `size` bytes."""
    buffer = ctypes.create_string_buffer(value, size)
    length = ctypes.c_uint32(size)
    _checked(_libc.getsockopt(descriptor, level, option, buffer, ctypes.byref(length)))
    return buffer.raw[: length.value]


def setns(descriptor: int, kind: int) -> None:
    """Move this thread into the namespace behind `descriptor`."""
    _checked(_libc.setns(descriptor, kind))


def unshare(kind: int) -> None:
    """Give this thread a new namespace of its own."""
    _checked(_libc.unshare(kind))


def set_name(name: str) -> None:
    """Name this process for `ps` (15 bytes)."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0))


def set_death_signal(number: int) -> None:
    """Have this process signalled when its parent dies."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0))


def no_new_privileges() -> None:
    """Have no program that this process executes gain anything by it."""
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def keep_capabilities() -> None:
    """Have those that are permitted survive the next change of user."""
    _checked(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))


def set_dumpable() -> None:
    """Have the files of this process in /proc be its own, which a change of user ends."""
    _checked(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))


def clear_ambient() -> None:
    """Have no program that this process executes inherit a capability, unless it is root's."""
    _checked(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))


def raise_ambient(capability: int) -> None:
    """Have every program that this process executes inherit one that is permitted and inheritable."""
    _checked(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def capset(mask: int) -> None:
    """Be permitted these capabilities alone; all of them count at once, and can be inherited."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, low, high, high, high)))


def inotify_init() -> int:
    """A new inotify descriptor, non-blocking, closed on exec."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """Watch `path`; returns the number of the watch."""
    return _checked(_libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(mask)))


def inotify_remove_watch(descriptor: int, watch: int) -> None:
    """End a watch. One that the kernel ended already is an OSError."""
    _checked(_libc.inotify_rm_watch(descriptor, watch))
