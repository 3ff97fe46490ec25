"""The one field table: what a record is, in every form it takes.

A field is declared here once. The numpy dtype of the capture columns, the Arrow schema of the journal, type and
encoding in the files of the store, the names in JSON and CSV and the reference page all derive from it. Names and
types are a promise (docs/reference).

Imports numpy only; what makes a schema imports pyarrow when it is called, so that decoding does not need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 3
"""Number of the journal and store format; not the release number."""

GROUPS = bytes(10) + b"\xff\xff\xe0\0\0", b"\xff\x02"
"""How addresses of link-local multicast begin, as the record has them: 224.0.0.0/24 and ff02::/16. No router forwards
them."""


class Class(IntEnum):
    """What a connection is to the namespace that saw it."""

    NAT = 0
    FLOAT = 1
    LOCAL = 2


class Reply(IntEnum):
    """What came back to the opener, as far as the kernel tells."""

    NONE = 0
    SEEN = 1
    ASSURED = 2


class StartIs(IntEnum):
    """What `start` is the time of: the beginning, or a moment at which the connection was found to have begun."""

    BEGIN = 0
    FOUND = 1


class EndReason(IntEnum):
    """Why a connection ended, in the order in which the END event is asked."""

    DELETED = 0
    RESET = 1
    CLOSED = 2
    TIMEOUT = 3
    EVICTED = 4
    NAMESPACE_GONE = 5
    UNKNOWN = 6


class Origin(IntEnum):
    """How a record was learnt."""

    EVENT = 0
    DUMP = 1
    PACKET = 2
    LOG = 3
    IMPORT = 4


class Family(IntEnum):
    """Which addresses: IPv4 ones are kept as ::ffff:a.b.c.d, which IPv6 has as well."""

    IPV4 = 0
    IPV6 = 1


PUBLIC = "audit.public"
"""The interface of a row of `routes` that says what is configured: of a network that is here, in no namespace known."""

LINES = (Origin.LOG, Origin.IMPORT)
"""Origins of which each row is a connection by itself: one line of text, its start seen from one side of the
translation and nothing more (what is null then follows from the class, see the fields); or, imported from text that has
it, both sides and perhaps the end."""

ALONE = (Origin.PACKET, *LINES)
"""Origins of which each row is compared with no other: lines, and packets that belong to no connection at all."""

UNKNOWN_NETNS = "unknown"
"""The namespace of a line that does not tell it: without a hash, where several are audited."""


def label(member: IntEnum) -> str:
    """The text of an enum member in records: `NAMESPACE_GONE` is written `namespace-gone`."""
    return member.name.lower().replace("_", "-")


def labels(enum: type[IntEnum]) -> list[str]:
    """The texts of an enum, indexed by value."""
    return [label(member) for member in enum]


def family_of(text: str) -> Family:
    """The family by its text in records."""
    return Family(FAMILIES.index(text))


CLASSES = labels(Class)
END_REASONS = labels(EndReason)
ORIGINS = labels(Origin)
FAMILIES = labels(Family)
REPLIES = labels(Reply)
STARTS = labels(StartIs)


@dataclass(frozen=True)
class Field:
    """One column. `kind` is one of time, text, enum, address, mac, u8, u16, u32, u64; `since`: the format
    that first had it.

    `source` is for a number that a ctnetlink message has as it is: the path of attributes to it, by their names in
    linux/netfilter/nfnetlink_conntrack.h. Where a message has no such attribute a nullable field is null, another 0.
    `filter` is what the help says of the option that finds connections by this field; without it there is none.
    """

    name: str
    kind: str
    meaning: str
    nullable: bool = False
    values: tuple[str, ...] = ()
    public: bool = True
    since: int = 1
    source: str = ""
    filter: str = ""
    sealed: bool = True
    """Whether files of connections that ended have it, from format 3 on; in answers from such files it is null."""
    encoding: str = ""
    """That of its column in the store's files, as Parquet names it, where it is not the one of its kind."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy dtype of the column before it becomes Arrow; text and enum are codes into a dictionary."""
        return _DTYPES[self.kind]

    @property
    def stored_as(self) -> str:
        """How Parquet encodes its column in the store's files. What is here each reader knows
        (tests/e2e/test_readers.py)."""
        return self.encoding or _ENCODINGS[self.kind]

    def file_type(self) -> pa.DataType:
        """Arrow type in the store's files: that of the journal, but numbers are signed, as every reader has them."""
        import pyarrow as pa

        wider = {"u8": pa.int16(), "u16": pa.int32(), "u32": pa.int64(), "u64": pa.int64()}
        return wider.get(self.kind) or self.arrow_type()

    def arrow_type(self) -> pa.DataType:
        """Arrow type in the journal."""
        import pyarrow as pa

        return {
            "time": pa.timestamp("us", tz="UTC"),
            "text": pa.dictionary(pa.int32(), pa.string()),
            "enum": pa.dictionary(pa.int8(), pa.string()),
            "address": pa.binary(16),
            "mac": pa.binary(6),
            "u8": pa.uint8(),
            "u16": pa.uint16(),
            "u32": pa.uint32(),
            "u64": pa.uint64(),
        }[self.kind]


