"""Generated connections as a network node with Neutron routers records them: for stores, tests and benchmarks.

What makes the size of a store is kept as found in the field: few routers have most of the traffic, few instances most
of a router's, few servers most of the connections, few scanners most of the scans, and they come again; ports are
translated at random, as Neutron does; times are the kernel's, so an end has the idle timeout or TIME_WAIT inside. All
is drawn from `rng`: one seed, one store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anetcon.record import (
    CLASSES,
    END_REASONS,
    FAMILIES,
    ORIGINS,
    REPLIES,
    STARTS,
    Class,
    EndReason,
    Family,
    Origin,
    Reply,
    StartIs,
    arrow_schema,
)

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
    scanners: Array
    scan_often: Array

    def instances(self, rng: np.random.Generator, rows: int) -> Array:
        """Which instance each of so many connections is of."""
        return np.searchsorted(self.often, rng.random(rows)).clip(max=len(self.often) - 1)

    def server(self, rng: np.random.Generator, rows: int) -> Array:
        """An address of the world for each of so many connections."""
        met: Array = self.servers[np.searchsorted(self.met, rng.random(rows)).clip(max=len(self.servers) - 1)]
        return met

    def scanner(self, rng: np.random.Generator, rows: int) -> Array:
        """An address of the world that scans, for each of so many connections."""
        at = np.searchsorted(self.scan_often, rng.random(rows)).clip(max=len(self.scanners) - 1)
        found: Array = self.scanners[at]
        return found


def _zipf(count: int, exponent: float) -> Array:
    weights = np.arange(1, count + 1) ** -exponent
    cumulated: Array = np.cumsum(weights / weights.sum())
    return cumulated


SCANNERS = 200_000


def world(rng: np.random.Generator, routers: int = 24, instances: int = 600, servers: int = 30_000) -> World:
    """A network node with this many routers and instances, the servers they talk to, and who scans them."""
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
        scanners=rng.integers(0x10000000, 0xDF000000, SCANNERS),
        scan_often=_zipf(SCANNERS, 1.0),
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

    The schema is the store's. A tuple may come again, as it does.
    """
    of = world(rng) if of is None else of
    drawn = _Drawn(rng, rows, of)
    for number, kind in enumerate(KINDS):
        at = np.flatnonzero(drawn.kind == number)
        getattr(drawn, kind)(at)
    end = first + np.sort(rng.integers(0, max(int(seconds * SECOND), 1), rows))
    return drawn.table(end, of, node)


def started(table: pa.Table) -> pa.Table:
    """These connections as their START rows have them."""
    for name in ("end", "packets_out", "bytes_out", "packets_in", "bytes_in", "end_reason", "reply"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.nulls(table.num_rows, table.schema.field(at).type))
    return table


def events(table: pa.Table) -> pa.Table:
    """The journal's rows of closed connections: a START and an END each, in the order in which they came."""
    both = pa.concat_tables([started(table), table]).unify_dictionaries().combine_chunks()
    when = np.concatenate([table[name].cast(pa.int64()).to_numpy() for name in ("start", "end")])
    return both.take(pa.array(np.argsort(when, kind="stable")))


