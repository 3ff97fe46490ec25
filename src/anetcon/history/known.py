"""Which rows the store has already.

A connection is told by its node, its namespace (where both sides know it), protocol, opener, and the destination after
translation, which every text has. Of what was imported before, one row stands for one line with the same time, to the
second where either has no fraction: so the same lines again, from whatever file, add nothing, and of two equal lines in
one file each is a connection. Two equal lines of which two files have one each are one. Of what this daemon recorded
itself, one row stands for one line that is at most `NEAR` from its start: stamps are those of a syslog daemon.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.decode.columns import Array
from anetcon.history.batch import Batch, arrow
from anetcon.history.names import number
from anetcon.identity.tuples import addresses, flow_hash, new_key, node_number, numbers
from anetcon.record import Origin, label
from anetcon.store import where
from anetcon.store.view import Store

SECOND = 1_000_000
NEAR = 3 * SECOND
ENDS = ("proto", "src_ip", "src_port", "nat_dst_ip", "nat_dst_port")
COLUMNS = ("start", "node", "netns", *ENDS, "origin")

_UNKNOWN = 1 << 40
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Side:
    """Rows to be compared: a hash without and one with the namespace, the start, and whether it knows no namespace."""

    loose: Array
    exact: Array
    start: Array
    nowhere: Array
    imported: Array

    def take(self, rows: Array) -> Side:
        """Some of them."""
        parts = (self.loose, self.exact, self.start, self.nowhere, self.imported)
        return Side(*(part[rows] for part in parts))


def known(store: Store, batch: Batch, nodes: list[str], namespaces: list[str], without: Collection[int]) -> Array:
    """Which rows of the batch the store has, but for what the seals `without` brought."""
    found: Array = np.zeros(batch.rows, np.bool_)
    if not batch.rows:
        return found
    start = batch.of["start"][: batch.rows]
    since, until = int(start.min()) - NEAR, int(start.max()) + NEAR + SECOND
    ends = pa.table({name: arrow(name, batch.of[name][: batch.rows]) for name in ENDS})
    # A batch may be of a long time in which the store has much else: that is not to be held in memory.
    rows = store.begun(COLUMNS, where.text_in("node", nodes), since, until, ends, without)
    if not len(rows):
        return found
    key = new_key()
    return match(_of_batch(batch, nodes, namespaces, key), _of_table(rows, key))


def match(new: Side, old: Side) -> Array:
    """Which new rows have an old one, each old one at most one."""
    found: Array = np.zeros(len(new.start), np.bool_)
    taken: Array = np.zeros(len(old.start), np.bool_)
    _pair(new, old, "exact", found, taken, ~new.nowhere, ~old.nowhere)
    if new.nowhere.any() or old.nowhere.any():
        _pair(new, old, "loose", found, taken, new.nowhere, np.ones(len(old.start), np.bool_))
        _pair(new, old, "loose", found, taken, ~new.nowhere, old.nowhere)
    return found


def _pair(new: Side, old: Side, key: str, found: Array, taken: Array, these: Array, those: Array) -> None:
    """Pair what is left of these new rows with what is left of those old ones."""
    for imported in (True, False):
        ours, theirs = np.flatnonzero(these & ~found), np.flatnonzero(those & ~taken & (old.imported == imported))
        if not len(ours) or not len(theirs):
            continue
        keys = getattr(new, key)[ours], getattr(old, key)[theirs]
        pairs = _same if imported else _near
        one, other = pairs(keys[0], new.start[ours], keys[1], old.start[theirs])
        found[ours[one]] = True
        taken[theirs[other]] = True


def _same(key: Array, start: Array, old_key: Array, old_start: Array) -> tuple[Array, Array]:
    """Pairs of equal time; then of equal second, where exactly one of the two has no fraction."""
    one, other = _equal(_mixed(key, start), _mixed(old_key, old_start))
    left, rest = (np.delete(np.arange(len(values)), rows) for values, rows in ((key, one), (old_key, other)))
    pairs = [(one, other)]
    for coarse in (True, False):
        new = left[(start[left] % SECOND == 0) == coarse]
        old = rest[(old_start[rest] % SECOND == 0) != coarse]
        first, second = _equal(_mixed(key[new], start[new] // SECOND), _mixed(old_key[old], old_start[old] // SECOND))
        pairs.append((new[first], old[second]))
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _equal(new: Array, old: Array) -> tuple[Array, Array]:
    """Places of equal values, the first with the first, the second with the second."""
    new, old = _numbered(new), _numbered(old)
    _, one, other = np.intersect1d(new, old, assume_unique=True, return_indices=True)
    return one, other


def _numbered(values: Array) -> Array:
    """Equal values told apart by which of them each is."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]) != 0)
    which = np.empty(len(values), np.int64)
    which[order] = np.arange(len(values)) - np.repeat(first, np.diff(first, append=len(values)))
    return _mixed(values, which)


