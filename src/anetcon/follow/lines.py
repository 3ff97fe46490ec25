"""Connections as lines of text, in whole columns: what a reader of kernel LOG lines expects, and the translation.

    2026-11-20T13:05:09.123456+00:00 NODE anetcon: [ANETCON][X][1a2b3c4d] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9
    PROTO=TCP SPT=40000 DPT=443 NETNS=qrouter-... NAT_SRC=203.0.113.7 NAT_SPT=40213 NAT_DST=198.51.100.9 NAT_DPT=443

(one line). The time is the connection's start. ICMP has TYPE, CODE and ID in place of the ports and NAT_ID in place of
theirs; protocols without ports have none. A line is joined from texts looked up in tables: half an IPv4 address each
of 65536, a port, a thousandth, what is the same for a namespace. Pure: rows in, lines out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.identity.tuples import Array, addresses, numbers
from anetcon.record import Class

DEFAULT_NETNS = "default"

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 50: "ESP", 51: "AH", 58: "ICMPv6", 132: "SCTP", 136: "UDPLITE"}
"""Protocols by the names the kernel's LOG prints; it prints all others as numbers."""

ICMP = (1, 58)
PORTS = (6, 17, 33, 132, 136)
"""Protocols with ports; those not here nor in ICMP have neither ports nor ids."""

_KIND = np.array([1 if n in ICMP else 0 if n in PORTS else 2 for n in range(256)], np.int32)
_ALL = 1 << 16
_MAPPED = np.uint64(0xFFFF0000)
_LOW = np.uint64(0xFFFFFFFF)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True)
class Settings:
    """What is the same in every line."""

    node: str
    prefix: str = "[ANETCON]"
    prefix_dnat: str = "[D]"
    prefix_other: str = "[X]"
    namespace_hash: bool = True


@lru_cache(4096)
def namespace_hash(netns: str) -> str:
    """What stands for a namespace in the prefix: the md5 of its name in 8 digits, as `printf %s NAME | md5sum`."""
    return hashlib.md5(netns.encode(), usedforsecurity=False).hexdigest()[:8]


class _Tables(NamedTuple):
    """The texts that lines are joined from, by number."""

    thousandths: pa.StringArray
    upper: pa.StringArray
    lower: pa.StringArray
    port_1: pa.StringArray
    port_2: pa.StringArray
    nat_port_1: pa.StringArray
    nat_port_2: pa.StringArray
    protocol: pa.StringArray


@cache
def _tables() -> _Tables:
    """Some 15 MB, made once."""
    octets = [(n & 255, n >> 8) for n in range(_ALL)]  # two bytes read as one number of this machine
    # Ports, behind them the same of ICMP, last what stands there for protocols that have neither.
    ports = range(_ALL)
    icmp = (f"{n >> 8} CODE={n & 255} ID=" for n in ports)
    nat = (f" NAT_{name}={n} NAT_DST=" for name in ("SPT", "ID") for n in ports)
    return _Tables(
        thousandths=pa.array([f"{n:03d}" for n in range(1000)]),
        upper=pa.array([*(f"{a}.{b}." for a, b in octets), ""]),
        lower=pa.array([f"{a}.{b}" for a, b in octets]),
        port_1=pa.array([*(f"{n} DPT=" for n in ports), *icmp, ""]),
        port_2=pa.array([*map(str, ports), *map(str, ports), ""]),
        nat_port_1=pa.array([*nat, " NAT_DST="]),
        nat_port_2=pa.array([*(f" NAT_DPT={n}\n" for n in ports), "\n"]),
        protocol=pa.array([_protocol(n) for n in range(256)]),
    )


