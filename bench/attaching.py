"""What attaching namespaces costs the keeper: time of its own in Python, apart from what the kernel takes.

The daemon begins with none of them, and a reload tells it to audit them all, so that its start is not counted. Twice
as many are to cost twice as much.
"""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path

from anetcon.testbed.bed import Testbed, owner
from anetcon.testbed.daemon import Daemon
from bench import measure
from bench.idle import RULES
from bench.report import Report

LIMIT = 0.5
"""Seconds that the keeper's own code may take for a thousand namespaces."""
FEW = 100
"""With fewer the clock's ticks (10 ms) say too little."""
PATIENCE = 120.0


def attaching(report: Report, counts: list[int]) -> None:
    """Measure with each number of namespaces."""
    report.table("attaching", [_with(count) for count in counts])
    for row in report.results["attaching"]:
        used, count = row["keeper s in Python"], row["namespaces"]
        limit = LIMIT * max(count, FEW) / 1000
        report.promise(used < limit, f"attaching: {used:.2f} s of Python for {count} namespaces, under {limit:.2f}")


def _with(count: int) -> dict[str, float | int]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        there = [bed.router_namespace() for _ in range(count)]
        for namespace in there:
            namespace.run("nft", "-f", "-", text=RULES)
        names = [namespace.name for namespace in there]
        with Daemon(folder, ["nothing"]) as daemon:
            before = measure.modes(daemon.process.pid)
            Daemon(folder, [f"qrouter-.*{owner()}"])  # one pattern for all, as on a router
            began = time.monotonic()
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_attached(names, PATIENCE)
            passed = time.monotonic() - began
            after = measure.modes(daemon.process.pid)
    return {
        "namespaces": count,
        "all attached after s": passed,
        "keeper s in Python": after.user - before.user,
        "keeper s in the kernel": after.system - before.system,
    }
