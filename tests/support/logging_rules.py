"""What tests of the LOG rules use: the rules as the readme shows them, as the programs print them, and kernel lines."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

from anetcon.testbed.bed import Namespace
from tests.support.waiting import wait_until

README = (
    '-A anetcon -p tcp -m tcp -m state --state NEW -m conntrack --ctstate DNAT -j LOG --log-prefix "{}[D]{} "',
    '-A anetcon -p tcp -m tcp -m state --state NEW -m conntrack ! --ctstate DNAT -j LOG --log-prefix "{}[X]{} "',
)
"""The two rules of the readme, with today's prefixes."""

JUMP = "-A POSTROUTING -j anetcon"


def hashed(name: str) -> str:
    """What stands for a namespace in the prefix."""
    return f"[{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]}]"


def readme(name: str, protocol: str = "-p tcp -m tcp ") -> list[str]:
    """The jump and the two rules a namespace is to have, all protocols with `protocol` empty."""
    rules = [rule.format("[ANETCON]", hashed(name)).replace("-p tcp -m tcp ", protocol) for rule in README]
    return [JUMP, *rules]


def nat(namespace: Namespace, variant: str = "nft", family: int = 4) -> list[str]:
    """Rules of POSTROUTING and of our chain, in their order, as `iptables -S` prints them."""
    tables = "iptables" if family == 4 else "ip6tables"
    printed = namespace.run(f"{tables}-{variant}-save", "-t", "nat").splitlines()
    return [line for line in printed if line.startswith(("-A POSTROUTING ", "-A anetcon "))]


def table(namespace: Namespace) -> list[str]:
    """Our nftables table as `nft -n list table` prints it; empty when it is not there."""
    printed = namespace.run("nft", "-n", "list", "ruleset").partition("table inet anetcon {\n")[2].partition("\n}")[0]
    return [line.strip() for line in printed.splitlines()]


def anything(namespace: Namespace) -> list[str]:
    """Every trace of ours in a namespace, whatever engine left it. Reading makes no table."""
    printed = namespace.run("nft", "list", "ruleset")
    for family in ("ip", "ip6"):
        if "nat" in namespace.run("cat", f"/proc/net/{family}_tables_names").split():
            printed += namespace.run(f"{family}tables-legacy-save", "-t", "nat")
    return [line for line in printed.splitlines() if "anetcon" in line.lower()]


class Kmsg:
    """The kernel's log from here on."""

    def __init__(self) -> None:
        self._descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self.lines: list[str] = []

    def read(self) -> list[str]:
        """Every line there is so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                with contextlib.suppress(BrokenPipeError):
                    self.lines.append(os.read(self._descriptor, 8192).decode(errors="replace").partition(";")[2])
        return self.lines

    def of(self, name: str, port: int) -> list[str]:
        """Those of a namespace about connections to a port."""
        return [line for line in self.read() if hashed(name) in line and re.search(rf"DPT={port} ", line)]


@contextlib.contextmanager
def kmsg() -> Iterator[Kmsg]:
    """Read the kernel's log inside the block."""
    opened = Kmsg()
    yield opened
    os.close(opened._descriptor)


def connect(namespace: Namespace, port: int, family: int = socket.AF_INET) -> None:
    """One datagram inside the namespace: a new connection."""
    with namespace.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1" if family == socket.AF_INET else "::1", port))


def wait_logged(log: Kmsg, namespace: Namespace, ports: Iterator[int], seconds: float = 3.0) -> int:
    """Make connections, a port each, until the kernel prints one; how many lines it has."""

    def made() -> int:
        port = next(ports)
        connect(namespace, port)
        begin = time.monotonic()
        while not log.of(namespace.name, port) and time.monotonic() < begin + 0.05:
            pass
        return len(log.of(namespace.name, port))

    return wait_until(made, seconds, f"a connection of {namespace.name} is logged")


def missing(heard: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The gaps of missing rules that capture was told of for a namespace, each as it was told last."""
    told = [gap for gap in heard if gap["cause"] == "rules-missing" and gap["netns"] == name]
    return list({gap["from"]: gap for gap in told}.values())
