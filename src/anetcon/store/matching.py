"""Whether anybody ever talked to some addresses: one pass over the connections for all of them.

An address is asked for on each of the four sides. `Talked` has one row for each that was seen on any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from anetcon.record import Family, label
from anetcon.store import sql
from anetcon.store.reader import Store
from anetcon.store.sql import Network

SIDES = ("src", "dst", "nat_src", "nat_dst")


class Talked(NamedTuple):
    """What is on record of one of the networks asked for (`number` in their order): the first start and the last end
    (us; `open`: one has none yet), on which sides, on how many UTC days connections began, and how many those were."""

    number: int
    first: int
    last: int
    open: bool
    sides: tuple[str, ...]
    days: int
    connections: int


def talked(store: Store, networks: Sequence[Network], since: int | None, until: int | None) -> list[Talked]:
    """Those of which anything is on record between two times, in their order.

    First only the addresses of each side are read, to find which of the list are there at all: mostly few. Of those all
    is read that an answer needs."""
    bounds = sql.every(sql.open_between(since, until))
    wanted = _tables(list(enumerate(networks)))
    there = set[int]()
    for table in wanted:
        for side in SIDES:
            query = f"SELECT DISTINCT number FROM rows JOIN {table} ON {_JOINS[table].format(ip=f'{side}_ip')}"  # noqa: S608
            found = store.asked(f"{query} WHERE {bounds}", since, until, tables=wanted)
            there.update(found["number"].to_pylist())
    some = [(number, networks[number]) for number in sorted(there)]
    wanted = _tables(some)
    legs = [_leg(table, number, some, bounds) for table in wanted for number in range(len(SIDES))]
    if not legs:
        return []
    query = f"""
        SELECT number, epoch_us(min("start")) AS first, epoch_us(max(coalesce("end", "start"))) AS last,
            bool_or("end" IS NULL AND end_reason IS NULL) AS open, bit_or(side) AS sides,
            count(DISTINCT epoch_us("start") // 86400000000) AS days, count(*) FILTER (once) AS connections
        FROM ({" UNION ALL ".join(legs)}) GROUP BY number ORDER BY number
    """  # noqa: S608
    rows = store.asked(query, since, until, tables=wanted).to_pylist()
    return [
        Talked(**{**row, "sides": tuple(side for n, side in enumerate(SIDES) if row["sides"] >> n & 1)}) for row in rows
    ]


_JOINS = {"addresses": "{ip} = first", "networks": "{ip} BETWEEN first AND last"}
FEW = 50
"""Addresses that are named in the query itself: then the database reads the other columns only where one fits."""


def _tables(some: Sequence[tuple[int, Network]]) -> dict[str, pa.Table]:
    """Addresses and networks with their numbers, each as a table if there are any."""
    found = {}
    for name, of_one in (("addresses", True), ("networks", False)):
        these = [(number, network) for number, network in some if (network.first == network.last) == of_one]
        columns = {
            "number": pa.array([number for number, _ in these], pa.int64()),
            "first": pa.array([network.first for _, network in these], pa.binary()),
            "last": pa.array([network.last for _, network in these], pa.binary()),
            "wanted_family": pa.array([_family(network) for _, network in these], pa.string()),
        }
        if these:
            found[name] = pa.table(columns)
    return found


_MAPPED = bytes(10) + b"\xff\xff"


def _family(network: Network) -> str | None:
    """Of which family it is; None: an IPv4 address as a server of both families writes it, which may mean either."""
    return None if network.family is Family.IPV6 and network.first[:12] == _MAPPED else label(network.family)


def _leg(table: str, number: int, some: Sequence[tuple[int, Network]], bounds: str) -> str:
    """Those that have a wanted address on one side; `once`: on none of the sides before it."""
    ip = f"{SIDES[number]}_ip"
    before = [_JOINS[table].format(ip=f"{side}_ip") for side in SIDES[:number]]
    once = f"NOT coalesce({sql.either(before)}, FALSE)" if before else "TRUE"
    named = [f"{ip} BETWEEN {sql.blob(one.first)} AND {sql.blob(one.last)}" for _, one in some]
    near = sql.either(named) if len(named) <= FEW else sql.EVERYTHING
    same = "coalesce(family::VARCHAR = wanted_family, TRUE)"
    return (
        f'SELECT number, "start", "end", end_reason, {1 << number} AS side, {once} AS once FROM rows JOIN {table} '  # noqa: S608
        f"ON {_JOINS[table].format(ip=ip)} AND {same} WHERE {sql.every([near, bounds])}"
    )
