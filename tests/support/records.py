"""Small stores out of readable rows: addresses as text, times as microseconds, everything else by default."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pyarrow as pa

from anetcon.journal.write import Writer
from anetcon.record import TABLES, arrow_schema
from anetcon.store import layout

T0 = 1_795_179_909_000_000
"""2026-11-20T13:05:09Z."""
SECOND = 1_000_000
DAY = 86_400 * SECOND
ROUTER = "qrouter-68fa7669-72b1-457b-8246-22ffef772f79"
INODE = 4026532500


def family(address: Any) -> str | None:
    """The family of an address."""
    return None if address is None else f"ipv{ipaddress.ip_address(address).version}"


def packed(address: Any) -> bytes:
    """An address as records have it."""
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def ends(**sides: str) -> dict[str, Any]:
    """Address and port columns from `src="10.0.0.5:40000"`, `dst="[2001:db8::1]:443"`; nat_src and nat_dst too."""
    columns: dict[str, Any] = {}
    for side, text in sides.items():
        address, _, port = text.rpartition(":")
        columns |= {f"{side}_ip": address.strip("[]"), f"{side}_port": int(port)}
    return columns


def start(**values: Any) -> dict[str, Any]:
    """The START row of a connection: 10.0.0.5:40000 to 198.51.100.9:443 as 203.0.113.7:40213, unless told otherwise."""
    row: dict[str, Any] = {
        "start": T0,
        "end": None,
        "node": "gw1",
        "netns": ROUTER,
        "netns_inode": INODE,
        "class": "nat",
        "proto": 6,
    }
    row |= ends(src="10.0.0.5:40000", dst="198.51.100.9:443", nat_src="203.0.113.7:40213")
    row |= {"packets_out": None, "bytes_out": None, "packets_in": None, "bytes_in": None, "end_reason": None}
    row |= {"zone": 0, "mark": 0, "ct_id": 7, "origin": "event"}
    row |= {name.rstrip("_"): value for name, value in values.items()}
    row.setdefault("nat_dst_ip", row["dst_ip"])
    row["family"] = family(row["src_ip"])
    row.setdefault("start_is", "begin")
    row.setdefault("nat_dst_port", row["dst_port"])
    return row


def end(seconds: float = 10, **values: Any) -> dict[str, Any]:
    """The END row of a connection that lasted so long."""
    told = {"packets_out": 6, "bytes_out": 600, "packets_in": 5, "bytes_in": 5000, "reply": "assured"}
    row = start(**(told | values))
    row["end"] = row["start"] + round(seconds * SECOND)
    return row | {"end_reason": values.get("end_reason", "closed")}


def whole(seconds: float = 10, **values: Any) -> list[dict[str, Any]]:
    """Both rows of a connection."""
    return [start(**values), end(seconds, **values)]


def lone(**values: Any) -> dict[str, Any]:
    """A packet that is invalid, of origin packet: what `start` has, untranslated."""
    untranslated = ends(nat_src="10.0.0.5:40000") | {"origin": "packet", "reply": "none", "ct_id": 0}
    counted = {"packets_out": 1, "bytes_out": 40, "packets_in": 0, "bytes_in": 0}
    return end(0, **(untranslated | counted | {"end_reason": "unknown"} | values))


def logged(**values: Any) -> dict[str, Any]:
    """A connection learnt from a LOG line (class nat): what `start` has, without what such a line does not tell."""
    row = start(**({"origin": "log", "end_reason": "unknown", "ct_id": 0} | values))
    return row | {"nat_src_ip": None, "nat_src_port": None}


def logged_float(**values: Any) -> dict[str, Any]:
    """One whose destination was translated: 192.0.2.1:5000 to 10.0.0.9:22, unless told otherwise."""
    row = logged(**({"class": "float"} | ends(src="192.0.2.1:5000", nat_dst="10.0.0.9:22") | values))
    return row | {"dst_ip": None, "dst_port": None}


def standing(address: str = "127.0.0.1", **values: Any) -> dict[str, Any]:
    """An address on an interface, since long before T0: while there is one, the namespace is audited."""
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "lo", "address": address}
    return row | {"from": T0 - 9 * DAY, "to": None} | {name.rstrip("_"): value for name, value in values.items()}


def batch(table: str, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Rows in the journal's schema."""
    columns = []
    for field in TABLES[table]:
        values = [row.get(field.name) for row in rows]
        if field.name == "family":
            values = [row.get("family") or family(row.get("src_ip", row.get("address"))) for row in rows]
        if field.kind == "address":
            values = [value and packed(value) for value in values]
        if field.kind in ("text", "enum"):
            codes = pa.array(values, pa.string()).dictionary_encode()
            columns.append(codes.cast(field.arrow_type()))
        else:
            columns.append(pa.array(values, field.arrow_type()))
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(table))


class Making:
    """A store in the making: writes the journals as capture would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = T0 - DAY
        self._writers: dict[str, Writer] = {}

    def _writer(self, table: str) -> Writer:
        if table not in self._writers:
            self._writers[table] = Writer(layout.journal_folder(self.path, table), table)
        return self._writers[table]

    def add(self, *rows: dict[str, Any], table: str = "connections") -> Making:
        """One flush of rows."""
        return self.write(batch(table, list(rows)), table)

    def write(self, rows: pa.RecordBatch, table: str = "connections") -> Making:
        """The same, where they are a batch already."""
        self._writer(table).append(rows, self.clock, self.clock)
        return self

    def audited(self, *addresses: str, **values: Any) -> Making:
        """A namespace was attached all the time; with these addresses."""
        return self.add(*(standing(each, **values) for each in ("127.0.0.1", *addresses)), table="addresses")

    def alive(self, until: int) -> Making:
        """Nothing more happened until then, and the daemon ran."""
        self._writer("connections").heartbeat(self.clock, until)
        self.clock = until
        return self

    def rotate(self) -> Making:
        """Close the segments, so that they can be sealed."""
        for writer in self._writers.values():
            writer.rotate()
        return self

    def close(self) -> Path:
        """Close everything; the store's path."""
        for writer in self._writers.values():
            writer.close()
        return self.path
