"""Generated connections as a network node with Neutron routers records them: for stores, tests and benchmarks.

What makes the size of a store is kept as found in the field: few routers have most of the traffic, few instances most
of a router's, few servers most of the connections; ports are translated at random, as Neutron does; times are the
kernel's, so an end has the idle timeout or TIME_WAIT inside. All is drawn from `rng`: one seed, one store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anetcon.record import CLASSES, CONNECTIONS, END_REASONS, ORIGINS, Class, EndReason, Origin, arrow_schema

Array = npt.NDArray[Any]

SECOND = 1_000_000
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
NEUTRON_MARK = 0x4000000

KINDS = {
    "web": 0.46,  # TCP to the world through SNAT
    "dns": 0.22,
    "scan": 0.13,  # the world to a floating IP
    "ssh": 0.02,
    "ntp": 0.03,
    "ping": 0.03,
    "quic": 0.04,
    "own": 0.02,  # an instance with a floating IP to the world
    "hairpin": 0.01,  # an instance to another's floating IP
    "metadata": 0.02,  # to the router itself
    "v6": 0.02,
}


@dataclass(frozen=True)
class World:
    """Routers, their instances, and the servers of the world with how often each is met (cumulated)."""

    routers: list[str]
    inodes: Array
    public: Array  # a router's gateway address
    router_of: Array  # an instance's router
    inner: Array  # an instance's address
    floating: Array  # an instance's floating address, 0 without
    often: Array
    servers: Array
    met: Array

    def instances(self, rng: np.random.Generator, rows: int) -> Array:
        """Which instance each of so many connections is of."""
        return np.searchsorted(self.often, rng.random(rows)).clip(max=len(self.often) - 1)

    def server(self, rng: np.random.Generator, rows: int) -> Array:
        """An address of the world for each of so many connections."""
        return self.servers[np.searchsorted(self.met, rng.random(rows)).clip(max=len(self.servers) - 1)]


def _zipf(count: int, exponent: float) -> Array:
    weights = np.arange(1, count + 1) ** -exponent
    cumulated: Array = np.cumsum(weights / weights.sum())
    return cumulated


def world(rng: np.random.Generator, routers: int = 24, instances: int = 600, servers: int = 30_000) -> World:
    """A network node with this many routers and instances, and the servers they talk to."""
    names = [f"qrouter-{bytes(rng.bytes(16)).hex()}" for _ in range(routers)]
    names = [f"{n[:16]}-{n[16:20]}-{n[20:24]}-{n[24:28]}-{n[28:]}" for n in names]
    router_of = np.searchsorted(_zipf(routers, 1.0), rng.random(instances)).clip(max=routers - 1)
    inner = 0x0A000000 + router_of * 256 + 10 + rng.integers(0, 240, instances)
    floating = np.where(rng.random(instances) < 0.3, 0xCB007100 + routers + np.arange(instances), 0)
    floating[:2] = 0xCB007100 + routers + np.arange(2)  # so that there always are two
    return World(
        routers=names,
        inodes=4026532000 + rng.permutation(routers * 4)[:routers].astype(np.uint64),
        public=0xCB007100 + np.arange(routers),
        router_of=router_of,
        inner=inner,
        floating=floating,
        often=_zipf(instances, 1.1),
        servers=rng.integers(0x10000000, 0xDF000000, servers),
        met=_zipf(servers, 1.05),
    )


def generate(
    rng: np.random.Generator,
    rows: int,
    *,
    first: int = 1_780_000_000 * SECOND,
    seconds: float = 3600,
    node: str = "net-1",
    of: World | None = None,
) -> pa.Table:
    """So many connections that ended between `first` (microseconds) and `seconds` later, in order of their end.

    The schema is the store's; tuples of one namespace may come again, as they do.
    """
    drawn = _draw(rng, rows, of or world(rng))
    drawn["end"] = first + np.sort(rng.integers(0, max(int(seconds * SECOND), 1), rows))
    drawn["start"] = drawn["end"] - drawn.pop("lasted")
    return to_table(drawn, (of or drawn.pop("world")).routers if of else drawn.pop("world").routers, node)
