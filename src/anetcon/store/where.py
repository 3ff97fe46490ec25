"""SQL conditions on the columns of a record, built from checked values: the only way into the view's queries.

Refuses text: addresses are 16 bytes, numbers are numbers, and a string becomes a literal by `quoted`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from anetcon.record import LINES, label

EVERYTHING = "TRUE"

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

Network = tuple[bytes, bytes]
"""First and last address, 16 bytes each."""


def quoted(text: str) -> str:
    """A string literal; what is no text, as a byte of a file's name may be, is none of a record's."""
    return "'" + text.encode(errors="backslashreplace").decode().replace("'", "''") + "'"


def blob(value: bytes) -> str:
    """A BLOB literal."""
    return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"


def every(conditions: Iterable[str]) -> str:
    """All of them hold."""
    return " AND ".join(conditions) or EVERYTHING


def either(conditions: Iterable[str]) -> str:
    """At least one of them holds."""
    return "(" + (" OR ".join(conditions) or "FALSE") + ")"


def network(text: str) -> Network:
    """The addresses that an address or network in CIDR notation stands for. Raises ValueError when it is none."""
    plain = text.strip().removeprefix("[").removesuffix("]")
    if "%" in plain:
        raise ValueError(f"{text!r} has a zone: records have none")
    parsed = ipaddress.ip_network(plain, strict=False)
    offset = int(_MAPPED.network_address) if parsed.version == 4 else 0
    first, last = int(parsed.network_address) + offset, int(parsed.broadcast_address) + offset
    return first.to_bytes(16, "big"), last.to_bytes(16, "big")


def address_in(column: str, wanted: Network) -> str:
    """The column's address is in a network. One of IPv6 that happens to hold the mapped ones does not mean IPv4."""
    first, last = wanted
    if first == last:
        return f"{column} = {blob(first)}"
    inside = f"{column} BETWEEN {blob(first)} AND {blob(last)}"
    mapped = _MAPPED.network_address.packed, _MAPPED.broadcast_address.packed
    if first <= mapped[0] and mapped[1] <= last and wanted != mapped:
        inside = f"({inside} AND NOT {column} BETWEEN {blob(mapped[0])} AND {blob(mapped[1])})"
    return inside


def number_in(column: str, first: int, last: int) -> str:
    """The column's number is in a range, its ends included."""
    return f"{column} = {first:d}" if first == last else f"{column} BETWEEN {first:d} AND {last:d}"


def text_in(column: str, values: Iterable[str]) -> str:
    """The column is one of these texts."""
    return f"{column} IN ({', '.join(quoted(value) for value in values)})"


def matches(column: str, pattern: str) -> str:
    """A regular expression (RE2) is found in the column."""
    return f"regexp_matches({column}, {quoted(pattern)})"


def timestamp(us: int) -> str:
    """A time literal."""
    return f"make_timestamptz({us:d})"


def open_between(since: int | None, until: int | None) -> list[str]:
    """A connection was open at some time from `since` to `until` (microseconds; None: no bound).

    One that is a line of text (`record.LINES`) counts at its start alone: its end is not known. That is asked apart, so
    that the database can skip what ended before by the bounds it keeps of the column `end`.
    """
    parts = [] if until is None else [f'"start" <= {timestamp(until)}']
    if since is not None:
        lines = text_in("origin", map(label, LINES))
        parts.append(f'("end" IS NULL OR "end" >= {timestamp(since)})')
        parts.append(f'("start" >= {timestamp(since)} OR "end" IS NOT NULL OR NOT {lines})')
    return parts
