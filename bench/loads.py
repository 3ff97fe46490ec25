"""What is made: a load knows its routers, makes its connections, and says exactly which they were."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import Router, World
from tests.load import kernel
from tests.load.flood import Flood
from tests.load.lives import KINDS, widened
from tests.load.mixed import Mixed
from tests.load.packets import TCP

ROUTERS = 20
STEP = 200
"""Connections of a paced flood that are made at once."""
PRIORITY = -10
"""Of the load and of those who listen to it. A router's traffic does not wait for its listeners either."""

Columns = dict[str, NDArray[Any]]
KEY = ("proto", "src_ip", "src_port", "dst_ip", "dst_port")
TRANSLATED = ("nat_src_ip", "nat_src_port", "nat_dst_ip", "nat_dst_port")


@dataclass(frozen=True)
class Made:
    """What a load made: how many, in how long, which; `translated` says whether the columns of TRANSLATED are known."""

    count: int
    seconds: float
    columns: Columns
    translated: bool


class Load:
    """`connections` through routers of a testbed: a flood at `rate` a second, or as fast as can be. `make` once."""

    def __init__(self, name: str, bed: Testbed, connections: int, rate: float | None = None) -> None:
        world = World(bed)
        self.name = name
        self._rate = rate
        self._flood: Flood | None = None
        self._mixed: Mixed | None = None
        if name == "flood":
            self.routers = [Router(world, plain=True)]
            self._flood = Flood(self.routers[0], connections)
        else:
            self.routers = [Router(world, floating=[0]) for _ in range(ROUTERS)]
            self._mixed = Mixed(self.routers, connections)

    def make(self) -> Made:
        """Make the connections, all of them, and see that conntrack refused none."""
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)  # of this thread, and of those it starts
        try:
            made = self._make_flood(self._flood) if self._flood else self._make_mixed()
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, before)
        refused = kernel.failures([router.namespace for router in self.routers])
        if refused:
            raise RuntimeError(f"conntrack refused some: {refused}; the count is not exact, run it again")
        return made

    def _make_flood(self, flood: Flood) -> Made:
        with flood:
            seconds = flood.send() if self._rate is None else _paced(flood, self._rate)
            columns: Columns = {
                "proto": np.full(len(flood), TCP, np.uint8),
                "src_ip": widened(flood.truth.src_ip),
                "src_port": flood.truth.src_port,
                "dst_ip": widened(flood.truth.dst_ip),
                "dst_port": flood.truth.dst_port,
            }
            return Made(flood.made(), seconds, columns, False)

    def _make_mixed(self) -> Made:
        assert self._mixed is not None
        with self._mixed as mixed:
            seconds = mixed.send()
            columns = {name: getattr(mixed.truth, name)[mixed.truth.seen] for name in (*KEY, *TRANSLATED)}
            columns["kind"] = np.array([kind.name for kind in KINDS])[mixed.truth.kind[mixed.truth.seen]]
            return Made(int(mixed.truth.seen.sum()), seconds, columns, True)


def _paced(flood: Flood, rate: float) -> float:
    """Send a flood a piece at a time; the seconds it took."""
    began = time.monotonic()
    for first in range(0, len(flood), STEP):
        flood.send(first, min(first + STEP, len(flood)))
        time.sleep(max(0.0, first / rate - (time.monotonic() - began)))
    return time.monotonic() - began
