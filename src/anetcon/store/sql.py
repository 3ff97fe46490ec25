"""SQL conditions on the columns of a record, built from checked values: the only way into the view's queries.

Refuses text: addresses are 16 bytes, numbers are numbers, and a string becomes a literal by `quoted`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from anetcon.record import LINES, Family, label

EVERYTHING = "TRUE"

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Network(NamedTuple):
    """First and last address, 16 bytes each, and their family."""

    first: bytes
    last: bytes
    family: Family


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
    try:
        parsed = ipaddress.ip_network(plain, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address, nor a network like 192.0.2.0/24") from None
    family, offset = (Family.IPV4, int(_MAPPED.network_address)) if parsed.version == 4 else (Family.IPV6, 0)
    first, last = int(parsed.network_address) + offset, int(parsed.broadcast_address) + offset
    return Network(first.to_bytes(16, "big"), last.to_bytes(16, "big"), family)


def single(address: bytes, family: Family) -> Network:
    """One address alone."""
    return Network(address, address, family)


def address_in(column: str, wanted: Network) -> str:
    """The column's address is in a network, of that network's family: `::ffff:10.1.0.12` is not 10.1.0.12."""
    first, last, family = wanted
    inside = f"{column} = {blob(first)}" if first == last else f"{column} BETWEEN {blob(first)} AND {blob(last)}"
    return f"(family = {quoted(label(family))} AND {inside})"


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