class Lines:
    """Makes lines."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tables = _tables()

    def of(self, batch: pa.RecordBatch, rows: Array, kind: Class) -> pa.StringArray:
        """The lines of these rows, all of class `kind`, each with its newline."""
        words = [addresses(batch[side + "_ip"]).view(np.uint16)[rows] for side in ("src", "dst", "nat_src", "nat_dst")]
        wide = np.ascontiguousarray(words[0]).view(np.uint64)
        six = np.flatnonzero((wide[:, 0] != 0) | (wide[:, 1] & _LOW != _MAPPED))
        source, destination, nat_source = (self._address(word, six) for word in words[:3])
        same = np.array_equal(words[1], words[3])  # as it is for class nat
        nat_destination = destination if same else self._address(words[3], six)
        proto = numbers(batch["proto"])[rows]
        ports = [numbers(batch[name])[rows].astype(np.int32) for name in _PORT_COLUMNS]
        shape, tables = _KIND[proto], self._tables
        first, second, nat_first, nat_second = ports
        icmp, none = shape == 1, shape == 2
        if icmp.any():
            first[icmp], second[icmp] = second[icmp] + _ALL, first[icmp]
            nat_first[icmp] += _ALL
        first[none] = second[none] = nat_first[none] = 2 * _ALL
        nat_second[shape != 0] = _ALL
        before, behind = self._of_namespaces(batch, rows, kind)
        return pc.binary_join_element_wise(
            *self._times(numbers(batch["start"])[rows]),
            before,
            *source,
            pa.scalar(" DST="),
            *destination,
            _fetch(tables.protocol, proto),
            _fetch(tables.port_1, first),
            _fetch(tables.port_2, second),
            behind,
            *nat_source,
            _fetch(tables.nat_port_1, nat_first),
            *nat_destination,
            _fetch(tables.nat_port_2, nat_second),
            pa.scalar(""),
        )

    def _address(self, words: Array, six: Array) -> list[pa.Array]:
        """Addresses of 8 words each: their upper and their lower half; those of the rows `six` are IPv6, whole in the
        lower half."""
        upper, lower, table = words[:, 6], words[:, 7], self._tables.lower
        if len(six):
            upper, lower = upper.astype(np.int32), lower.astype(np.int32)
            upper[six] = _ALL
            lower[six] = len(table) + np.arange(len(six))
            table = pa.concat_arrays([table, _six(words[six])])
        return [_fetch(self._tables.upper, upper), _fetch(table, lower)]

    def _times(self, start: Array) -> list[pa.Array]:
        """Each second is formatted once, each thousandth of it and of that looked up."""
        second = start // 1_000_000
        micro = (start - second * 1_000_000).astype(np.int32)
        milli = micro // 1000
        found = pa.Array.from_buffers(pa.int64(), len(second), [None, pa.py_buffer(second)]).dictionary_encode()
        texts = pa.array([_second(value) for value in found.dictionary.to_pylist()], pa.string())
        return [
            texts.take(found.indices),
            _fetch(self._tables.thousandths, milli),
            _fetch(self._tables.thousandths, micro - milli * 1000),
        ]

    def _of_namespaces(self, batch: pa.RecordBatch, rows: Array, kind: Class) -> tuple[pa.Array, pa.Array]:
        """What comes before the addresses and what behind the ports: the same for each namespace."""
        wanted = self.settings
        names = batch["netns"]
        prefix = wanted.prefix + (wanted.prefix_dnat if kind == Class.FLOAT else wanted.prefix_other)
        before, behind = [], []
        for name in names.dictionary.to_pylist():
            hashed = f"[{namespace_hash(name)}]" if wanted.namespace_hash and name != DEFAULT_NETNS else ""
            before.append(f"+00:00 {wanted.node} anetcon: {prefix}{hashed} IN= OUT= SRC=")
            behind.append(f" NETNS={name} NAT_SRC=")
        codes = numbers(names.indices)[rows]
        return _fetch(pa.array(before, pa.string()), codes), _fetch(pa.array(behind, pa.string()), codes)


_INDEX = {1: pa.uint8(), 2: pa.uint16(), 4: pa.int32()}
_PORT_COLUMNS = ("src_port", "dst_port", "nat_src_port", "nat_dst_port")


def _fetch(table: pa.Array, at: Array) -> pa.Array:
    # Not `pa.array`, which looks for pandas at each call: 100 us where there is none.
    indices = pa.Array.from_buffers(_INDEX[at.dtype.itemsize], len(at), [None, pa.py_buffer(np.ascontiguousarray(at))])
    return pc.take(table, indices, boundscheck=False)


@lru_cache(4096)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def _protocol(number: int) -> str:
    """From PROTO= to the first port."""
    name = PROTOCOLS.get(number, str(number))
    if number in ICMP:
        return f" PROTO={name} TYPE="
    return f" PROTO={name} SPT=" if number in PORTS else f" PROTO={name}"


def _six(words: Array) -> pa.Array:
    """IPv6 addresses as the kernel prints them: 8 groups of 4 hex digits."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    digits = np.full((len(octets), 8, 5), ord(":"), np.uint8)
    digits[:, :, 0:4:2] = _HEX[octets >> 4].reshape(-1, 8, 2)
    digits[:, :, 1:4:2] = _HEX[octets & 15].reshape(-1, 8, 2)
    text = np.ascontiguousarray(digits.reshape(-1, 40)[:, :39])
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(39), len(text), [None, pa.py_buffer(text)])
    return fixed.cast(pa.binary()).cast(pa.string())
