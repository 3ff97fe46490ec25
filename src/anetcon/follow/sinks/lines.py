"""Connections as lines of text, in whole columns: what a reader of kernel LOG lines expects, and the translation.

    2026-11-20T13:05:09.123456+00:00 NODE anetcon: [ANETCON][X][1a2b3c4d] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9
    PROTO=TCP SPT=40000 DPT=443 NETNS=qrouter-... NAT_SRC=203.0.113.7 NAT_SPT=40213 NAT_DST=198.51.100.9 NAT_DPT=443

(one line). The time is the connection's start. ICMP has TYPE, CODE and ID in place of the ports and NAT_ID in place of
theirs; protocols without ports have none. A connection that is itself a line of text (`record.LINES`) ends behind
NETNS=: it saw one side of the translation, the source before it and the destination behind it.

A line is joined from few texts, each looked up: those of ports and of fractions of a second in tables; an address with
what stands before and behind it in the texts of those that occur, made once each. Few and small tables matter: after
half a second of sleep everything comes from main memory again.
Pure: rows in, lines out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from socket import AF_INET6, inet_ntop
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.follow.sinks.rows import are
from anetcon.identity.tuples import Array, addresses, numbers
from anetcon.link.settings import DEFAULT
from anetcon.record import LINES, Class, Family, label
from anetcon.system.printable import namespace_hash

SPACE = r"\x20"
"""For one in a name, of which `names.original` makes it again: a value ends at a space."""

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 50: "ESP", 51: "AH", 58: "ICMPv6", 132: "SCTP", 136: "UDPLITE"}
"""Protocols by the names the kernel's LOG prints; it prints all others as numbers."""

ICMP = (1, 58)
PORTS = (6, 17, 33, 132, 136)
"""Protocols with ports; those not here nor in ICMP have neither ports nor ids."""

_OF_PORTS, _OF_ICMP, _OF_NEITHER = range(3)
_SHAPE = np.array([_OF_ICMP if n in ICMP else _OF_PORTS if n in PORTS else _OF_NEITHER for n in range(256)], np.uint8)
_ALL = 1 << 16
_MAPPED = np.uint64(0xFFFF0000)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_HEX = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)
"""The two digits of each byte."""

# A key of `_address`: the address's number (an IPv4 address, or _SIX and more), then two small numbers.
_SIX = np.uint64(1 << 32)
_ONE_BITS, _OTHER_BITS, _PORT_BITS = np.uint64(23), np.uint64(8), np.uint64(16)
_ONE, _OTHER, _PORT = (np.uint64((1 << int(bits)) - 1) for bits in (_ONE_BITS, _OTHER_BITS, _PORT_BITS))
_NOUGHT = np.zeros(1, np.uint8)


@dataclass(frozen=True)
class Settings:
    """What is the same in every line."""

    node: str
    prefix: str = "[ANETCON]"
    prefix_dnat: str = "[D]"
    prefix_other: str = "[X]"
    namespace_hash: bool = True


class _Tables(NamedTuple):
    """Texts by number, the same for every line."""

    thousandths: pa.StringArray
    upper: pa.StringArray
    lower: pa.StringArray
    port_1: pa.StringArray
    port_2: pa.StringArray
    nat_port_2: pa.StringArray
    protocol: pa.StringArray


@cache
def _tables() -> _Tables:
    """Some 5 MB, made once."""
    every = pa.array(np.arange(_ALL, dtype=np.uint16)).cast(pa.string())
    octet = every[:256]
    high, low = octet.take(pa.array(np.arange(_ALL) >> 8)), octet.take(pa.array(np.arange(_ALL) & 255))

    def joined(*parts: pa.StringArray | str) -> pa.StringArray:
        return pc.binary_join_element_wise(*parts, "")

    # Ports, behind them what stands there for ICMP, last for protocols that have neither.
    nothing, newline = pa.array([""]), pa.array(["\n"])
    return _Tables(
        thousandths=pa.array([f"{n:03d}" for n in range(1000)]),
        upper=joined(high, ".", low, "."),
        lower=joined(high, ".", low),
        port_1=pa.concat_arrays([every, joined(high, " CODE=", low, " ID="), nothing]),
        port_2=pa.concat_arrays([joined(" DPT=", every), every, nothing]),
        nat_port_2=pa.concat_arrays([joined(" NAT_DPT=", every, "\n"), newline]),
        protocol=pa.array([_protocol(n) for n in range(256)]),
    )