_DTYPES: dict[str, np.dtype[Any]] = {
    "time": np.dtype(np.int64),
    "text": np.dtype(np.int32),
    "enum": np.dtype(np.int8),
    "address": np.dtype((np.uint8, (16,))),
    "mac": np.dtype((np.uint8, (6,))),
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
}

DICTIONARY, PLAIN, DELTA = "RLE_DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"
"""Encodings of Parquet. Which one is smallest was measured on bench/realistic.py, see docs/decisions/0016."""

_ENCODINGS = {
    "time": DELTA,
    "text": DICTIONARY,
    "enum": DICTIONARY,
    "address": PLAIN,  # the order of the rows puts equal ones side by side, which zstd does best with
    "mac": PLAIN,
    "u8": DICTIONARY,
    "u16": DELTA,
    "u32": DICTIONARY,
    "u64": DICTIONARY,
}

_NODE = Field("node", "text", "name of the machine that recorded the row")
_NETNS = Field("netns", "text", "network namespace; `default` is the one the daemon was started in")
_FAMILY = Field(
    "family",
    "enum",
    "address family of the packets; an IPv6 address that holds an IPv4 one is written `::ffff:10.1.0.12`",
    values=tuple(FAMILIES),
    since=2,
)
_INODE = Field(
    "netns_inode",
    "u64",
    "inode of the network namespace. Two of the same name are told apart by it together with the time at which it "
    "was first seen. Alone it does not do: the kernel gives the inode of a deleted namespace to the next one at "
    "once",
    public=False,
)

CONNECTIONS: tuple[Field, ...] = (
    Field("start", "time", "when the kernel created the connection; final once it has ended; see `start_is`"),
    Field(
        "end",
        "time",
        "when it ended (the kernel's: TIME_WAIT or idle timeout is inside); null while open. Null also if nobody "
        "knows it: origin `log`, and `import` of most text, whose `end_reason` is then `unknown`",
        True,
    ),
    _NODE,
    _NETNS,
    Field(
        "class",
        "enum",
        "`local` if the namespace itself was reached, or itself sent to link-local multicast (224.0.0.0/24, "
        "ff02::/16: VRRP, IGMP). Else `float` if the destination was translated, else `nat`",
        values=tuple(CLASSES),
    ),
    Field("proto", "u8", "IANA protocol number (shown by name)", source="CTA_TUPLE_ORIG/CTA_TUPLE_PROTO/CTA_PROTO_NUM"),
    Field("src_ip", "address", "who opened it, as it addressed itself (IPv4 as ::ffff:a.b.c.d)"),
    Field("src_port", "u16", "its port; for ICMP the id"),
    Field(
        "dst_ip",
        "address",
        "what it addressed; null in class `float` of kernel lines (origin `log`, `import`), seen after translation",
        True,
    ),
    Field("dst_port", "u16", "its port; for ICMP type*256+code; null where `dst_ip` is", True),
    Field(
        "nat_src_ip",
        "address",
        "its source as the far side saw it; null in kernel lines (origin `log`, `import`), seen before translation",
        True,
    ),
    Field("nat_src_port", "u16", "that source's port or ICMP id; null where `nat_src_ip` is", True),
    Field("nat_dst_ip", "address", "the destination after translation"),
    Field("nat_dst_port", "u16", "that destination's port or ICMP type*256+code"),
    Field(
        "packets_out",
        "u64",
        "packets in the opener's direction; null if unknown",
        True,
        source="CTA_COUNTERS_ORIG/CTA_COUNTERS_PACKETS",
    ),
    Field(
        "bytes_out",
        "u64",
        "bytes in the opener's direction; null if unknown",
        True,
        source="CTA_COUNTERS_ORIG/CTA_COUNTERS_BYTES",
        encoding=PLAIN,
    ),
    Field(
        "packets_in",
        "u64",
        "packets towards the opener; null if unknown",
        True,
        source="CTA_COUNTERS_REPLY/CTA_COUNTERS_PACKETS",
    ),
    Field(
        "bytes_in",
        "u64",
        "bytes towards the opener; null if unknown",
        True,
        source="CTA_COUNTERS_REPLY/CTA_COUNTERS_BYTES",
        encoding=DELTA,
    ),
    Field(
        "end_reason",
        "enum",
        "why it ended; null while open; `unknown` with an `end` that is null: nothing recorded it",
        True,
        tuple(END_REASONS),
    ),
    Field("zone", "u16", "conntrack zone", filter="Conntrack zone, or a range of them (1-9).", encoding=DICTIONARY),
    Field(
        "mark", "u32", "conntrack mark", source="CTA_MARK", filter="Conntrack mark (67108864, 0x4000000), or a range."
    ),
    Field(
        "ct_id",
        "u32",
        "conntrack id; identifies nothing by itself: a reused 5-tuple gets the same one. It serves merging: "
        "null once the connection is over and sealed",
        source="CTA_ID",
        sealed=False,
    ),
    Field(
        "origin",
        "enum",
        "how it was learnt. `packet` is no connection, but one packet of a sample (`audit.record_invalid`): "
        "conntrack calls it invalid, and it left the router untranslated. Its `end` is its `start`",
        values=tuple(ORIGINS),
    ),
    _FAMILY,
    Field(
        "reply",
        "enum",
        "what came back to the opener: `none`, `seen` (a packet), or `assured`. `assured` is the kernel's word for "
        "traffic both ways; of TCP, a handshake, or a connection picked up in the middle. Null while only the start "
        "is known, and if nothing tells",
        True,
        tuple(REPLIES),
        since=2,
    ),
    Field(
        "start_is",
        "enum",
        "`begin`: `start` is when it began. `found`: the kernel told no time, so `start` is when capture learnt of "
        "it, and it began then or before. Null in format 1, which did not tell",
        True,
        tuple(STARTS),
        since=2,
    ),
    _INODE,
)

