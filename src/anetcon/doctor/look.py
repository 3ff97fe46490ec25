"""Everything the checks want to know of one namespace, read in one visit. Changes nothing there.

No group of events is joined, since the kernel's default is to make events as soon as somebody listens. Where conntrack
is not loaded nothing is asked of it: asking would load it. What cannot be read is in `failed`, by what it was.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from anetcon.doctor import ruleset
from anetcon.doctor.ruleset import NamespaceRules
from anetcon.netlink.ct_sysctls import SYSCTLS
from anetcon.rules import programs
from anetcon.system import syscalls as sc
from anetcon.system.netns import Home

T = TypeVar("T")

EMPTY = NamespaceRules()
NETFILTER = Path("/proc/sys/net/netfilter")
NET = Path("/proc/thread-self/net")
NUMBERS = ("nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_buckets")
LIBERAL, LOOSE = "nf_conntrack_tcp_be_liberal", "nf_conntrack_tcp_loose"
LEGACY = {"ip": ("ip_tables_names", "iptables-legacy-save"), "ip6": ("ip6_tables_names", "ip6tables-legacy-save")}
PATIENCE = 5.0


@dataclass(frozen=True)
class NetlinkSocket:
    """A line of /proc/net/netlink. `groups` has bit n for group n + 1; `waiting` are bytes not read yet."""

    protocol: int
    port: int
    groups: int
    waiting: int
    drops: int
    inode: int


@dataclass
class NamespaceLook:
    """A namespace as it was found. `path` None: where this program was started. `audited`: the settings select it."""

    netns: str
    path: Path | None
    audited: bool = True
    inode: int = 0
    sysctls: dict[str, str] = field(default_factory=dict)
    forwards: bool = False
    """Whether it forwards packets of any family, and with `forwards6` those of IPv6."""
    forwards6: bool = False
    statistics: dict[str, int] = field(default_factory=dict)
    sockets: tuple[NetlinkSocket, ...] = ()
    rules: NamespaceRules = EMPTY
    legacy: dict[str, str] = field(default_factory=dict)
    """What iptables-legacy-save prints, by family, where iptables-legacy is in use."""
    failed: dict[str, str] = field(default_factory=dict)

    def number(self, name: str) -> int | None:
        """A sysctl as a number, None where there is none."""
        text = self.sysctls.get(name, "")
        return int(text) if text.isdecimal() else None


def netlink_sockets(text: str) -> tuple[NetlinkSocket, ...]:
    """The sockets of /proc/net/netlink; lines that cannot be read are left out."""
    found = []
    for line in text.splitlines()[1:]:
        cells = line.split()
        with contextlib.suppress(ValueError, IndexError):
            protocol, port, waiting, drops, inode = (int(cells[n]) for n in (1, 2, 4, 8, 9))
            found.append(NetlinkSocket(protocol, port, int(cells[3], 16), waiting, drops, inode))
    return tuple(found)


def visit(home: Home, look: NamespaceLook) -> NamespaceLook:
    """Enter the namespace, look at everything, come back."""
    try:
        with home.entered(look.path) as inode:
            look.inode = inode
            _fill(look)
    except OSError as error:
        look.failed["namespace"] = error.strerror or str(error)
    return look


def _fill(look: NamespaceLook) -> None:
    for name in (*SYSCTLS, *NUMBERS, LIBERAL, LOOSE):
        with contextlib.suppress(OSError):
            look.sysctls[name] = (NETFILTER / name).read_text().strip()
    with contextlib.suppress(OSError):
        look.forwards6 = Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text().strip() != "0"
    with contextlib.suppress(OSError):
        look.forwards = look.forwards6 or Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() != "0"
    look.sockets = _try(look, "listeners", lambda: netlink_sockets((NET / "netlink").read_text()), ())
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER) as asking:
        look.rules = _try(look, "rules", lambda: ruleset.read(asking), EMPTY)
    if SYSCTLS[0] in look.sysctls:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER) as asking:
            look.statistics = _try(look, "statistics", lambda: ruleset.statistics(asking), {})
    look.legacy = _try(look, "legacy rules", _legacy, {})


def _try(look: NamespaceLook, what: str, read: Callable[[], T], missing: T) -> T:
    try:
        return read()
    except (OSError, subprocess.SubprocessError) as error:
        look.failed[what] = (error.strerror if isinstance(error, OSError) else "") or str(error)
        return missing


def _legacy() -> dict[str, str]:
    """The rules of iptables-legacy, where it has any table."""
    found = {}
    for family, (names, program) in LEGACY.items():
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if (NET / names).read_text().split() and (path := programs.find(program)):
                done = subprocess.run([path], capture_output=True, text=True, timeout=PATIENCE, check=False)
                if done.returncode:
                    raise OSError(f"{program} failed: {done.stderr.strip()}")
                found[family] = done.stdout
    return found
