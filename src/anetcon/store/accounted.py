"""Which audited namespaces account for an address, and when: only there is "nothing found" worth anything.

A namespace accounts for an address while

- the address stands on one of its interfaces;
- it is attached, and translates to or from the address, as its connections before and afterwards show (at most NEAR
  away): the address of a pool, which stands on no interface;
- the address lies in a network behind it: one whose route goes out of an interface that carries no default route.
  On the other side of a router, where its default route leads, there are others with addresses of the same network.

The configuration accounts for the networks of `audit.public`, as it was at that time: they are rows of the table
`routes` whose interface is PUBLIC. Of those it is not known which namespace has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from anetcon.record import PUBLIC, Family, label
from anetcon.store import sql
from anetcon.store.layout import DAY
from anetcon.store.reader import Store
from anetcon.store.sql import Network

NEAR = DAY
"""Microseconds before and behind the window in which connections show that an address is translated here."""

FAR = 1 << 62

_WIDE = {Family.IPV4: 8, Family.IPV6: 16}
"""A route of fewer bits stands for everything else, as the default route does (0.0.0.0/1, 2000::/3)."""

Place = tuple[str, str]
"""Node and namespace."""
Span = tuple[int, int]
"""First and last microsecond."""
Spans = list[tuple[Place, Span]]


Holes = Callable[[Collection[Place]], Spans]


class Account(NamedTuple):
    """What accounts for an address in a window: the `missing` parts are those in which nothing does."""

    missing: list[Span]
    places: frozenset[Place] | None
    """The namespaces that can have had the address; None where it is not known of the whole window."""
    translated: bool
    """Whether it is, in the whole window, an address that is translated, or one of the namespace itself."""


def account(
    store: Store,
    address: Network,
    window: Span,
    attached: pa.Table,
    scope: str,
    holes: Callable[[Collection[Place]], Spans],
) -> Account:
    """What accounts for an address. `attached` are the rows of `addresses` of the window; `scope` is the condition for
    namespaces and nodes that are asked about; `holes` are the gaps of all namespaces and of these: what they say is
    said."""

    def missing(found: Spans) -> list[Span]:
        return left(window, found + holes({place for place, _ in found}))

    own = spans(rows_of(address, attached))
    behind = _behind(store, address, window, scope) if missing(own) else []
    if missing(own + behind):
        own += _translations(store, address, window, attached, scope)
    found = own + behind
    places = frozenset(place for place, _ in found) if found and not missing(found) else None
    public = _public(store, address, window) if places is None else []
    return Account(missing(found + public), places, translated=bool(own) and not missing(own))


def rows_of(address: Network, attached: pa.Table) -> pa.Table:
    """The rows of `addresses` that are of this one."""
    same = pc.equal(attached["address"], pa.scalar(address.first, pa.binary()))
    return attached.filter(pc.and_(same, pc.equal(attached["family"].cast(pa.string()), label(address.family))))


def places_of(rows: pa.Table) -> frozenset[Place]:
    """The namespaces that rows are of."""
    return frozenset(place for place, _ in spans(rows))


def left(window: Span, found: Spans) -> list[Span]:
    """The parts of the window that none of these has. A moment is a window, too."""
    first, last = window
    inside = sorted(span for _, span in found if span[0] <= last and span[1] >= first)
    if not inside:
        return [window]
    at, missing = first, []
    for begin, end in inside:
        if begin > at:
            missing.append((at, begin))
        at = max(at, end)
    return [*missing, (at, last)] if at < last else missing


def spans(rows: pa.Table) -> Spans:
    """Node and namespace of rows with `from` and `to`, and those in microseconds."""
    names = zip(*(rows[name].cast(pa.string()).to_pylist() for name in ("node", "netns")), strict=True)
    begins, ends = (rows[name].cast(pa.int64()).to_pylist() for name in ("from", "to"))
    times = ((begin or 0, FAR if end is None else end) for begin, end in zip(begins, ends, strict=True))
    return list(zip(names, times, strict=True))


def _translations(store: Store, address: Network, window: Span, attached: pa.Table, scope: str) -> Spans:
    """While each namespace was attached, from the first of its connections nearby that show that it translates the
    address to the last."""
    itself = sql.blob(address.first)
    moved = [
        f"({public}_ip = {itself} AND ({public}_ip <> {inner}_ip OR {public}_port <> {inner}_port))"
        for public, inner in (("nat_src", "src"), ("dst", "nat_dst"))
    ]
    translated = sql.every([scope, _of(address.family), sql.either(moved)])
    seen = store.seen(translated, window[0] - NEAR, window[1] + NEAR)
    present = spans(attached)
    return [
        (place, (max(begin, first), min(end, last)))
        for place, (begin, end) in spans(seen)
        for other, (first, last) in present
        if other == place and max(begin, first) <= min(end, last)
    ]


def _behind(store: Store, address: Network, window: Span, scope: str) -> Spans:
    """While the route to the address goes out of an interface that no default route goes out of, and one of another
    does: where none is known, nothing tells the inside from the outside."""
    wide = _WIDE[address.family]
    reaching = sql.either([f"prefix_length < {wide}", *_containing(address, wide)])
    inside = f"interface <> {sql.quoted(PUBLIC)}"
    rows = store.intervals("routes", sql.every([scope, _of(address.family), inside, reaching]), *window)
    of: dict[tuple[Place, int], list[tuple[Span, str, int]]] = {}
    columns = (rows[name].to_pylist() for name in ("netns_inode", "interface", "prefix_length"))
    for (place, span), inode, interface, length in zip(spans(rows), *columns, strict=True):
        of.setdefault((place, inode), []).append((span, interface, length))
    found: Spans = []
    for (place, _), known in of.items():
        ends = {max(window[0], min(end, window[1])) for span, _, _ in known for end in span}
        times = sorted({*window, *ends})
        for begin, end in pairwise(times) if len(times) > 1 else [window]:
            now = [(name, length) for (first, last), name, length in known if first <= begin and end <= last]
            if _is_inside(now, wide):
                found.append((place, (begin, end)))
    return found


def _is_inside(routes: list[tuple[str, int]], wide: int) -> bool:
    """Whether the longest of these routes, by interface and length, leads inside."""
    outside = {name for name, length in routes if length < wide}
    longest = max((length for _, length in routes), default=0)
    return (
        bool(outside) and longest >= wide and outside.isdisjoint(name for name, length in routes if length == longest)
    )


def _public(store: Store, address: Network, window: Span) -> Spans:
    """While the configuration said that the address is here."""
    itself = [f"interface = {sql.quoted(PUBLIC)}", _of(address.family), sql.either(_containing(address, 0))]
    return spans(store.intervals("routes", sql.every(itself), *window))


def _of(family: Family) -> str:
    return f"family = {sql.quoted(label(family))}"


def _containing(address: Network, least: int) -> list[str]:
    """The conditions for each network of at least so many bits that has the address."""
    bits = 32 if address.family == Family.IPV4 else 128
    number = int.from_bytes(address.first, "big")
    networks = ((length, number >> bits - length << bits - length) for length in range(least, bits + 1))
    return [f"(prefix_length = {n} AND network = {sql.blob(first.to_bytes(16, 'big'))})" for n, first in networks]
