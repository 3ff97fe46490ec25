"""A flood: TCP connections through one router's SNAT, each of a new 5-tuple, each answered by a reset, as fast as the
machine makes them.

SYNs are prepared before and sent on the instances' side past everything that costs time; the world's link answers each
by a reset as it arrives, before any IP stack. For conntrack this is a connection that began, was translated and
was reset; its table stays empty.

The count is exact: a SYN reaches the world only after conntrack has confirmed its connection, no two are alike, and
the world's link counts them.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anetcon.testbed.topology import Router
from tests.load import kernel, packets
from tests.load.wire import Batch, Wire

SENDERS = 2
PORTS = 60_000
"""Source ports used of each address."""
SERVICES = (22, 23, 80, 443, 445, 3389, 8080)

_RESPONDER = """
table netdev responder {
  counter syns { }
  chain ingress {
    type filter hook ingress device "%s" priority 0;
    tcp flags syn counter name syns reject with tcp reset
  }
}
"""
_SINK = """
table netdev sink {
  chain ingress {
    type filter hook ingress device "eth0" priority 0;
    tcp flags & rst != 0 drop
  }
}
"""


@dataclass(frozen=True)
class Truth:
    """Every connection of the flood as the instances made it, in the order of sending."""

    src_ip: NDArray[np.uint8]
    src_port: NDArray[np.uint16]
    dst_ip: NDArray[np.uint8]
    dst_port: NDArray[np.uint16]


class Flood:
    """Prepares `connections` through `router`; `send` makes them, `made` says how many there are. One a router."""

    def __init__(self, router: Router, connections: int, seed: int = 1) -> None:
        self.router = router
        random = np.random.default_rng(seed)
        number = np.arange(connections)
        self.truth = Truth(
            packets.count_up(f"10.{router.number}.128.1", number // PORTS),
            (1024 + number % PORTS).astype(np.uint16),
            packets.count_up("198.51.100.1", random.integers(0, 250, connections)),
            random.choice(np.array(SERVICES, np.uint16), connections),
        )
        self._prepare_router()
        self._wire = Wire(router.inside)
        self._batch = Batch(self._frames(random), self._wire.interfaces["eth0"])

    def _prepare_router(self) -> None:
        """A way back for addresses that no machine has, and the world's answer."""
        router = self.router
        router.nobody_inside(f"10.{router.number}.128.0/17")
        router.namespace.sysctl(ipv4__ip_early_demux=0)
        router.inside.run("nft", "-f", "-", text=_SINK)
        router.world.namespace.run("nft", "-f", "-", text=_RESPONDER % router.link)

    def _frames(self, random: np.random.Generator) -> packets.Bytes:
        truth, count = self.truth, len(self.truth.src_port)
        seq = random.integers(0, 1 << 32, count)
        segment = packets.tcp(count, truth.src_port, truth.dst_port, packets.SYN, seq)
        macs = packets.mac_bytes(self.router.mac(1)), packets.mac_bytes(self.router.mac(16))
        return packets.frames(*macs, truth.src_ip, truth.dst_ip, packets.TCP, segment)

    def __len__(self) -> int:
        return len(self._batch)

    def send(self, first: int = 0, last: int | None = None) -> float:
        """Make connections `first` to `last` (all), with a thread a processor; the seconds it took."""
        bounds = np.linspace(first, len(self) if last is None else last, SENDERS + 1).astype(int).tolist()
        threads = [
            threading.Thread(target=self._batch.send, args=(self._wire, start, stop))
            for start, stop in itertools.pairwise(bounds)
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    def made(self) -> int:
        """Connections that conntrack confirmed and let through, since the beginning."""
        said: dict[str, list[dict[str, Any]]] = json.loads(
            self.router.world.namespace.run("nft", "-j", "list", "counter", "netdev", "responder", "syns")
        )
        return sum(int(entry["counter"]["packets"]) for entry in said["nftables"] if "counter" in entry)

    def failures(self) -> dict[str, int]:
        """What conntrack refused: empty unless something is wrong with the machine."""
        return kernel.failures([self.router.namespace])

    def __enter__(self) -> Flood:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._wire.close()
