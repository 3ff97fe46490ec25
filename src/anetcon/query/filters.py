"""The one set of filters that every question has, and the SQL conditions they stand for. Knows no terminal: what a
command line makes of `Option` is its own affair.

A filter may be given more than once: any of its values will do; different filters must all hold. Refuses what cannot
be read with a sentence naming the option.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from anetcon import protocols
from anetcon.query import times
from anetcon.record import CLASSES, CONNECTIONS, UNKNOWN_NETNS, Field
from anetcon.store import sql

if TYPE_CHECKING:
    from anetcon.store.reader import Store

Chosen = TypeVar("Chosen")

ENDS = ("src", "dst", "nat_src", "nat_dst")
LARGEST_PORT = 65535

_NUMBER = "(0x[0-9a-fA-F]+|[0-9]+)"
_RANGE = re.compile(f"{_NUMBER}(?:-{_NUMBER})?")

LONGEST_PATTERN, COPIES = 1000, 32
"""Characters of a regular expression, and how many of it one behind the other RE2 must be able to take."""


class Option(NamedTuple):
    """One option of the command line, as data."""

    name: str
    metavar: str
    about: str


class Unusable(ValueError):  # noqa: N818 - says what the value is, not what we failed at
    """A value that an option cannot have. Text: one sentence."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


NETNS = Option("--netns", "RE", "Regular expression, searched in the name of the namespace.")
NODE = Option("--node", "NAME", "Machine that recorded the connection.")
TZ = Option("--tz", "ZONE", "Time zone for times that don't include one: Europe/Madrid, +02:00.")


def _addresses(name: str, of: str) -> Option:
    return Option(name, "NET", f"Address or network of {of}.")


def _ports(name: str, of: str) -> Option:
    return Option(name, "PORT", f"Port or range (1024-65535) of {of}.")


FILTERED = tuple(field for field in CONNECTIONS if field.filter)
"""The numbers for which the field table itself has an option."""


def _with_filtered(group: type[Chosen]) -> type[Chosen]:
    """Give the class an option a field of FILTERED."""
    for field in FILTERED:
        of = Option(f"--{field.name.replace('_', '-')}", "N", field.filter)
        group.__annotations__[field.name] = Annotated[list[str] | None, of]
        setattr(group, field.name, None)
    return group


@dataclass(frozen=True, kw_only=True)
@_with_filtered
class Filters:
    """Which connections are meant. Those of the field table come last."""

    src: Annotated[list[str] | None, _addresses("--src", "who opened the connection")] = None
    dst: Annotated[list[str] | None, _addresses("--dst", "the destination before translation")] = None
    nat_src: Annotated[list[str] | None, _addresses("--nat-src", "the source as the far side saw it")] = None
    nat_dst: Annotated[list[str] | None, _addresses("--nat-dst", "the destination after translation")] = None
    host: Annotated[list[str] | None, _addresses("--host", "any of these four ends")] = None
    sport: Annotated[list[str] | None, _ports("--sport", "who opened the connection")] = None
    dport: Annotated[list[str] | None, _ports("--dport", "the destination before translation")] = None
    nat_sport: Annotated[list[str] | None, _ports("--nat-sport", "the source as the far side saw it")] = None
    nat_dport: Annotated[list[str] | None, _ports("--nat-dport", "the destination after translation")] = None
    proto: Annotated[list[str] | None, Option("--proto", "PROTO", "Protocol, by name or number.")] = None
    class_: Annotated[list[str] | None, Option("--class", "CLASS", f"One of {', '.join(CLASSES)}.")] = None
    netns: Annotated[list[str] | None, NETNS] = None
    node: Annotated[list[str] | None, NODE] = None

    def condition(self) -> str:
        """The SQL condition that holds for the start of a connection whenever it holds for its end."""
        parts = [either(name, [f"{name}_ip"], getattr(self, name)) for name in ENDS if getattr(self, name)]
        if self.host:
            parts.append(either("host", [f"{name}_ip" for name in ENDS], self.host))
        for name in ENDS:
            option = name.replace("src", "sport").replace("dst", "dport")
            if ports := getattr(self, option):
                parts.append(sql.either(sql.number_in(f"{name}_port", *port_range(option, p)) for p in ports))
        if self.proto:
            parts.append(sql.either(sql.number_in("proto", *[protocol(text)] * 2) for text in self.proto))
        return sql.every([*parts, *place(self.netns, self.node)])

    def result(self) -> str:
        """The SQL condition that can be asked only of a whole connection: its class and mark are those of its last
        row."""
        for text in set(self.class_ or ()) - set(CLASSES):
            raise Unusable("class", f"{text!r} is none of {', '.join(CLASSES)}")
        parts = [sql.text_in("class", self.class_)] if self.class_ else []
        for field in FILTERED:
            if texts := getattr(self, field.name):
                ranges = [number_range(field, text) for text in texts]
                parts.append(sql.either(sql.number_in(f'"{field.name}"', *both) for both in ranges))
        return sql.every(parts)

    def given(self) -> dict[str, Any]:
        """The filters that were given, as the JSON query repeats them."""
        values = {field.name.rstrip("_"): getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value}


def place(netns: Sequence[str] | None, node: Sequence[str] | None) -> list[str]:
    """The conditions that --netns and --node stand for."""
    parts = []
    if netns:
        parts.append(sql.either(sql.matches("netns", pattern(text)) for text in netns))
    if node:
        parts.append(sql.text_in("node", node))
    return parts


