"""Which rows the store has already, and of which it knew less.

A connection is told by its node, its namespace (where both sides know it), protocol, opener, and the destination after
translation, which every text has. Of what was imported before, one row stands for one line with the same time, to the
second where either has no fraction: so the same lines again, from whatever file, add nothing, and of two equal lines in
one file each is a connection. Two equal lines of which two files have one each are one. Of what this daemon recorded
itself, one row stands for one line that is at most `NEAR` from its start: stamps are those of a syslog daemon.

A row that was imported before and knows less than the one that comes (its end, the other side, the name of its
namespace) goes, and that takes its place. A DESTROY whose NEW is in no text of this run ends the connection that an
import left open: it may be much older, so it is looked for by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.decode.columns import NONE, Array
from anetcon.history.line_batch import TOLD, UNTOLD, LineBatch, arrow, ended
from anetcon.history.names import HASH, NamespaceCodes
from anetcon.identity.tuples import addresses, flow_hash, new_key, node_number, numbers
from anetcon.record import UNKNOWN_NETNS, Family, Origin, StartIs, label
from anetcon.store import sql
from anetcon.store.layout import DAY
from anetcon.store.reader import Store

SECOND = 1_000_000
NEAR = 3 * SECOND
LATE = 120 * SECOND
"""Microseconds that a DESTROY may be printed late."""
LONGEST = 30 * DAY
"""Of what it does not say, how long a connection may have lasted."""
ENDS = ("family", "proto", "src_ip", "src_port", "nat_dst_ip", "nat_dst_port")
COLUMNS = ("start", "node", "netns", *ENDS, "zone", "end", "nat_src_ip", "origin")

_UNKNOWN = 1 << 40
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Side:
    """Rows to be compared: a hash without and one with the namespace, the start, whether it knows no namespace, and was
    imported; and what it knows, by kind, the more the greater."""

    loose: Array
    exact: Array
    start: Array
    nowhere: Array
    imported: Array
    knows: Array


@dataclass
class Matched:
    """Rows of a batch that the store has (`have`); those that it has, but knew less of (`better`), and where."""

    have: Array
    better: Array
    file: Array
    row: Array

    @classmethod
    def nothing(cls, rows: int) -> Matched:
        """None of so many."""
        have, better = (np.zeros(rows, np.bool_) for _ in range(2))
        return cls(have, better, np.full(rows, None, np.object_), np.zeros(rows, np.int64))

    def gone(self, chosen: Array) -> dict[str, Array]:
        """The rows of the store, by file, that these take the place of."""
        files, rows = self.file[chosen], self.row[chosen]
        return {file: rows[files == file] for file in set(files.tolist())}


def known(
    store: Store, batch: LineBatch, nodes: list[str], namespaces: NamespaceCodes, without: Collection[str]
) -> Matched:
    """Which rows of the batch the store has, but for what is in the files `without`. What ends a connection that the
    store has open is given the start of that."""
    found = Matched.nothing(batch.rows)
    if not batch.rows:
        return found
    key = new_key()
    new = _of_batch(batch, nodes, namespaces, key)
    condition = sql.every([sql.text_in("node", nodes), f"origin <> {sql.quoted(label(Origin.PACKET))}"])
    since, until = int(new.start.min()) - NEAR, int(new.start.max()) + NEAR + SECOND
    # A batch may be of a long time in which the store has much else: that is not to be held in memory.
    rows = store.begun(COLUMNS, condition, since, until, _ends(batch, np.arange(batch.rows)), without)
    if len(rows):
        old = _of_table(rows, namespaces, key)
        pairs = match(new, old)
        ours = np.flatnonzero(pairs >= 0)
        theirs = pairs[ours]
        more, less = new.knows[ours] > old.knows[theirs], new.knows[ours] < old.knows[theirs]
        better = old.imported[theirs] & more.any(axis=1) & ~less.any(axis=1)
        found.have[ours], found.better[ours] = ~better, better
        places = rows.take(pa.array(theirs[better]))
        found.file[ours[better]], found.row[ours[better]] = places["file"].to_pylist(), places["row"].to_numpy()
        _finer(batch, ours[better], old.start[theirs[better]])
    lasted = batch.of["lasted"][: batch.rows]
    ends = np.flatnonzero((lasted != TOLD) & ~found.have & ~found.better)
    if len(ends):
        start, printed = (batch.of[name][ends] for name in ("start", "end"))
        since = int(np.where(lasted[ends] == UNTOLD, printed - LONGEST, start - LATE).min())
        condition = sql.every([condition, sql.text_in("origin", [label(Origin.IMPORT)]), "nat_src_ip IS NOT NULL"])
        rows = store.begun(COLUMNS, condition, since, int(printed.max()), _ends(batch, ends), without)
        if len(rows):
            _end(batch, ends, new, rows, _of_table(rows, namespaces, key), found)
    return found


def _ends(batch: LineBatch, rows: Array) -> pa.Table:
    return pa.table({name: arrow(name, batch.of[name][rows]) for name in ENDS})


def _finer(batch: LineBatch, rows: Array, start: Array) -> None:
    """Of two stamps of one second, the one with a fraction is later and tells more, whichever row has it."""
    of = batch.of
    of["start"][rows] = start = np.maximum(of["start"][rows], start)
    end = of["end"][rows]
    of["end"][rows] = np.where(end == NONE, NONE, np.maximum(end, start))


def _end(batch: LineBatch, ends: Array, new: Side, rows: pa.Table, old: Side, found: Matched) -> None:
    """Give each of these ends the latest connection of its tuple that is open, where there is one; where one has ended
    so, the store has it already. One that another row of the batch takes the place of is not open any more."""
    taken = set(zip(found.file[found.better].tolist(), found.row[found.better].tolist(), strict=True))
    tuples: dict[tuple[int, int], list[tuple[int, int, str, int]]] = {}
    zones, stops = numbers(rows["zone"]).tolist(), numbers(rows["end"], NONE).tolist()
    places = zip(rows["file"].to_pylist(), rows["row"].to_pylist(), strict=True)
    for key, zone, start, stop, at in zip(old.exact.tolist(), zones, old.start.tolist(), stops, places, strict=True):
        if at not in taken:
            tuples.setdefault((key, zone), []).append((start, stop, *at))
    of = batch.of
    for row in ends[np.argsort(of["end"][ends], kind="stable")].tolist():
        guessed, printed, lasted = (int(of[name][row]) for name in ("start", "end", "lasted"))
        of_tuple = tuples.get((int(new.exact[row]), int(of["zone"][row])), [])
        earliest, latest = (0, printed) if lasted == UNTOLD else (guessed - LATE, min(guessed + 2 * SECOND, printed))
        fitting = [one for one in of_tuple if earliest <= one[0] <= latest]
        if any(stop == ended(start, printed, lasted) for start, stop, *_ in fitting):
            found.have[row] = True
        elif still := [one for one in fitting if one[1] == NONE]:
            latest_open = max(still)
            of_tuple.remove(latest_open)
            start = latest_open[0]
            of["start"][row], of["end"][row] = start, ended(start, printed, lasted)
            of["start_is"][row] = StartIs.BEGIN
            found.better[row], found.file[row], found.row[row] = True, *latest_open[2:]


def match(new: Side, old: Side) -> Array:
    """For each new row an old one, each old one at most once; -1 where there is none."""
    found: Array = np.full(len(new.start), -1, np.int64)
    taken: Array = np.zeros(len(old.start), np.bool_)
    _pair(new, old, "exact", found, taken, ~new.nowhere, ~old.nowhere)
    if new.nowhere.any() or old.nowhere.any():
        _pair(new, old, "loose", found, taken, new.nowhere, np.ones(len(old.start), np.bool_))
        _pair(new, old, "loose", found, taken, ~new.nowhere, old.nowhere)
    return found


def _pair(new: Side, old: Side, key: str, found: Array, taken: Array, these: Array, those: Array) -> None:
    """Pair what is left of these new rows with what is left of those old ones."""
    for imported in (True, False):
        ours, theirs = np.flatnonzero(these & (found < 0)), np.flatnonzero(those & ~taken & (old.imported == imported))
        if not len(ours) or not len(theirs):
            continue
        keys = getattr(new, key)[ours], getattr(old, key)[theirs]
        pairs = _same if imported else _near
        one, other = pairs(keys[0], new.start[ours], keys[1], old.start[theirs])
        found[ours[one]] = theirs[other]
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


def _of_batch(batch: LineBatch, nodes: list[str], namespaces: NamespaceCodes, key: Array) -> Side:
    rows = slice(0, batch.rows)
    of = {name: column[rows] for name, column in batch.of.items()}
    node = np.array([node_number(name) for name in nodes], np.uint64)[of["node"]]
    knows = (of["end"] != NONE, of["both"], _named(namespaces.names)[of["netns"]])
    place = _places(namespaces.names, namespaces)[of["netns"]]
    return _side(of, node, place, np.ones(batch.rows, np.bool_), knows, key)


def _of_table(rows: pa.Table, namespaces: NamespaceCodes, key: Array) -> Side:
    of = {name: numbers(rows[name]) for name in ("start", "proto", "src_port", "nat_dst_port")}
    of |= {name: addresses(rows[name].cast(pa.binary(16))) for name in ("src_ip", "nat_dst_ip")}
    texts = {name: rows[name].cast(pa.string()).combine_chunks().dictionary_encode() for name in ("node", "netns")}
    codes = {name: (column.dictionary.to_pylist(), column.indices.to_numpy()) for name, column in texts.items()}
    node = np.array([node_number(name) for name in codes["node"][0]], np.uint64)[codes["node"][1]]
    of["family"] = pc.equal(rows["family"].cast(pa.string()), label(Family.IPV6)).to_numpy()
    imported = pc.equal(rows["origin"].cast(pa.string()), label(Origin.IMPORT)).to_numpy()
    names, netns = codes["netns"]
    knows = (*(rows[name].is_valid().to_numpy() for name in ("end", "nat_src_ip")), _named(names)[netns])
    return _side(of, node, _places(names, namespaces)[netns], imported, knows, key)


def _named(names: list[str]) -> Array:
    """How much each name of a namespace tells: nothing, a hash, what it is called."""
    return np.array([0 if name == UNKNOWN_NETNS else 1 if HASH.fullmatch(name) else 2 for name in names], np.int8)


def _places(names: list[str], namespaces: NamespaceCodes) -> Array:
    found = [namespaces.place(name) for name in names]
    return np.array([_UNKNOWN if one is None else one for one in found], np.int64)


def _side(of: dict[str, Array], node: Array, place: Array, imported: Array, knows: Sequence[Array], key: Array) -> Side:
    columns = {
        **{name: of[name] for name in ("family", "proto", "src_ip", "src_port")},
        "dst_ip": of["nat_dst_ip"],
        "dst_port": of["nat_dst_port"],
        "zone": np.zeros(len(node), np.uint16),
        "netns_inode": np.zeros(len(node), np.uint64),
        "node": node,
    }
    columns = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    loose = flow_hash(columns, key)
    return Side(loose, _mixed(loose, place), of["start"], place == _UNKNOWN, imported, np.stack(knows, axis=1))