class Lines:
    """Makes lines."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tables = _tables()

    def of(self, batch: pa.RecordBatch, rows: Array, kinds: Array | Class) -> pa.StringArray:
        """The lines of these rows, each with its newline; `kinds` is the class of each, or of all."""
        kinds = np.broadcast_to(np.int8(kinds), len(rows)) if isinstance(kinds, Class) else kinds
        itself = are(batch, "origin", map(label, LINES))[rows]
        if not itself.any():
            return self._of_both_sides(batch, rows, kinds)
        parts = [(self._of_both_sides, np.flatnonzero(~itself)), (self._of_one_side, np.flatnonzero(itself))]
        made = pa.concat_arrays([make(batch, rows[at], kinds[at]) for make, at in parts])
        return made.take(pa.array(np.argsort(np.concatenate([at for _, at in parts]))))

    def _of_both_sides(self, batch: pa.RecordBatch, rows: Array, kinds: Array) -> pa.StringArray:
        """Lines with the translation."""
        tables = self._tables
        netns = numbers(batch["netns"].indices)[rows]
        proto = numbers(batch["proto"])[rows]
        shape = _SHAPE[proto]
        first, second = self._ports(batch, rows, shape, "src_port", "dst_port")
        nat_first, nat_second = self._nat_ports(batch, rows, shape)
        before, which, behind = self._of_namespaces(batch, netns, kinds, " NAT_SRC=")
        return pc.binary_join_element_wise(
            *self._times(numbers(batch["start"])[rows]),
            self._address(batch, "src_ip", rows, which, before, _NOUGHT, _DST),
            self._address(batch, "dst_ip", rows, _NOUGHT, _EMPTY, proto, tables.protocol),
            _fetch(tables.port_1, first),
            _fetch(tables.port_2, second),
            self._address(batch, "nat_src_ip", rows, netns, behind, shape, _NAT_SHAPES),
            _fetch(tables.port_1, nat_first),
            self._address(batch, "nat_dst_ip", rows, _NOUGHT, _NAT_DST, _NOUGHT, _EMPTY),
            _fetch(tables.nat_port_2, nat_second),
            _EMPTY[0],
        )

    def _of_one_side(self, batch: pa.RecordBatch, rows: Array, kinds: Array) -> pa.StringArray:
        """Lines without the translation: what these connections know is not null."""
        tables = self._tables
        netns = numbers(batch["netns"].indices)[rows]
        proto = numbers(batch["proto"])[rows]
        first, second = self._ports(batch, rows, _SHAPE[proto], "src_port", "nat_dst_port")
        before, which, behind = self._of_namespaces(batch, netns, kinds, "\n")
        return pc.binary_join_element_wise(
            *self._times(numbers(batch["start"])[rows]),
            self._address(batch, "src_ip", rows, which, before, _NOUGHT, _DST),
            self._address(batch, "nat_dst_ip", rows, _NOUGHT, _EMPTY, proto, tables.protocol),
            _fetch(tables.port_1, first),
            _fetch(tables.port_2, second),
            _fetch(behind, netns),
            _EMPTY[0],
        )

    def _ports(self, batch: pa.RecordBatch, rows: Array, shape: Array, *names: str) -> list[Array]:
        """Where in their tables the texts of the two ports are."""
        first, second = ports = [numbers(batch[name], 0)[rows].astype(np.int32) for name in names]
        icmp, none = shape == _OF_ICMP, shape == _OF_NEITHER
        if icmp.any():
            first[icmp], second[icmp] = second[icmp] + _ALL, first[icmp] + _ALL
        first[none] = second[none] = 2 * _ALL
        return ports

    def _nat_ports(self, batch: pa.RecordBatch, rows: Array, shape: Array) -> list[Array]:
        """And those of the two ports after translation."""
        first, second = ports = [
            numbers(batch[name], 0)[rows].astype(np.int32) for name in ("nat_src_port", "nat_dst_port")
        ]
        first[shape == _OF_NEITHER] = 2 * _ALL
        second[shape != _OF_PORTS] = _ALL
        return ports

    def _address(
        self,
        batch: pa.RecordBatch,
        name: str,
        rows: Array,
        one: Array,
        before: pa.Array,
        other: Array,
        behind: pa.Array,
    ) -> pa.Array:
        """The texts `before[one]`, the address, `behind[other]` as one, made once for each combination there is."""
        words = addresses(batch[name]).view(np.uint64).take(rows, axis=0)
        key = (words[:, 1] >> _HALF).astype(np.uint32).byteswap().astype(np.uint64)
        six = np.flatnonzero(are(batch, "family", [label(Family.IPV6)])[rows])
        if len(six):
            sixes = _array(pa.binary(16), words.take(six, axis=0)).dictionary_encode()
            key[six] = _SIX + numbers(sixes.indices).astype(np.uint64)
        key <<= _ONE_BITS + _OTHER_BITS
        key |= one.astype(np.uint64) << _OTHER_BITS
        key |= other.astype(np.uint64)
        found = _array(pa.uint64(), key).dictionary_encode()
        unique = numbers(found.dictionary)
        number = unique >> (_ONE_BITS + _OTHER_BITS)
        upper, lower, table = number >> _PORT_BITS & _PORT, number & _PORT, self._tables.lower
        if len(six):
            new = number >= _SIX
            upper[new], lower[new] = _ALL, number[new] - _SIX + np.uint64(_ALL)
            table = pa.concat_arrays([table, _six(addresses(sixes.dictionary))])
        made = pc.binary_join_element_wise(
            _pick(before, unique >> _OTHER_BITS & _ONE),
            pa.concat_arrays([self._tables.upper, _EMPTY]).take(_array(pa.uint64(), upper))
            if len(six)
            else self._tables.upper.take(_array(pa.uint64(), upper)),
            table.take(_array(pa.uint64(), lower)),
            _pick(behind, unique & _OTHER),
            _EMPTY[0],
        )
        return made.take(found.indices)

    def _times(self, start: Array) -> list[pa.Array]:
        """Each second is formatted once, each thousandth of it and of that looked up."""
        second = start // 1_000_000
        micro = (start - second * 1_000_000).astype(np.int32)
        milli = micro // 1000
        found = _array(pa.int64(), second).dictionary_encode()
        texts = pa.array([_second(value) for value in found.dictionary.to_pylist()], pa.string())
        thousandths = self._tables.thousandths
        return [texts.take(found.indices), _fetch(thousandths, milli), _fetch(thousandths, micro - milli * 1000)]

    def _of_namespaces(
        self, batch: pa.RecordBatch, netns: Array, kinds: Array, end: str
    ) -> tuple[pa.Array, Array, pa.Array]:
        """What comes before the addresses, for each namespace of the batch and then for each where the destination was
        translated, and which of these each row has; and what comes behind the ports, up to `end`, by namespace."""
        wanted = self.settings
        names = batch["netns"].dictionary.to_pylist()
        hashes = [f"[{namespace_hash(name)}]" if wanted.namespace_hash and name != DEFAULT else "" for name in names]
        before = [
            f"+00:00 {wanted.node} anetcon: {wanted.prefix}{prefix}{hashed} IN= OUT= SRC="
            for prefix in (wanted.prefix_other, wanted.prefix_dnat)
            for hashed in hashes
        ]
        behind = [" NETNS=" + name.replace(" ", SPACE) + end for name in names]
        which = netns + len(names) * (kinds == Class.FLOAT)
        return pa.array(before, pa.string()), which, pa.array(behind, pa.string())


_EMPTY = pa.array([""])
_DST = pa.array([" DST="])
_NAT_DST = pa.array([" NAT_DST="])
_NAT_SHAPES = pa.array([" NAT_SPT=", " NAT_ID=", ""])


def _fetch(table: pa.Array, at: Array) -> pa.Array:
    return pc.take(table, _array(pa.int32(), at), boundscheck=False)


def _pick(table: pa.Array, at: Array) -> pa.Array | pa.Scalar:
    """The texts at these places; where there is but one, that one for all."""
    return table[0] if len(table) == 1 else table.take(_array(pa.uint64(), at))


def _array(kind: pa.DataType, values: Array) -> pa.Array:
    """As `pa.array`, which looks for pandas at each call: 100 us where there is none."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


