"""Targets of iptables-legacy that may hide connections, read without a program: netlink does not show those rules.

Its table `raw` is the only one in which CT and NOTRACK can stand. It is asked for only where it is there already, since
asking would make it. What stands in it is told as it is: what it means, capture judges (`anetcon.netlink.hiding`).

Refuses to wait, and to keep anything of a namespace open: to look at one costs 0.1 ms, and the kernel tells of no
change, so the keeper looks in turn.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from anetcon.system import syscalls as sc
from anetcon.system.netns import Home

# linux/netfilter_ipv4/ip_tables.h and its twin for IPv6: the same numbers, other sizes
IPT_SO_GET_INFO = 64
IPT_SO_GET_ENTRIES = 65
SOL_IPV6 = 41
_INFO = struct.Struct("=32s I 5I 5I II")
_ASK = struct.Struct("=32sI4x")
_OFFSETS = struct.Struct("=HH")

# linux/netfilter/x_tables.h, xt_CT.h
_TARGET = struct.Struct("=H29sB")
_CT = struct.Struct("=HHI")

NAMES_SIZE = 4096
"""Bytes that the names of all tables have at most: there are five."""
TABLE = b"raw"
NAMES = (b"CT", b"NOTRACK")

FAMILIES = (
    ("ip", "ip_tables_names", socket.AF_INET, socket.SOL_IP, 88),
    ("ip6", "ip6_tables_names", socket.AF_INET6, SOL_IPV6, 140),
)
"""Family, file that names its tables, socket to ask, level, and where an entry says where its target is."""

Target = tuple[str, str, int, int]
"""Family, name, flags and events (of xt_ct_target_info; 0 for NOTRACK)."""


def there() -> bool:
    """Whether the kernel has iptables-legacy at all."""
    return any(Path("/proc/net", names).exists() for _, names, *_ in FAMILIES)


def targets(home: Home, path: Path | None, inode: int) -> list[Target]:
    """Each kind of target that a namespace has, once, in order. OSError when it cannot be asked."""
    found: set[Target] = set()
    with home.entered(path) as entered:
        if entered != inode:
            raise OSError("it is another namespace by now")
        for family, names, domain, level, offset in FAMILIES:
            if TABLE in _tables(names):
                with socket.socket(domain, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
                    found.update((family, *target) for target in parse(_entries(asking, level), offset))
    return sorted(found)


def _tables(names: str) -> list[bytes]:
    try:
        opened = os.open(f"/proc/self/net/{names}", os.O_RDONLY | os.O_CLOEXEC)  # half the cost of a Path and a file
    except FileNotFoundError:
        return []
    try:
        return os.read(opened, NAMES_SIZE).split()
    finally:
        os.close(opened)


def _entries(asking: socket.socket, level: int) -> bytes:
    """The whole table, as the kernel keeps it; OSError (EAGAIN) when it changed between the two questions."""
    info = sc.getsockopt(asking.fileno(), level, IPT_SO_GET_INFO, TABLE, _INFO.size)
    size = _INFO.unpack(info)[-1]
    asked = _ASK.pack(TABLE, size)
    return sc.getsockopt(asking.fileno(), level, IPT_SO_GET_ENTRIES, asked, _ASK.size + size)[_ASK.size :]


def parse(entries: bytes, offset: int) -> Iterator[tuple[str, int, int]]:
    """Name, flags and events of each target CT or NOTRACK; `offset` is where an entry tells its target's place. Stops
    at what is malformed."""
    position = 0
    while position + offset + _OFFSETS.size <= len(entries):
        target, following = _OFFSETS.unpack_from(entries, position + offset)
        place = position + target
        if following <= 0 or place + _TARGET.size > len(entries):
            return
        _, name, _ = _TARGET.unpack_from(entries, place)
        name = name.partition(b"\0")[0]
        if name in NAMES:
            whole = name == b"CT" and place + _TARGET.size + _CT.size <= len(entries)
            flags, _, events = _CT.unpack_from(entries, place + _TARGET.size) if whole else (0, 0, 0)
            yield name.decode(), flags, events
        position += following
