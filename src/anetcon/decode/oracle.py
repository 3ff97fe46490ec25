"""The slow, obvious decoder of one ctnetlink message; the oracle of the fast one, and the teacher of its shapes.

`locate` walks the attributes once and says where each value lies; `decode` reads the values from there. Every length
from the wire is checked before use and the cursor always advances: malformed bytes give Malformed, never a loop.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from anetcon.decode.columns import SOURCED
from anetcon.netlink import headers as k
from anetcon.netlink.framing import Malformed, attributes
from anetcon.record import EndReason, Family, Field, Reply


@dataclass
class Located:
    """Where the values of one message lie: payload offset by name, and every attribute header's offset."""

    where: dict[str, int] = field(default_factory=dict)
    headers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """One decoded message. Addresses are 16 bytes, times nanoseconds; None is what the kernel did not say."""

    destroy: bool
    port_id: int
    family: Family
    src_ip: bytes
    src_port: int
    dst_ip: bytes
    dst_port: int
    nat_src_ip: bytes
    nat_src_port: int
    nat_dst_ip: bytes
    nat_dst_port: int
    zone: int
    sourced: dict[str, int | None]
    """The fields that have a source in the field table, by name."""
    start: int | None
    stop: int | None
    happened: int | None
    end_reason: EndReason | None
    reply: Reply | None


_IP = {
    k.CTA_IP_V4_SRC: ("src4", 4),
    k.CTA_IP_V4_DST: ("dst4", 4),
    k.CTA_IP_V6_SRC: ("src6", 16),
    k.CTA_IP_V6_DST: ("dst6", 16),
}
_PROTO = {
    k.CTA_PROTO_NUM: ("proto", 1),
    k.CTA_PROTO_SRC_PORT: ("sport", 2),
    k.CTA_PROTO_DST_PORT: ("dport", 2),
    k.CTA_PROTO_ICMP_ID: ("icmp_id", 2),
    k.CTA_PROTO_ICMP_TYPE: ("icmp_type", 1),
    k.CTA_PROTO_ICMP_CODE: ("icmp_code", 1),
    k.CTA_PROTO_ICMPV6_ID: ("icmp_id", 2),
    k.CTA_PROTO_ICMPV6_TYPE: ("icmp_type", 1),
    k.CTA_PROTO_ICMPV6_CODE: ("icmp_code", 1),
}
_COUNTERS = {k.CTA_COUNTERS_PACKETS: ("packets", 8), k.CTA_COUNTERS_BYTES: ("bytes", 8)}
_TIMESTAMP = {k.CTA_TIMESTAMP_START: ("start", 8), k.CTA_TIMESTAMP_STOP: ("stop", 8)}
_TCP = {k.CTA_PROTOINFO_TCP_STATE: ("tcp_state", 1)}

Table = dict[int, "tuple[str, int | Table]"]
"""What lies under an attribute type: a name and a payload size in bytes, or a prefix and a table of its own."""

_TUPLE: Table = {
    k.CTA_TUPLE_IP: ("", dict(_IP)),
    k.CTA_TUPLE_PROTO: ("", dict(_PROTO)),
    k.CTA_TUPLE_ZONE: ("zone", 2),
}
_MESSAGE: Table = {
    k.CTA_TUPLE_ORIG: ("orig.", _TUPLE),
    k.CTA_TUPLE_REPLY: ("reply.", _TUPLE),
    k.CTA_STATUS: ("status", 4),
    k.CTA_PROTOINFO: ("", {k.CTA_PROTOINFO_TCP: ("", dict(_TCP))}),
    k.CTA_TIMEOUT: ("timeout", 4),
    k.CTA_COUNTERS_ORIG: ("orig.", dict(_COUNTERS)),
    k.CTA_COUNTERS_REPLY: ("reply.", dict(_COUNTERS)),
    k.CTA_ZONE: ("zone", 2),
    k.CTA_TIMESTAMP: ("", dict(_TIMESTAMP)),
    k.CTA_TIMESTAMP_EVENT: ("happened", 8),
}


def _place(source: str, size: int) -> str:
    """The name under which `locate` tells where the value of a field's source lies; its attributes are put into the
    table where they are not in it."""
    *above, last = (getattr(k, name) for name in source.split("/"))
    table, prefix = _MESSAGE, ""
    for kind in above:
        name, inside = table.setdefault(kind, ("", {}))
        if not isinstance(inside, dict):
            raise TypeError(f"{source}: an attribute above it has a value of its own")
        table, prefix = inside, prefix + name
    name, there = table.setdefault(last, (source, size))
    if there != size:
        raise TypeError(f"{source} has {there} bytes, the field {size}")
    return prefix + name


PLACES = {field.name: _place(field.source, field.dtype.itemsize) for field in SOURCED}
"""Where the value of each field with a source lies: its name in `Located.where`."""

