"""How long a namespace is without LOG rules: a new one, and one whose rules were wiped; what watching many costs.

The old program looked every PERIOD seconds, 30 as delivered: that long a wiped rule, or a new router, could go without.
Times are taken from outside, by asking for the ruleset without a pause, so they include one such question.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from anetcon.netlink.generation import RulesetWatch
from anetcon.testbed.bed import RUN_NETNS, Testbed, command, remove, router_name
from anetcon.testbed.daemon import Daemon
from bench.report import Report
from tests.load.kernel import log_all_netns

ENGINES = ("iptables-log", "nftables-log")
SEEDS_PERIOD = 30.0
NEW, WIPED = 20, 20
LOOKED_AT = 100
LOOK_LIMIT = 30.0
"""Microseconds: 1,000 namespaces every 30 s are then 0.1 % of a core."""


def repaired(report: Report, counts: list[int]) -> None:
    """With each engine: new namespaces, wiped rules, and many that are quiet."""
    with log_all_netns():
        report.table("rules", [_one(engine, max(counts)) for engine in ENGINES])
    for row in report.results["rules"]:
        engine, slowest = row["engine"], max(row["slowest new ms"], row["slowest repair ms"]) / 1000
        report.promise(slowest < 3, f"{engine}: rules are there {slowest:.2f} s at most after, PERIOD was 30 s")
    look = _look()
    report.promise(look < LOOK_LIMIT, f"looking at a quiet namespace every period costs {look:.1f} us")


def _one(engine: str, quiet: int) -> dict[str, float | int | str]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        there = [bed.router_namespace().name for _ in range(quiet)]
        new = [router_name() for _ in range(NEW)]
        with Daemon(folder, there + new, {"audit": {"engine": engine}}) as daemon:
            began = time.monotonic()
            daemon.wait_attached(there, seconds=120)
            starting = time.monotonic() - began
            made = sorted(_made(name) for name in new)
            wiped = sorted(_wiped(there[number % len(there)]) for number in range(WIPED))
            stopping = time.monotonic()
        stopping = time.monotonic() - stopping
    return {
        "engine": engine,
        "namespaces": quiet,
        "all attached s": starting,
        "median new ms": 1000 * statistics.median(made),
        "slowest new ms": 1000 * made[-1],
        "median repair ms": 1000 * statistics.median(wiped),
        "slowest repair ms": 1000 * wiped[-1],
        "all removed s": stopping,
    }


def _look() -> float:
    """Microseconds of CPU to ask one quiet namespace whether anything has changed."""
    with Testbed() as bed:
        watches = []
        for number in range(LOOKED_AT):
            with bed.namespace(f"quiet{number}").inside():
                watches.append(RulesetWatch())
        best = float("inf")
        for _ in range(20):
            began = time.process_time()
            for watch in watches:
                watch.generation()
            best = min(best, time.process_time() - began)
        for watch in watches:
            watch.close()
    return 1e6 * best / LOOKED_AT


def _made(name: str) -> float:
    """Seconds from a namespace's being there to rules in it."""
    making = subprocess.Popen(["ip", "netns", "add", name])
    try:
        making.wait()
        return _until(lambda: _has_rules(name))
    finally:
        remove(name)


def _wiped(name: str) -> float:
    """Seconds from a flush of everything to rules again."""
    command(["nsenter", f"--net={RUN_NETNS / name}", "nft", "flush", "ruleset"])
    return _until(lambda: _has_rules(name))


def _has_rules(name: str) -> bool:
    listed = command(["nsenter", f"--net={RUN_NETNS / name}", "nft", "list", "ruleset"])
    return listed.count("[ANETCON]") >= 2 and ("jump anetcon" in listed or "table inet anetcon" in listed)


def _until(condition: Callable[[], bool]) -> float:
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > SEEDS_PERIOD:
            raise AssertionError("no rules within the old program's period")
    return time.perf_counter() - began
