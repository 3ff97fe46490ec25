"""Which connections may be the one that is asked for, in order of likelihood, and what else is known about them.

A public address is found where it was put on (the translated source) or taken off (a destination that was translated,
or the namespace itself): there the inside is known. A connection that merely passes a namespace untranslated, as one
between two routers of one node does, says nothing about who was behind the address, and counts only when there is
nothing better and nothing about it was translated (routed IPv6), or both its ends are as asked (--to). When it is the
same connection as one that translated the source (`passages`), that one is it. The far side of a connection never
counts.

A connection that is a line of text (`record.LINES`) does not know its public side at all. What it knows are the inside
and the other end, so with --to it is *possible*: `lines` says which are, and in which order. They come behind those
whose public side is recorded, and not at all when one of these was open at that very time: then that was it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.gaps import ONE_SIDED
from anetcon.query import as_text, macs, one_sided, passages, times
from anetcon.query.filters import place
from anetcon.query.times import AskedTime
from anetcon.record import GROUPS, Class, Family, Origin, StartIs, family_of, label
from anetcon.store import sql
from anetcon.store.coverage import Coverage, Question, coverage
from anetcon.store.reader import Store

Array = np.ndarray[Any, np.dtype[Any]]

_FAR = np.iinfo(np.int64).max

SHOWN_INSIDES = 5
"""How many insides an answer in words names."""


class Endpoint(NamedTuple):
    """An address of 16 bytes and, if it was given, a port."""

    address: bytes
    port: int | None
    family: Family

    @property
    def text(self) -> str:
        """The address as text."""
        return as_text.address(self.address, self.family)

    def on(self, side: str) -> str:
        """The condition that one side of a connection is it."""
        address = sql.address_in(f"{side}_ip", sql.single(self.address, self.family))
        return address if self.port is None else f"{address} AND {side}_port = {self.port:d}"

    def rows(self, table: pa.Table, side: str) -> Array:
        """Which rows have it on that side."""
        found = pc.equal(table[f"{side}_ip"], pa.scalar(self.address, pa.binary()))
        found = pc.and_(found, pc.equal(table["family"].cast(pa.string()), label(self.family)))
        if self.port is not None:
            found = pc.and_(found, pc.equal(table[f"{side}_port"], self.port))
        return _array(found)


@dataclass(frozen=True)
class Asked:
    """The question; lengths in microseconds."""

    address: Endpoint
    at: AskedTime
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
        """What a candidate's addresses must be: one side the address, the other side what --to says; of a line of text,
        what it knows of both."""
        sides = []
        for own, others in (("nat_src", ("dst", "nat_dst")), ("dst", ("src", "nat_src"))):
            far = [sql.either(f"({self.to.on(other)})" for other in others)] if self.to else []
            sides.append(f"({sql.every([f'NOT {one_sided.ARE}', self.address.on(own), *far])})")
        sides.append(one_sided.condition(self.address, self.to))
        return sql.every([sql.either(sides), *place(self.netns, self.node)])


@dataclass(frozen=True)
class Found:
    """The answer: the nearest of `total` connections, nearest first, with columns `inner_ip` and `inner_port` added. Of
    `possible` of them the public side is not recorded; with `more_with_to` there may be others, which --to would tell.
    `nearest` is the nearest connection of each of the nearest `insides`, however few are listed, and the `count` of all
    that are its own. `together` are places in `connections`: rows of each list are one connection, that of the inside
    first; the others are counted in `total` and are no inside. `packets` of them all are no connections: see `Origin`.
    """

    connections: pa.Table
    nearest: pa.Table
    total: int
    possible: int
    more_with_to: bool
    insides: int
    coverage: Coverage
    on_node: bool | None
    neighbours: pa.Table
    together: list[list[int]]
    packets: int

    @property
    def verdict(self) -> str:
        """Whether all candidates have the same inside."""
        return "none" if not self.total else "one" if self.insides == 1 else "several"


def ask(store: Store, asked: Asked, limit: int = 0) -> Found:
    """Find and rank the candidates, and join what is known of the address and of the insides."""
    return store.whole(lambda: _answer(store, asked, limit))


def _answer(store: Store, asked: Asked, limit: int) -> Found:
    itself = sql.single(asked.address.address, asked.address.family)
    covered = coverage(store, Question(asked.since, asked.until, asked.netns, asked.node, itself))
    addresses = covered.addresses
    owners = one_sided.places(addresses)
    matching = store.connections(asked.condition(), asked.since, asked.until).read_all()
    every = passages.senders(store, asked, matching, _roles(matching, asked).passing)
    every, told, chains, settled = _candidates(every, len(matching), asked, owners)
    told = told[_order(every.take(told), asked, owners)]
    rows = every.take(told)
    nearest, insides = _insides(rows)
    shown, together = passages.beside(told, chains)
    listed = every.take(shown[: limit or None])
    more = asked.to is None and not settled and not ONE_SIDED.isdisjoint(covered.gaps["cause"].to_pylist())
    on_node = True if len(addresses) else False if covered.complete else None
    return Found(
        connections=listed,
        nearest=nearest,
        total=len(shown),
        possible=int(np.count_nonzero(one_sided.among(rows))),
        more_with_to=more,
        insides=insides,
        coverage=covered,
        on_node=on_node,
        neighbours=_neighbours(store, pa.concat_tables([listed, nearest.select(listed.column_names)]), asked),
        together=[group for group in together if max(group) < len(listed)],
        packets=int(np.count_nonzero(are_packets(rows))),
    )


def known_macs(asked: Asked, found: Found) -> list[tuple[dict[str, Any], macs.Macs]]:
    """The first insides, and the MAC addresses that are known of each."""
    insides = [macs.inside(found.nearest, number) for number in range(len(found.nearest))]
    return [(inside, macs.of(found.neighbours, inside, asked.since, asked.until)) for inside in insides]


def _insides(rows: pa.Table) -> tuple[pa.Table, int]:
    """The first row of each of the first insides, with the number of its rows; and how many insides there are."""
    if not len(rows):
        return rows.append_column("count", pa.array([], pa.int64())), 0
    code = np.zeros(len(rows), np.int64)
    for name in ("node", "netns", "family", "inner_ip"):
        column = rows[name] if name == "inner_ip" else rows[name].cast(pa.string())
        values = column.combine_chunks().dictionary_encode()
        code = code * len(values.dictionary) + values.indices.to_numpy()
    _, first, counts = np.unique(code, return_index=True, return_counts=True)
    shown = np.argsort(first)[:SHOWN_INSIDES]
    return rows.take(first[shown]).append_column("count", pa.array(counts[shown])), len(first)


class _Roles(NamedTuple):
    """What rows tell of the address."""

    line: Array
    source: Array
    """It is the translated source."""
    translated: Array
    """It is the source, and something else was before."""
    taken_off: Array
    """It is a destination that leads inside."""
    routed: Array
    """Nothing was translated."""

    @property
    def passing(self) -> Array:
        """The source came with that address already."""
        found: Array = self.source & ~self.translated & ~self.taken_off & ~self.line
        return found


def _roles(rows: pa.Table, asked: Asked) -> _Roles:
    line, source = one_sided.among(rows), asked.address.rows(rows, "nat_src")
    source_moved, destination_moved = (_moved(rows, side) for side in ("src", "dst"))
    ours = destination_moved | (_array(pc.equal(rows["class"], label(Class.LOCAL))) & ~_to_group(rows))
    translated, taken_off = source & source_moved & ~line, asked.address.rows(rows, "dst") & ours & ~line
    return _Roles(line, source, translated, taken_off, ~source_moved & ~ours & ~line)


def _candidates(
    rows: pa.Table, matching: int, asked: Asked, places: pa.Array
) -> tuple[pa.Table, Array, dict[int, list[int]], bool]:
    """All rows with the inner side as columns of their own; the numbers of those that tell who was behind the address;
    which of the others are the same connection; and whether one whose public side is recorded was open at that very
    time. Of the rows behind the first `matching` only those are told that are one connection with one of these."""
    roles = _roles(rows, asked)
    same = passages.chains(rows, roles.translated, roles.passing)
    same = {sender: passed for sender, passed in same.items() if min(sender, *passed) < matching}
    as_asked = np.arange(len(rows)) < matching
    exact = (roles.translated | roles.taken_off) & as_asked
    exact[list(same)] = True
    loose = roles.passing & as_asked & (asked.to is not None)
    loose[[row for passed in same.values() for row in passed]] = False
    settled = bool((_distance(rows, asked.at.us)[exact] < times.SECOND).any())
    routed = roles.routed & as_asked
    told = exact if exact.any() else routed if routed.any() else loose
    if not settled:
        told = told | one_sided.chosen(rows, asked.address, places) | (loose & exact.any())
    as_source = np.where(roles.line, one_sided.from_inside(rows), roles.source & (roles.translated | ~roles.taken_off))
    for name in ("ip", "port"):
        sides = [rows[f"{side}_{name}"].combine_chunks() for side in ("src", "nat_dst")]
        rows = rows.append_column(f"inner_{name}", pc.if_else(pa.array(as_source), *sides))
    return rows, np.flatnonzero(told), same, settled


def _moved(rows: pa.Table, side: str) -> Array:
    """Which rows had their source or destination translated."""
    parts = [pc.not_equal(rows[f"{side}_{name}"], rows[f"nat_{side}_{name}"]) for name in ("ip", "port")]
    return _array(pc.or_(*parts))


def _to_group(rows: pa.Table) -> Array:
    """Which rows are of link-local multicast: class `local` means there that the namespace sent it."""
    return np.logical_or(*(_array(pc.starts_with(rows["nat_dst_ip"], group)) for group in GROUPS))


def _array(column: pa.ChunkedArray) -> Array:
    """A column of truth; what is not known is not true."""
    found: Array = column.fill_null(False).to_numpy()
    return found


def _distance(rows: pa.Table, at: int) -> Array:
    """How far each row was from being open at a time; where nobody recorded the end, from its start."""
    start = rows["start"].cast(pa.int64()).to_numpy()
    end = rows["end"].cast(pa.int64()).fill_null(_FAR).to_numpy()
    end = np.where(one_sided.endless(rows), start, end)
    distance: Array = np.maximum(np.maximum(start - at, at - end), 0)
    return distance


def _order(rows: pa.Table, asked: Asked, places: pa.Array) -> Array:
    """Row numbers, nearest to the time first: by how far from being open then, then by how long before it began. Behind
    all others the lines of text, the likelier first.

    One that was found after that time (`start_is`) may have been open then: it comes behind those that were.
    """
    start = rows["start"].cast(pa.int64()).to_numpy()
    unlikely = one_sided.unlikely(rows, asked.address, places)
    maybe = found(rows) & (start > asked.at.us)
    distance = np.where(maybe, 0, _distance(rows, asked.at.us))
    order: Array = np.lexsort((np.abs(start - asked.at.us), maybe, distance, unlikely))
    return order


def are_packets(rows: pa.Table) -> Array:
    """Which rows are no connection, but a packet that conntrack calls invalid."""
    return _array(pc.equal(rows["origin"].cast(pa.string()), label(Origin.PACKET)))


def found(rows: pa.Table) -> Array:
    """Which rows began at their `start` or before: the kernel told no time."""
    return _array(pc.equal(rows["start_is"].cast(pa.string()), label(StartIs.FOUND)))


def _neighbours(store: Store, rows: pa.Table, asked: Asked) -> pa.Table:
    """Which MAC addresses stood behind each inner address in the window, and while its connections lasted."""
    inner = rows.select(["family", "inner_ip"]).group_by(["family", "inner_ip"]).aggregate([]).to_pylist()
    addresses = [sql.single(one["inner_ip"], family_of(one["family"])) for one in inner]
    names = rows["netns"].unique().to_pylist()
    inside = sql.every(
        [
            sql.either(sql.address_in("address", address) for address in addresses),
            sql.text_in("netns", names) if names else "FALSE",
        ]
    )
    starts, last = pc.min_max(rows["start"].cast(pa.int64())).as_py(), pc.max(rows["end"].cast(pa.int64())).as_py()
    since = min(asked.since, (starts["min"] or asked.since) - macs.LAG)
    until = max(asked.until, last or 0, (starts["max"] or 0) + macs.LAG)
    return store.intervals("neighbours", inside, since, until)