@lru_cache(4096)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def _protocol(number: int) -> str:
    """From PROTO= to the first port."""
    name = PROTOCOLS.get(number, str(number))
    return f" PROTO={name}" + (" SPT=", " TYPE=", "")[_SHAPE[number]]


def _six(octets: Array) -> pa.Array:
    """IPv6 addresses as the kernel prints them: 8 groups of 4 hex digits; `::ffff:10.1.0.12` where one holds IPv4."""
    digits = np.full((len(octets), 8, 5), ord(":"), np.uint8)
    digits[:, :, :4] = _HEX[octets].view(np.uint8).reshape(-1, 8, 4)
    text = np.ascontiguousarray(digits.reshape(-1, 40)[:, :39])
    ends = np.arange(len(text) + 1, dtype=np.int32) * np.int32(39)
    texts = pa.StringArray.from_buffers(len(text), pa.py_buffer(ends), pa.py_buffer(text))
    words = octets.view(np.uint64)
    mapped = (words[:, 0] == 0) & (words[:, 1] & _LOW == _MAPPED)
    if not mapped.any():
        return texts
    return pa.array(
        [
            inet_ntop(AF_INET6, each.tobytes()) if holds else text
            for each, holds, text in zip(octets, mapped, texts.to_pylist(), strict=True)
        ]
    )