def _mixed(key: Array, value: Array) -> Array:
    mixed: Array = (key ^ value.astype(np.uint64)) * _MIX
    mixed ^= mixed >> np.uint64(31)
    mixed *= _MIX
    return mixed


def _near(key: Array, start: Array, old_key: Array, old_start: Array) -> tuple[Array, Array]:
    """Pairs at most NEAR apart, in the order of time; a start without a fraction may be up to a second later."""
    ours, theirs = np.flatnonzero(np.isin(key, old_key)), np.flatnonzero(np.isin(old_key, key))
    ours, theirs = ours[np.lexsort((start[ours], key[ours]))], theirs[np.lexsort((old_start[theirs], old_key[theirs]))]
    keys, others = key[ours].tolist(), old_key[theirs].tolist()
    times, old_times = start[ours].tolist(), old_start[theirs].tolist()
    one, other = [], []
    at = 0
    for row, (value, time) in enumerate(zip(keys, times, strict=True)):
        latest = time + NEAR + (SECOND if time % SECOND == 0 else 0)
        while at < len(others) and (others[at] < value or (others[at] == value and old_times[at] < time - NEAR)):
            at += 1
        if at < len(others) and others[at] == value and old_times[at] <= latest:
            one.append(row)
            other.append(at)
            at += 1
    return ours[one], theirs[other]


def _of_batch(batch: Batch, nodes: list[str], namespaces: list[str], key: Array) -> Side:
    rows = slice(0, batch.rows)
    of = {name: batch.of[name][rows] for name in COLUMNS}
    node = np.array([node_number(name) for name in nodes], np.uint64)[of["node"]]
    return _side(of, node, _places(namespaces)[of["netns"]], np.ones(batch.rows, np.bool_), key)


def _of_table(rows: pa.Table, key: Array) -> Side:
    of = {name: numbers(rows[name]) for name in ("start", "proto", "src_port", "nat_dst_port")}
    of |= {name: addresses(rows[name].cast(pa.binary(16))) for name in ("src_ip", "nat_dst_ip")}
    texts = {name: rows[name].cast(pa.string()).combine_chunks().dictionary_encode() for name in ("node", "netns")}
    codes = {name: (column.dictionary.to_pylist(), column.indices.to_numpy()) for name, column in texts.items()}
    node = np.array([node_number(name) for name in codes["node"][0]], np.uint64)[codes["node"][1]]
    imported = pc.equal(rows["origin"].cast(pa.string()), label(Origin.IMPORT)).to_numpy()
    return _side(of, node, _places(codes["netns"][0])[codes["netns"][1]], imported, key)


def _places(names: list[str]) -> Array:
    found = [number(name) for name in names]
    return np.array([_UNKNOWN if one is None else one for one in found], np.int64)


def _side(of: dict[str, Array], node: Array, place: Array, imported: Array, key: Array) -> Side:
    columns = {
        **{name: of[name] for name in ("proto", "src_ip", "src_port")},
        "dst_ip": of["nat_dst_ip"],
        "dst_port": of["nat_dst_port"],
        "zone": np.zeros(len(node), np.uint16),
        "netns_inode": np.zeros(len(node), np.uint64),
        "node": node,
    }
    columns = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    loose = flow_hash(columns, key)
    return Side(loose, _mixed(loose, place), of["start"], place == _UNKNOWN, imported)