def strangers(store: Store, netns: Sequence[str] | None, node: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Each value of --netns and --node that fits nothing this store knows: the option's name, and a sentence."""
    for option, noun, texts in (("netns", "namespace", netns or ()), ("node", "node", node or ())):
        names = set[str]()
        for table in ("gaps", "addresses", "connections"):  # the quick ones first
            if all(_fits(option, text, names) for text in texts):
                break
            names |= store.names(option, table)
        for text in texts:
            if not _fits(option, text, names):
                nearest = difflib.get_close_matches(text, sorted(names), 1, 0)
                said = f"the nearest is {nearest[0]}" if nearest else "it knows none yet"
                yield option, f"{text!r} fits no {noun} that this store knows; {said}"


def _fits(option: str, text: str, names: set[str]) -> bool:
    """Whether it is one of these; a connection of which no namespace is known may be of any."""
    if option == "node" or UNKNOWN_NETNS in names:
        return text in names or option == "netns"
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(pa.array(sorted(names), pa.string()), pattern(text))).as_py())


def require_known(store: Store, netns: Sequence[str] | None, node: Sequence[str] | None) -> None:
    """Refuse to answer about what is not there: a typing error would be nothing found."""
    for option, sentence in strangers(store, netns, node):
        raise Unusable(option, sentence)


def either(name: str, columns: Sequence[str], texts: Sequence[str]) -> str:
    """Any of the columns is in any of the networks."""
    wanted = [network(name, text) for text in texts]
    return sql.either(sql.address_in(column, one) for column in columns for one in wanted)


def network(name: str, text: str) -> sql.Network:
    """The addresses of an option's value."""
    try:
        return sql.network(text)
    except ValueError as error:
        raise Unusable(name, str(error)) from None


def port_range(name: str, text: str) -> tuple[int, int]:
    """The first and last port of an option's value."""
    first, dash, last = text.partition("-")
    numbers = (first, last if dash else first)
    if not all(n.isascii() and n.isdigit() and int(n) <= LARGEST_PORT for n in numbers) or int(first) > int(numbers[1]):
        raise Unusable(name, f"{text!r} is not a port nor a range of ports like 1024-65535")
    return int(first), int(numbers[1])


def number_range(field: Field, text: str) -> tuple[int, int]:
    """The first and last number of the option of a field: decimal, or hexadecimal behind 0x."""
    most = (1 << 8 * field.dtype.itemsize) - 1
    if found := _RANGE.fullmatch(text):
        first, last = (int(part, 16 if part.startswith("0x") else 10) for part in (found[1], found[2] or found[1]))
        if first <= last <= most:
            return first, last
    raise Unusable(field.name, f"{text!r} is not a number up to {most}, nor a range like 1-9")


def protocol(text: str) -> int:
    """The protocol of --proto."""
    try:
        return protocols.number(text)
    except ValueError as error:
        raise Unusable("proto", str(error)) from None


def pattern(text: str) -> str:
    """The regular expression of --netns, checked. One that the store may be asked with must be small: matching takes
    as long as it is large. RE2 refuses what takes more than 8 MB; so copies of one that is small have to be, too."""
    if why := _unreadable(text):
        raise Unusable("netns", f"the regular expression {text!r} cannot be read: {why}")
    if len(text) > LONGEST_PATTERN or _unreadable(f"(?:{text})" * COPIES):
        raise Unusable(
            "netns", f"a regular expression of {len(text)} characters is too large: name fewer, or repeat less"
        )
    return text


def _unreadable(text: str) -> str:
    """Why RE2 cannot take a regular expression."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), text)
    except pa.ArrowInvalid as error:
        return str(error).partition(": ")[2]
    except UnicodeEncodeError:
        return r"it is no text; a byte of a name that is none is recorded as \xNN, so search \\\\xNN"
    return ""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time, open at either side."""

    since: Annotated[str | None, Option("--since", "TIME", "Connections (or gaps) still open at or after TIME.")] = None
    until: Annotated[str | None, Option("--until", "TIME", "Connections (or gaps) that started at or before TIME.")] = (
        None
    )
    tz: Annotated[str, TZ] = "UTC"

    @cached_property
    def read(self) -> tuple[times.AskedTime | None, times.AskedTime | None]:
        """Both ends as they are understood: once, for `10 minutes ago` is another moment each time."""
        since, until = (
            moment(name, text, self.tz) if text else None
            for name, text in (("since", self.since), ("until", self.until))
        )
        if since and until and since.us > until.us:
            raise Unusable("until", f"{until} is before --since {since}")
        return since, until

    def bounds(self) -> tuple[int | None, int | None]:
        """Both ends in microseconds."""
        since, until = self.read
        return since.us if since else None, until.us if until else None

    def given(self) -> dict[str, Any]:
        """The times as they were given and understood, as the JSON query repeats them."""
        since, until = self.read
        return {
            "from": since and str(since),
            "until": until and str(until),
            "since_given": self.since,
            "until_given": self.until,
            "tz": self.tz,
        }

    def notes(self) -> list[str]:
        """How the times were read, in words."""
        given = zip((self.since, self.until), self.read, strict=True)
        return [note for text, at in given if at for note in at.notes(text or "")]


def moment(name: str, text: str, tz: str) -> times.AskedTime:
    """The time of an option's value."""
    try:
        zone = times.zone_named(tz)
    except ValueError as error:
        raise Unusable("tz", str(error)) from None
    try:
        return times.moment(text, zone)
    except ValueError as error:
        raise Unusable(name, str(error)) from None
