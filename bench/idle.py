"""What the daemon costs while nothing happens: memory and CPU, with few and with many namespaces.

Memory is the proportional set size: what would be free without it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from anetcon.testbed.bed import Testbed
from anetcon.testbed.daemon import Daemon
from bench import measure
from bench.report import Report

RULES = "table ip nat {\n chain postrouting {\n type nat hook postrouting priority 100\n masquerade\n }\n}\n"
SETTLE, SETTLE_EACH, MEASURED = 5.0, 0.03, 20.0
"""Seconds; the second is for each namespace, since they are looked into a few at a time."""
KEEPER_LIMIT = 1.0
"""Percent of a core that the keeper may use with a thousand namespaces."""


def idle(report: Report, counts: list[int]) -> None:
    """Measure with each number of namespaces."""
    report.table("idle", [_with(count) for count in counts])
    for row in report.results["idle"]:
        used, count = row["keeper % of a core"], row["namespaces"]
        report.promise(used < KEEPER_LIMIT, f"idle: the keeper uses {used:.2f} % of a core with {count} namespaces")


def _with(count: int) -> dict[str, float | int]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        namespaces = [bed.router_namespace() for _ in range(count)]
        for namespace in namespaces:
            namespace.run("nft", "-f", "-", text=RULES)
        with Daemon(folder, [namespace.name for namespace in namespaces]) as daemon:
            daemon.wait_attached([namespace.name for namespace in namespaces])
            time.sleep(SETTLE + SETTLE_EACH * count)
            before = measure.cpu_by_name([daemon.process.pid])
            began = time.monotonic()
            time.sleep(MEASURED)
            after = measure.cpu_by_name([daemon.process.pid])
            passed = time.monotonic() - began
            memory = measure.memory([daemon.process.pid])
    share = {name: 100 * (seconds - before.get(name, 0.0)) / passed for name, seconds in after.items()}
    return {
        "namespaces": count,
        "MB": memory / 1e6,
        "% of a core": sum(share.values()),
        **{f"{short} % of a core": share.get(f"anetcon-{short}", 0.0) for short in ("keeper", "capture", "follow")},
    }