_FORMS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def locate(message: bytes) -> Located:
    """Where everything lies in one whole message. Raises Malformed."""
    if len(message) < k.ATTRIBUTES:
        raise Malformed("shorter than its headers")
    length, kind = struct.unpack_from("=IH", message)
    if length != len(message) or kind not in (k.TYPE_NEW, k.TYPE_DESTROY):
        raise Malformed("not one connection event")
    found = Located()
    _locate(message, k.ATTRIBUTES, length, _MESSAGE, "", found)
    for side in ("orig.", "reply."):
        version = [v for v in "46" if side + "src" + v in found.where and side + "dst" + v in found.where]
        if len(version) != 1 or side + "proto" not in found.where:
            raise Malformed("a tuple without addresses or protocol")
    if ("orig.src4" in found.where) != ("reply.src4" in found.where):
        raise Malformed("two families")
    return found


def _locate(data: bytes, start: int, end: int, table: Table, prefix: str, found: Located) -> None:
    for kind, header, payload, payload_end in attributes(data, start, end):
        found.headers.append(header)
        if kind not in table:
            continue
        name, inside = table[kind]
        if isinstance(inside, dict):
            _locate(data, payload, payload_end, inside, prefix + name, found)
            continue
        if payload_end - payload != inside:
            raise Malformed(f"{name} of a wrong size")
        if prefix + name in found.where:
            raise Malformed(f"{name} given twice")
        found.where[prefix + name] = payload


def end_reason(port_id: int, tcp_state: int | None, timeout: int | None) -> EndReason:
    """Why a connection ended, asked in the record's order (docs/reference: end_reason)."""
    if port_id:
        return EndReason.DELETED
    if tcp_state == k.TCP_CONNTRACK_CLOSE:
        return EndReason.RESET
    if tcp_state is not None and k.TCP_CONNTRACK_FIN_WAIT <= tcp_state <= k.TCP_CONNTRACK_TIME_WAIT:
        return EndReason.CLOSED
    return EndReason.EVICTED if timeout else EndReason.TIMEOUT


def reply(status: int | None, packets_in: int | None) -> Reply | None:
    """What came back: by the kernel's status, or a packet (a SYN that RST answers ends before the kernel says so)."""
    if status is None and packets_in is None:
        return None
    if status is not None and status & k.IPS_ASSURED:
        return Reply.ASSURED
    return Reply.SEEN if packets_in or (status is not None and status & k.IPS_SEEN_REPLY) else Reply.NONE


def decode(message: bytes) -> Event:
    """One whole message as an event. Raises Malformed."""
    where = locate(message).where

    def number(name: str, form: str) -> int | None:
        return struct.unpack_from(">" + form, message, where[name])[0] if name in where else None

    def sourced(field: Field) -> int | None:
        value = number(PLACES[field.name], _FORMS[field.dtype.itemsize])
        return value if field.nullable else value or 0

    def address(side: str, end: str) -> bytes:
        if side + end + "4" in where:
            at = where[side + end + "4"]
            return b"\0" * 10 + b"\xff\xff" + message[at : at + 4]
        at = where[side + end + "6"]
        return message[at : at + 16]

    def ports(side: str) -> tuple[int, int]:
        if icmp and side + "icmp_id" in where:
            kind = (number(side + "icmp_type", "B") or 0) << 8 | (number(side + "icmp_code", "B") or 0)
            return number(side + "icmp_id", "H") or 0, kind
        return number(side + "sport", "H") or 0, number(side + "dport", "H") or 0

    kind, _, _, port_id = struct.unpack_from("=HHII", message, 4)
    destroy = kind == k.TYPE_DESTROY
    icmp = "orig.icmp_id" in where
    src_port, dst_port = ports("orig.")
    reply_source, reply_destination = ports("reply.")
    zone = number("zone", "H")
    return Event(
        destroy=destroy,
        port_id=port_id,
        family=Family.IPV4 if "orig.src4" in where else Family.IPV6,
        src_ip=address("orig.", "src"),
        src_port=src_port,
        dst_ip=address("orig.", "dst"),
        dst_port=dst_port,
        nat_src_ip=address("reply.", "dst"),
        nat_src_port=reply_source if icmp else reply_destination,
        nat_dst_ip=address("reply.", "src"),
        nat_dst_port=dst_port if icmp else reply_source,
        zone=zone if zone is not None else number("orig.zone", "H") or 0,
        sourced={field.name: sourced(field) for field in SOURCED},
        start=number("start", "Q"),
        stop=number("stop", "Q"),
        happened=number("happened", "Q"),
        end_reason=end_reason(port_id, number("tcp_state", "B"), number("timeout", "I")) if destroy else None,
        reply=reply(number("status", "I"), number("reply.packets", "Q")),
    )
