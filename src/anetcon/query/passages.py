"""One connection that several namespaces of a node saw, each with a row of its own.

Who is behind one router and calls a floating address of another makes two rows. The first router translates the source,
the second the destination, and the far ends of the first row are the near ends of the second. The second row only
*passes*: its source is the public address. But its far side is what the victim saw. `senders` finds the rows that who
asks with just these two ends does not ask for, and `chains` says which rows are one connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.query import one_sided, times
from anetcon.query.filters import place
from anetcon.store import sql
from anetcon.store.reader import Store

if TYPE_CHECKING:
    from anetcon.query.who import Asked

Array = np.ndarray[Any, np.dtype[Any]]

HOPS = 2
"""How many namespaces a connection is followed through behind the one that translated its source."""

_KEYS = ("node", "family", "proto", "src_ip", "src_port", "dst_ip", "dst_port")
_FAR = np.iinfo(np.int64).max // 2


def senders(store: Store, asked: Asked, rows: pa.Table, passing: Array) -> pa.Table:
    """The rows asked for, and behind them others that left from the same address while those that pass were open: to
    an other end that is not as asked."""
    if asked.to is None or not passing.any():
        return rows
    start, end = (column[passing] for column in _times(rows))
    until = None if end.max() == _FAR else int(end.max()) + times.SECOND
    besides = [f"NOT {one_sided.ARE}", asked.address.on("nat_src"), f"NOT ({asked.condition()})"]
    condition = sql.every([*besides, *place(asked.netns, asked.node)])
    others = store.connections(condition, max(0, int(start.min()) - times.SECOND), until).read_all()
    return pa.concat_tables([rows, others.cast(rows.schema)]).unify_dictionaries()


def chains(rows: pa.Table, translated: Array, passing: Array) -> dict[int, list[int]]:
    """Of each row that translated its source the rows that pass and are the same connection, next hop first."""
    if not translated.any() or not passing.any():
        return {}
    after = _steps(rows, translated | passing, passing)
    found = {}
    for sender in after.keys() & set(np.flatnonzero(translated).tolist()):
        reached: dict[int, None] = {}
        hop = [sender]
        for _ in range(HOPS):
            hop = [row for before in hop for row in after.get(before, ()) if row not in reached]
            reached |= dict.fromkeys(hop)
        found[sender] = list(reached)
    return found


def beside(order: Array, chains: dict[int, list[int]]) -> tuple[Sequence[int] | Array, list[list[int]]]:
    """The candidates in their order, each with the rows that are the same connection behind it; and where in that list
    these are."""
    if not chains:
        return order, []
    at: dict[int, int] = {}
    for sender in order.tolist():
        for row in (sender, *chains.get(sender, ())):
            at.setdefault(row, len(at))
    return list(at), [[at[row] for row in (sender, *chains[sender])] for sender in order.tolist() if sender in chains]


def _steps(rows: pa.Table, before: Array, after: Array) -> dict[int, list[int]]:
    """Which rows got what a row sent: in another namespace of the node, open within a second of each other."""
    near = _ends(rows, {}, after)
    far = _ends(rows, {name: f"nat_{name}" for name in _KEYS[3:]}, before)
    pairs = far.join(near, list(_KEYS), join_type="inner", left_suffix="_before", right_suffix="_after")
    one, other = (
        {name: pairs[f"{name}_{side}"].to_numpy() for name in ("row", "start", "end")} for side in ("before", "after")
    )
    together = (one["start"] <= other["end"] + times.SECOND) & (other["start"] <= one["end"] + times.SECOND)
    together &= pc.not_equal(pairs["netns_before"], pairs["netns_after"]).to_numpy()
    found: dict[int, list[int]] = {}
    for sent, got in sorted(zip(one["row"][together].tolist(), other["row"][together].tolist(), strict=True)):
        found.setdefault(sent, []).append(got)
    return found


def _ends(rows: pa.Table, names: dict[str, str], chosen: Array) -> pa.Table:
    """What rows are compared by, under the names of their near ends."""
    start, end = _times(rows)
    columns = {name: rows[names.get(name, name)] for name in (*_KEYS, "netns")}
    texts = {name: columns[name].cast(pa.string()) for name in ("node", "family", "netns")}
    places = {"row": np.arange(len(rows)), "start": start, "end": end}
    return pa.table(columns | texts | places).filter(pa.array(chosen))


def _times(rows: pa.Table) -> tuple[Array, Array]:
    """Start and end; the end of one that is open is far in the future."""
    start = rows["start"].cast(pa.int64()).to_numpy()
    end = rows["end"].cast(pa.int64()).fill_null(_FAR).to_numpy()
    return start, np.where(one_sided.endless(rows), start, end)
