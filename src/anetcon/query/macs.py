"""Which MAC addresses stood behind an inside, and how sure that is.

The kernel dates a connection itself; capture dates a neighbour's change when it reads it, milliseconds off. So a MAC
address that the address had within LAG of the connection's start, before it or behind it, may be the one that opened
it. A router that has not spoken to an inside yet learns its MAC address with the first answer, behind the start, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from anetcon.query import times

LAG = times.SECOND
SAME = ("node", "netns", "address", "family")
"""What a neighbour and an inside have in common."""


class Macs(NamedTuple):
    """MAC addresses, each once, earliest first: those the address may have had when the connection began, and others it
    had in the window. `away` is how far (microseconds, below 0: before) the nearest is when there is none at the start.
    """

    at_start: list[str]
    others: list[str]
    away: int = 0

    @property
    def words(self) -> str:
        """What is said of them; empty when none is known."""
        first, others = self.at_start, self.others
        if not first and others:
            side = "from {} s later on" if self.away > 0 else "until {} s before"
            first, others = [f"{others[0]}, known {side.format(abs(self.away) // times.SECOND)}"], others[1:]
        if not first:
            return ""
        said = f"MAC {' or '.join(first)}"
        if len(first) > 1:
            said += ": the address changed its MAC within that second"
        return f"{said}; in the window also {', '.join(others)}" if others else said


def of(neighbours: pa.Table, inside: dict[str, Any], since: int, until: int) -> Macs:
    """Those of an inside: a row of a connection with `address`, its start and end in microseconds. The window is from
    `since` to `until`, and as long as the connection lasted."""
    start, end = inside["start"], inside["end"]
    first, last = min(since, start - LAG), max(until, start + LAG, end or 0)
    known = sorted(
        (row["from"] or 0, row["to"], row["mac"].hex(":"))
        for row in _rows(neighbours)
        if _same(row, inside) and (row["from"] or 0) <= last and (row["to"] is None or row["to"] >= first)
    )
    at_start = [mac for begin, over, mac in known if begin <= start + LAG and (over is None or over >= start - LAG)]
    away = sorted((abs(_away(each, start)), _away(each, start), each[2]) for each in known)
    others = [mac for _, _, mac in away] if not at_start else [mac for _, _, mac in known if mac not in at_start]
    return Macs(list(dict.fromkeys(at_start)), list(dict.fromkeys(others)), away[0][1] if away else 0)


def _away(interval: tuple[int, int | None, str], start: int) -> int:
    """How far an interval is from a time: below 0 when it was before."""
    begin, over, _ = interval
    return begin - start if begin > start else min(over - start, 0) if over is not None else 0


def _same(row: dict[str, Any], inside: dict[str, Any]) -> bool:
    """Whether a neighbour is the inside: a name can come back as another namespace. Text that was imported knows no
    inode."""
    if inside["netns_inode"] and row["netns_inode"] != inside["netns_inode"]:
        return False
    return all(row[name] == inside[name] for name in SAME)


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    times_of = {name: table[name].cast(pa.int64()).to_pylist() for name in ("from", "to")}
    rows = table.drop(["from", "to"]).to_pylist()
    return [row | {name: times_of[name][number] for name in times_of} for number, row in enumerate(rows)]


def inside(nearest: pa.Table, number: int) -> dict[str, Any]:
    """One of the insides of an answer, as `of` takes it."""
    row = nearest.slice(number, 1)
    found = {name: row[name].cast(pa.int64())[0].as_py() for name in ("start", "end")}
    names = ("node", "netns", "netns_inode", "family")
    return found | {name: row[name][0].as_py() for name in names} | {"address": row["inner_ip"][0].as_py()}
