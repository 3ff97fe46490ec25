"""How long a new namespace lives before the daemon listens in it.

It begins when the namespace can be entered (its file is a mounted namespace) and ends when a socket in it is bound to
conntrack's groups: both are watched from outside, by asking without a pause.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from anetcon.testbed.bed import RUN_NETNS, Testbed, entered, remove, router_name
from anetcon.testbed.daemon import Daemon
from bench.report import Report
from tests.load.kernel import NETLINK_NETFILTER

NEW = 20
LIMIT = 50.0
"""Milliseconds."""


def covered(report: Report, counts: list[int]) -> None:
    """With so many other namespaces there already: NEW new ones, one after the other."""
    report.table("covered", [_with_others(count) for count in counts])
    for row in report.results["covered"]:
        slowest = row["slowest ms"]
        report.promise(
            slowest < LIMIT, f"covered: {slowest:.1f} ms at most with {row['others']} others, under {LIMIT:.0f}"
        )


def _with_others(others: int) -> dict[str, float | int]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        there = [bed.router_namespace().name for _ in range(others)]
        new = [router_name() for _ in range(NEW)]
        with Daemon(folder, there + new) as daemon:
            daemon.wait_attached(there)
            times = sorted(1000 * _one(name) for name in new)
    return {
        "others": others,
        "new": NEW,
        "fastest ms": times[0],
        "median ms": statistics.median(times),
        "slowest ms": times[-1],
    }


def _one(name: str) -> float:
    """Seconds from there to covered."""
    path = RUN_NETNS / name
    kind = os.stat("/proc/self/ns/net").st_dev  # noqa: PTH116 - asked without a pause
    making = subprocess.Popen(["ip", "netns", "add", name])
    try:
        while not path.exists() or path.stat().st_dev != kind:
            pass
        began = time.perf_counter()
        with entered(path):
            while not _listened_to():
                pass
        return time.perf_counter() - began
    finally:
        making.wait()
        remove(name)


def _listened_to() -> bool:
    rows = [row.split() for row in Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]]
    return any(int(row[1]) == NETLINK_NETFILTER and int(row[3], 16) for row in rows)
