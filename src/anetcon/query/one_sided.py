"""Connections that are lines of text (`record.LINES`) as an answer to `who`: possible, the public side being unknown.

A line of class `nat` knows the inside that opened the connection and what it addressed; one of class `float` knows who
came from outside and the inside that was reached. Either may be the one asked about when its other end is what --to
says. Without --to nearly every line near that time could be it: that is no answer, so only those are taken whose source
is the address itself, as it is where nothing is translated (IPv6).

Who asks about an address of one of our namespaces (`places`) asks about what that namespace translated, so a line of
another namespace with that very source merely passed it. When nothing here has the address, such a line is the best
there is, and the others are not it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.record import LINES, Class, label
from anetcon.store import sql

if TYPE_CHECKING:
    from anetcon.query.who import Endpoint

Array = np.ndarray[Any, np.dtype[Any]]

_ORIGINS = [label(origin) for origin in LINES]
ARE = f"({sql.every([sql.text_in('origin', _ORIGINS), 'nat_src_ip IS NULL'])})"
"""The condition that a row is a line of the kernel's: imported text may know both sides."""

_NAT, _FLOAT = label(Class.NAT), label(Class.FLOAT)


def condition(address: Endpoint, to: Endpoint | None) -> str:
    """The lines that may be of a connection of this address to that other end."""
    itself = sql.every([f"class = '{_NAT}'", address.on("src"), *([to.on("dst")] if to else [])])
    fitting = [f"({itself})"]
    if to is not None:
        fitting += [f"(class = '{_NAT}' AND {to.on('dst')})", f"(class = '{_FLOAT}' AND {to.on('src')})"]
    return f"({sql.every([ARE, sql.either(fitting)])})"


def among(rows: pa.Table) -> Array:
    """Which rows are lines."""
    line = pc.is_in(rows["origin"].cast(pa.string()), pa.array(_ORIGINS))
    found: Array = pc.and_(line, pc.is_null(rows["nat_src_ip"])).to_numpy()
    return found


def endless(rows: pa.Table) -> Array:
    """Which rows have an end that nobody recorded: for all that is known they were open at their start."""
    found: Array = pc.and_(pc.is_null(rows["end"]), pc.is_valid(rows["end_reason"])).to_numpy()
    return found


def from_inside(rows: pa.Table) -> Array:
    """Which of them the inside opened; the others came to it from outside."""
    found: Array = pc.not_equal(rows["class"].cast(pa.string()), _FLOAT).to_numpy()
    return found


def places(addresses: pa.Table) -> pa.Array:
    """The namespaces, each with its node, that had the address (rows of the table `addresses`)."""
    return _places(addresses).unique()


def chosen(rows: pa.Table, address: Endpoint, owners: pa.Array) -> Array:
    """Which rows are lines that may be it."""
    line, itself = among(rows), address.rows(rows, "src") & from_inside(rows)
    if not len(owners):
        return line & itself if (line & itself).any() else line
    passing = itself & ~_within(rows, owners)
    return line & ~passing if (line & ~passing).any() else line


def unlikely(rows: pa.Table, address: Endpoint, owners: pa.Array) -> Array:
    """0 for a row that is no line; else the greater, the less likely it is the one: in a namespace that did not have
    the address, with another port inside than outside (which mostly are the same where they can be)."""
    line = among(rows)
    elsewhere = ~_within(rows, owners)
    inner = np.where(from_inside(rows), rows["src_port"].to_numpy(), rows["nat_dst_port"].to_numpy())
    other_port = inner != address.port if address.port is not None else np.zeros(len(rows), np.bool_)
    rank: Array = np.where(line, 1 + 2 * elsewhere + other_port, 0)
    return rank


def _within(rows: pa.Table, owners: pa.Array) -> Array:
    found: Array = pc.is_in(_places(rows), owners).to_numpy()
    return found


def _places(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*(rows[name].cast(pa.string()) for name in ("node", "netns")), "\0")
