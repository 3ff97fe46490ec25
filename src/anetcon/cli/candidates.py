"""Which connections may be the one that is asked for, in order of likelihood, and what else is known about them.

A public address is found where it was put on (the translated source) or taken off (a destination that was translated,
or the namespace itself): there the inside is known. A connection that merely passes a namespace untranslated, as one
between two routers of one node does, says nothing about who was behind the address, and counts only when there is
nothing better and nothing about it was translated (routed IPv6). The far side of a connection never counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.cli import text
from anetcon.cli.filters import place
from anetcon.cli.times import Moment
from anetcon.record import Class, label
from anetcon.store import where
from anetcon.store.coverage import Coverage, Question, coverage
from anetcon.store.view import Store

Array = np.ndarray[Any, np.dtype[Any]]

_FAR = np.iinfo(np.int64).max


class Endpoint(NamedTuple):
    """An address of 16 bytes and, if it was given, a port."""

    address: bytes
    port: int | None

    @property
    def text(self) -> str:
        """The address as text."""
        return text.address(self.address)

    def on(self, side: str) -> str:
        """The condition that one side of a connection is it."""
        address = where.address_in(f"{side}_ip", (self.address, self.address))
        return address if self.port is None else f"{address} AND {side}_port = {self.port:d}"

    def rows(self, table: pa.Table, side: str) -> Array:
        """Which rows have it on that side."""
        found = pc.equal(table[f"{side}_ip"], pa.scalar(self.address, pa.binary()))
        if self.port is not None:
            found = pc.and_(found, pc.equal(table[f"{side}_port"], self.port))
        return _array(found)


@dataclass(frozen=True)
class Asked:
    """The question; lengths in microseconds."""

    address: Endpoint
    at: Moment
    within: int
    to: Endpoint | None = None
    netns: tuple[str, ...] = ()
    node: tuple[str, ...] = ()

    @property
    def since(self) -> int:
        """Where the window begins."""
        return max(0, self.at.us - self.within)

    @property
    def until(self) -> int:
        """Where it ends."""
        return self.at.us + self.within

    def condition(self) -> str:
        """What a candidate's addresses must be: one side the address, the other side what --to says."""
        sides = []
        for own, others in (("nat_src", ("dst", "nat_dst")), ("dst", ("src", "nat_src"))):
            far = [where.either(f"({self.to.on(other)})" for other in others)] if self.to else []
            sides.append(f"({where.every([self.address.on(own), *far])})")
        return where.every([where.either(sides), *place(self.netns, self.node)])


@dataclass(frozen=True)
class Found:
    """The answer: the nearest of `total` connections, nearest first, with columns `inner_ip` and `inner_port` added."""

    connections: pa.Table
    total: int
    insides: int
    coverage: Coverage
    addresses: pa.Table
    on_node: bool | None
    neighbours: pa.Table

    @property
    def verdict(self) -> str:
        """Whether all candidates have the same inside."""
        return "none" if not self.total else "one" if self.insides == 1 else "several"


def ask(store: Store, asked: Asked, limit: int = 0) -> Found:
    """Find and rank the candidates, and join what is known of the address and of the insides."""
    rows = _candidates(store.connections(asked.condition(), asked.since, asked.until).read_all(), asked)
    insides = rows.group_by(["node", "netns", "inner_ip"]).aggregate([])
    nearest = rows.take(_order(rows, asked.at.us)[: limit or None])
    covered = coverage(store, Question(asked.since, asked.until, asked.netns, asked.node))
    itself = where.address_in("address", (asked.address.address, asked.address.address))
    own = where.every([itself, *place(asked.netns, asked.node)])
    addresses = store.intervals("addresses", own, asked.since, asked.until)
    on_node = True if len(addresses) else False if covered.complete else None
    return Found(nearest, len(rows), len(insides), covered, addresses, on_node, _neighbours(store, nearest, asked))


def _candidates(rows: pa.Table, asked: Asked) -> pa.Table:
    """The rows that tell who was behind the address, with the inner side as columns of their own."""
    source_moved, destination_moved = (_moved(rows, side) for side in ("src", "dst"))
    ours = destination_moved | _array(pc.equal(rows["class"], label(Class.LOCAL)))
    as_source = asked.address.rows(rows, "nat_src")
    told = (as_source & source_moved) | (asked.address.rows(rows, "dst") & ours)
    if told.any():
        as_source &= source_moved
    else:
        told = ~source_moved & ~ours
    rows, as_source = rows.filter(pa.array(told)), pa.array(as_source[told])
    for name in ("ip", "port"):
        inner = pc.if_else(as_source, rows[f"src_{name}"].combine_chunks(), rows[f"nat_dst_{name}"].combine_chunks())
        rows = rows.append_column(f"inner_{name}", inner)
    return rows


def _moved(rows: pa.Table, side: str) -> Array:
    """Which rows had their source or destination translated."""
    parts = [pc.not_equal(rows[f"{side}_{name}"], rows[f"nat_{side}_{name}"]) for name in ("ip", "port")]
    return _array(pc.or_(*parts))


def _array(column: pa.ChunkedArray) -> Array:
    found: Array = column.to_numpy().astype(np.bool_)
    return found


def _order(rows: pa.Table, at: int) -> Array:
    """Row numbers, nearest to the time first: by how far from being open then, then by how long before it began."""
    start = rows["start"].cast(pa.int64()).to_numpy()
    end = rows["end"].cast(pa.int64()).fill_null(_FAR).to_numpy()
    distance = np.maximum(np.maximum(start - at, at - end), 0)
    order: Array = np.lexsort((np.abs(start - at), distance))
    return order


def _neighbours(store: Store, rows: pa.Table, asked: Asked) -> pa.Table:
    """Which MAC address stood behind each inner address while its connections lasted."""
    addresses = rows["inner_ip"].unique().to_pylist()
    names = rows["netns"].unique().to_pylist()
    inside = where.every(
        [
            where.either(where.address_in("address", (address, address)) for address in addresses),
            where.text_in("netns", names) if names else "FALSE",
        ]
    )
    first = pc.min(rows["start"].cast(pa.int64())).as_py()
    last = pc.max(rows["end"].cast(pa.int64())).as_py()
    since, until = min(asked.since, first or asked.since), max(asked.until, last or asked.until)
    return store.intervals("neighbours", inside, since, until)