_INTERVAL = (
    Field("from", "time", "when it began; null: before anything was recorded", True),
    Field("to", "time", "when it ended; null while it lasts", True),
)

GAPS: tuple[Field, ...] = (
    _NODE,
    Field("netns", "text", "network namespace; null when every one is meant", True),
    *_INTERVAL,
    Field("cause", "text", "why nothing could be recorded"),
    Field("lost", "u64", "connections or events lost, if the kernel tells; null if it cannot", True),
)

ADDRESSES: tuple[Field, ...] = (
    _NODE,
    _NETNS,
    _INODE,
    Field("interface", "text", "interface that has the address"),
    Field("address", "address", "address of the namespace itself"),
    *_INTERVAL,
    _FAMILY,
    Field("prefix_length", "u8", "length of its network's prefix; null if unknown", True, since=2),
)

NEIGHBOURS: tuple[Field, ...] = (
    _NODE,
    _NETNS,
    _INODE,
    Field("interface", "text", "interface it was seen on"),
    Field("address", "address", "address of the neighbour"),
    Field("mac", "mac", "its MAC address"),
    *_INTERVAL,
    _FAMILY,
)

ROUTES: tuple[Field, ...] = (
    _NODE,
    _NETNS,
    _INODE,
    Field(
        "interface",
        "text",
        "interface the network is reached by; `audit.public`: it is configured, and in no namespace known",
    ),
    Field("family", "enum", "whether the network is one of IPv4 or IPv6", values=tuple(FAMILIES)),
    Field("network", "address", "first address of the network"),
    Field("prefix_length", "u8", "how many leading bits of that address are the network; 0: everything else"),
    *_INTERVAL,
)

LISTINGS: tuple[Field, ...] = (_NODE, _NETNS, _INODE, *_INTERVAL)

TABLES: dict[str, tuple[Field, ...]] = {
    "connections": CONNECTIONS,
    "gaps": GAPS,
    "addresses": ADDRESSES,
    "neighbours": NEIGHBOURS,
    "routes": ROUTES,
    "listings": LISTINGS,
}
"""Every table of journal and store. In all but `connections` a row may be written again with `to` filled in: rows
with equal other columns are one interval, and the row with `to` wins."""


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of one table in the journal, and of its rows wherever Python has them."""
    import pyarrow as pa

    fields = [pa.field(f.name, f.arrow_type(), nullable=f.nullable or not f.sealed) for f in TABLES[table]]
    return pa.schema(fields, metadata=_metadata(table))


def file_fields(kind: str) -> tuple[Field, ...]:
    """The fields in a file of the store of this kind: a table, or `open`."""
    return tuple(field for field in TABLES[table_of(kind)] if field.sealed or kind != "connections")


def file_schema(kind: str) -> pa.Schema:
    """Arrow schema of the store's files of this kind."""
    import pyarrow as pa

    fields = [pa.field(f.name, f.file_type(), nullable=f.nullable) for f in file_fields(kind)]
    return pa.schema(fields, metadata=_metadata(table_of(kind)))


def table_of(kind: str) -> str:
    """The table whose rows a file of this kind has: connections that are open are connections."""
    return "connections" if kind == "open" else kind


def _metadata(table: str) -> dict[str, str]:
    return {"anetcon.table": table, "anetcon.format": str(FORMAT)}
