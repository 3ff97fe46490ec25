"""How long `anetcon doctor` takes over many routers, beside a running daemon: an operator in trouble waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from anetcon.testbed import neutron_rules
from anetcon.testbed.bed import Testbed
from anetcon.testbed.daemon import ANETCON, Daemon
from anetcon.testbed.neutron_rules import Ports
from bench.report import Report

LIMIT, SETTLE = 10.0, 3.0
"""Seconds."""
PORTS = Ports("qr-a4e7c049-01", "qg-a4e7c049-01")


def doctor(report: Report, counts: list[int]) -> None:
    """With each number of routers, all with Neutron's rules."""
    report.table("doctor", [_with(count) for count in counts])
    for row in report.results["doctor"]:
        took, count = row["seconds"], row["namespaces"]
        report.promise(took < LIMIT, f"doctor: {took:.1f} s for {count} namespaces, under {LIMIT:.0f}")


def _with(count: int) -> dict[str, float | int]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        namespaces = [bed.router_namespace() for _ in range(count)]
        for number, namespace in enumerate(namespaces):
            text = neutron_rules.ipv4(PORTS, "203.0.113.2", {f"203.0.113.{n}": f"10.1.0.{n}" for n in range(10, 20)})
            namespace.run("iptables-nft-restore", text=text)
            namespace.run("ip6tables-nft-restore", text=neutron_rules.ipv6(PORTS))
            if number % 10 == 0:
                namespace.run("nft", "add", "table", "inet", "anetcon")
        with Daemon(folder, [namespace.name for namespace in namespaces]) as daemon:
            daemon.wait_attached([namespace.name for namespace in namespaces], 60)
            time.sleep(SETTLE)
            began, before = time.monotonic(), os.times()
            words = [*ANETCON, "doctor", "-c", str(daemon.settings), "--format", "json"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            took, after = time.monotonic() - began, os.times()
        found = json.loads(done.stdout)["findings"]
    stale = {each["netns"] for each in found if each["check"] == "stale"} & {each.name for each in namespaces}
    assert len(stale) == (count + 9) // 10, f"found {len(stale)} of the tables left"
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"namespaces": count, "seconds": took, "CPU seconds": used, "checks": len(found)}
