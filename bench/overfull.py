"""A flood while the connection table stays over the guard's share, so that hold is left and never comes back.

The peer is the same daemon that never asks for starts: all the room there is goes to ends. With starts that are
switched on again and again no more ends may be lost than there.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import Router
from bench.loads import Load
from bench.programs import Anetcon, running
from bench.report import Report
from tests.load import kernel

SHARE, FILL = 0.02, 8000
"""The guard's share of the table (262,144 connections), and how many stay in it, which is more."""
RATE = 40_000
"""Connections a second: more than capture takes in with starts on two busy cores, fewer than without."""
LEFT = "events that capture has no room for are dropped"


class WithStarts(Anetcon):
    """It leaves hold as soon as its queue overflows."""

    name = "starts and ends"
    logs = False
    audit: Mapping[str, Any] = MappingProxyType({"guard_share": SHARE})


class EndsAlone(WithStarts):
    """Without starts."""

    name = "ends alone"
    audit: Mapping[str, Any] = MappingProxyType({"guard_share": SHARE, "record": ["end"]})


def overfull(report: Report, connections: int) -> None:
    """Both under the same flood: the table, and the promise."""
    rows = [_one(kind, connections) for kind in (WithStarts, EndsAlone)]
    report.table("overfull", rows)
    with_starts, alone = (row["ends lost"] for row in rows)
    report.promise(bool(rows[0]["left hold"]), "a flood over a full table: hold was left")
    report.promise(
        with_starts <= alone,
        f"a flood over a full table: {with_starts} ends lost, {alone} where no starts are asked for",
    )


def _one(kind: type[Anetcon], connections: int) -> dict[str, Any]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        load = Load("flood", bed, connections, RATE)
        _fill(load.routers[0])
        with running(kind, load, folder) as program:
            program.calm_down()
            made = load.make()
            program.settle()
            program.calm_down()
            assert isinstance(program, Anetcon)
            events = program.daemon.status()["totals"]["events"]
            program.stop()
            found = program.found(made)
            left = LEFT in program.daemon.said.read_text()
        return {
            "program": kind.name,
            "made/s": round(made.count / made.seconds),
            "made": made.count,
            "ends lost": made.count - (found.ended or 0),
            "starts": events - (found.ended or 0),
            "left hold": left,
        }


def _fill(router: Router) -> None:
    """Connections that nobody answers and that last."""
    router.namespace.sysctl(netfilter__nf_conntrack_udp_timeout=6000)
    with router.instances[0].namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(FILL):
            sender.sendto(b"x", ("198.51.100.251", 1 + number))
    assert kernel.count(router.namespace) >= FILL