class _Drawn:
    """The columns of `rows` connections, a method a kind; IPv4 addresses as numbers until `table`."""

    def __init__(self, rng: np.random.Generator, rows: int, of: World) -> None:
        self.rng, self.rows, self.of = rng, rows, of
        self.kind = rng.choice(len(KINDS), rows, p=np.array(list(KINDS.values())) / sum(KINDS.values()))
        self.who = of.instances(rng, rows)
        self.router = of.router_of[self.who]
        self.proto = np.full(rows, TCP, np.uint8)
        self.klass = np.full(rows, Class.NAT, np.int8)
        self.reason = np.full(rows, EndReason.CLOSED, np.int8)
        self.src, self.dst = of.inner[self.who], of.server(rng, rows)
        self.nat_src, self.nat_dst = of.public[self.router], self.dst.copy()
        self.src_port = rng.integers(32768, 61000, rows).astype(np.uint16)
        self.nat_src_port = rng.integers(1024, 65536, rows).astype(np.uint16)
        self.dst_port = np.full(rows, 443, np.uint16)
        self.nat_dst_port = self.dst_port.copy()
        self.lasted = np.zeros(rows, np.int64)
        self.packets_out = np.ones(rows, np.uint64)
        self.packets_in = np.ones(rows, np.uint64)
        self.bytes_out = np.ones(rows, np.uint64)
        self.bytes_in = np.ones(rows, np.uint64)
        self.six = np.zeros(rows, np.bool_)

    def _count(self, at: Array, out: Array, size_out: float, back: Array, size_back: float) -> None:
        self.packets_out[at], self.packets_in[at] = out, back
        spread = self.rng.random((2, len(at))) * 0.5 + 0.75
        self.bytes_out[at] = out * 52 + (np.maximum(out.astype(np.int64) - 3, 0) * size_out * spread[0]).astype(
            np.uint64
        )
        self.bytes_in[at] = back * 52 + (np.maximum(back.astype(np.int64) - 2, 0) * size_back * spread[1]).astype(
            np.uint64
        )

    def _destination(self, at: Array, port: Array | int) -> None:
        self.dst_port[at] = self.nat_dst_port[at] = port

    def _timeout(self, at: Array, idle: float, active: Array) -> None:
        """Ended by its idle timeout, found by the kernel's collector a little later."""
        self.lasted[at] = ((idle + self.rng.exponential(0.8, len(at))) * SECOND).astype(np.int64) + active.astype(
            np.int64
        )
        self.reason[at] = EndReason.TIMEOUT

    def web(self, at: Array) -> None:
        """TCP with data; some last for hours, some are reset."""
        rng = self.rng
        active = rng.lognormal(np.log(2.5), 1.9, len(at)).clip(0.004, 40_000) * SECOND
        late = rng.exponential(0.8, len(at)) * SECOND
        reset = rng.random(len(at)) < 0.15
        self.lasted[at] = active.astype(np.int64) + late.astype(np.int64) + np.where(reset, 10, 120) * SECOND
        self.reason[at] = np.where(reset, EndReason.RESET, EndReason.CLOSED)
        out = (rng.lognormal(2.4, 0.9, len(at)) + 4).astype(np.uint64)
        back = (out * (rng.random(len(at)) + 0.6)).astype(np.uint64) + np.uint64(2)
        self._count(at, out, 180, back, 900)
        self._destination(at, rng.choice(np.array([443, 80, 8080, 5432, 22, 993], np.uint16), len(at), p=_WEB_PORTS))

    def dns(self, at: Array) -> None:
        """A question and an answer to one of few resolvers."""
        rng, count = self.rng, len(at)
        self.proto[at] = UDP
        self.dst[at] = self.nat_dst[at] = np.array([0x08080808, 0x01010101, 0x09090909])[rng.integers(0, 3, count)]
        self._destination(at, 53)
        self._timeout(at, 30, rng.exponential(0.02, count) * SECOND)
        self.bytes_out[at], self.bytes_in[at] = rng.integers(50, 90, count), rng.integers(80, 300, count)

    def ntp(self, at: Array) -> None:
        """As DNS, of one size."""
        self.dns(at)
        self._destination(at, 123)
        self.src_port[at] = 123
        self.bytes_out[at] = self.bytes_in[at] = 76

    def quic(self, at: Array) -> None:
        """UDP both ways for a while."""
        rng, count = self.rng, len(at)
        self.proto[at] = UDP
        self._timeout(at, 120, rng.lognormal(1.5, 1.2, count) * SECOND)
        out = (rng.lognormal(2.8, 0.8, count) + 3).astype(np.uint64)
        self._count(at, out, 200, out + out // np.uint64(3), 1000)

    def ping(self, at: Array) -> None:
        """ICMP echo: the id is translated too."""
        count = len(at)
        self.proto[at] = ICMP
        self._destination(at, 8 << 8)
        self.packets_out[at] = self.packets_in[at] = packets = self.rng.integers(1, 6, count).astype(np.uint64)
        self.bytes_out[at] = self.bytes_in[at] = packets * 84
        self._timeout(at, 30, packets * SECOND)

    def scan(self, at: Array) -> None:
        """Anybody to a floating IP: mostly refused or left without an answer."""
        rng, count = self.rng, len(at)
        owners = np.flatnonzero(self.of.floating)
        who = owners[rng.integers(0, len(owners), count)]
        self.router[at], self.klass[at] = self.of.router_of[who], Class.FLOAT
        self.src[at] = self.nat_src[at] = self.of.scanner(rng, count)
        self.src_port[at] = self.nat_src_port[at] = rng.integers(1024, 65536, count)
        self.dst[at], self.nat_dst[at] = self.of.floating[who], self.of.inner[who]
        self._destination(at, rng.choice(np.array([22, 23, 80, 443, 3389, 8080, 445], np.uint16), count))
        refused = rng.random(count) < 0.7
        wait = np.where(refused, 10, 120) + rng.exponential(0.8, count)
        self.lasted[at] = (wait * SECOND).astype(np.int64)
        self.reason[at] = np.where(refused, EndReason.RESET, EndReason.TIMEOUT)
        self.bytes_out[at], self.bytes_in[at], self.packets_in[at] = 44, np.where(refused, 40, 0), refused

    def ssh(self, at: Array) -> None:
        """To a floating IP, for hours."""
        self.scan(at)
        rng, count = self.rng, len(at)
        self._destination(at, 22)
        self.lasted[at] = (rng.lognormal(6.5, 1.5, count).clip(10, 400_000) * SECOND).astype(np.int64)
        self.reason[at] = EndReason.CLOSED
        out = (rng.lognormal(5, 1, count) + 10).astype(np.uint64)
        self._count(at, out, 60, out, 120)

    def own(self, at: Array) -> None:
        """From an instance with a floating IP: its source becomes that."""
        self.web(at)
        self._floating_source(at)

    def hairpin(self, at: Array) -> None:
        """From an instance to another's floating IP: translated at both ends."""
        self.scan(at)
        self._floating_source(at)

    def _floating_source(self, at: Array) -> None:
        owners = np.flatnonzero(self.of.floating)
        who = owners[self.rng.integers(0, len(owners), len(at))]
        self.src[at], self.nat_src[at], self.router[at] = (
            self.of.inner[who],
            self.of.floating[who],
            self.of.router_of[who],
        )
        self.nat_src_port[at] = self.rng.integers(1024, 65536, len(at))

    def metadata(self, at: Array) -> None:
        """To the router's own metadata proxy."""
        self.web(at)
        self.klass[at] = Class.LOCAL
        self.nat_src[at], self.nat_src_port[at] = self.src[at], self.src_port[at]
        self.dst[at], self.nat_dst[at] = 0xA9FEA9FE, 0x0A000001 + self.router[at] * 256
        self.dst_port[at], self.nat_dst_port[at] = 80, 9697

    def v6(self, at: Array) -> None:
        """IPv6, routed without translation; a tenth of it ping."""
        self.web(at)
        self.six[at] = True
        self.nat_src[at], self.nat_src_port[at] = self.src[at], self.src_port[at]
        ping = at[self.rng.random(len(at)) < 0.1]
        self.ping(ping)
        self.proto[ping] = ICMPV6
        self._destination(ping, 128 << 8)
        self.nat_src_port[ping] = self.src_port[ping]

    def _replies(self) -> Array:
        """As the kernel says: a connection that closed in order was assured."""
        closed = (self.proto == TCP) & (self.reason == EndReason.CLOSED)
        answered = np.where(self.packets_in > 0, np.int8(Reply.SEEN), np.int8(Reply.NONE))
        return np.where(closed, np.int8(Reply.ASSURED), answered)

    def _address(self, numbers: Array) -> Array:
        """Addresses as 16 bytes; those of IPv6 connections are 2001:db8::/32 with the number inside."""
        result = np.zeros((self.rows, 16), np.uint8)
        result[:, 10:12] = 0xFF
        result[:, 12:] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
        result[self.six, :12] = np.frombuffer(bytes.fromhex("20010db8000000000000ff00"), np.uint8)
        return result

    def table(self, end: Array, of: World, node: str) -> pa.Table:
        """Everything as one table in the store's schema."""
        counters = ("packets_out", "bytes_out", "packets_in", "bytes_in")
        values: dict[str, Any] = {
            "start": end - self.lasted,
            "end": end,
            "node": (np.zeros(self.rows, np.int32), [node]),
            "netns": (self.router.astype(np.int32), of.routers),
            "class": (self.klass, CLASSES),
            "end_reason": (self.reason, END_REASONS),
            "origin": (np.full(self.rows, Origin.EVENT, np.int8), ORIGINS),
            "family": (np.where(self.six, np.int8(Family.IPV6), np.int8(Family.IPV4)), FAMILIES),
            "reply": (self._replies(), REPLIES),
            "start_is": (np.full(self.rows, StartIs.BEGIN, np.int8), STARTS),
            "netns_inode": of.inodes[self.router],
            "zone": np.zeros(self.rows, np.uint16),
            "mark": np.where(self.klass == Class.LOCAL, 0, NEUTRON_MARK).astype(np.uint32),
            "ct_id": self.rng.integers(0, 1 << 32, self.rows, dtype=np.uint32),
            **{name: getattr(self, name) for name in ("proto", *counters)},
        }
        for side in ("src", "dst", "nat_src", "nat_dst"):
            values[side + "_ip"] = self._address(getattr(self, side))
            values[side + "_port"] = getattr(self, side + "_port")
        schema = arrow_schema("connections")
        return pa.table([_arrow(values[field.name], field.type) for field in schema], schema=schema)


_WEB_PORTS = [0.7, 0.15, 0.05, 0.04, 0.04, 0.02]


def _arrow(value: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(value, tuple):
        return pa.DictionaryArray.from_arrays(pa.array(value[0]), pa.array(value[1], pa.string()))
    if value.ndim == 2:
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(value), [None, pa.py_buffer(np.ascontiguousarray(value))])
    return pa.array(value).cast(kind)
