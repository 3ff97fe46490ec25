"""Builds ctnetlink messages as the kernel would: the data generator that decoder tests and benchmarks share."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from anetcon.netlink import headers as k

NESTED = 1 << 15


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded (linux/netlink.h, struct nlattr)."""
    return struct.pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *inside: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(inside))


@dataclass(frozen=True)
class Side:
    """One direction's tuple. Addresses of 4 or 16 bytes; `icmp` is (id, type, code)."""

    src: bytes
    dst: bytes
    proto: int
    sport: int | None = None
    dport: int | None = None
    icmp: tuple[int, int, int] | None = None
    zone: int | None = None

    def pack(self, kind: int) -> bytes:
        """The tuple as CTA_TUPLE_ORIG or CTA_TUPLE_REPLY."""
        first = k.CTA_IP_V4_SRC if len(self.src) == 4 else k.CTA_IP_V6_SRC
        proto = [attribute(k.CTA_PROTO_NUM, bytes([self.proto]))]
        if self.icmp is not None:
            base = k.CTA_PROTO_ICMP_ID if len(self.src) == 4 else k.CTA_PROTO_ICMPV6_ID
            number, kind_of, code = self.icmp
            proto.append(attribute(base, struct.pack(">H", number)))
            proto.append(attribute(base + 1, bytes([kind_of])))
            proto.append(attribute(base + 2, bytes([code])))
        if self.sport is not None and self.dport is not None:
            proto.append(attribute(k.CTA_PROTO_SRC_PORT, struct.pack(">H", self.sport)))
            proto.append(attribute(k.CTA_PROTO_DST_PORT, struct.pack(">H", self.dport)))
        zone = [] if self.zone is None else [attribute(k.CTA_TUPLE_ZONE, struct.pack(">H", self.zone))]
        return nested(
            kind,
            nested(k.CTA_TUPLE_IP, attribute(first, self.src), attribute(first + 1, self.dst)),
            nested(k.CTA_TUPLE_PROTO, *proto),
            *zone,
        )


@dataclass(frozen=True)
class Message:
    """What a message says; None is left out. Times in nanoseconds; counters are (packets, bytes) each way."""

    destroy: bool
    orig: Side
    reply: Side
    ct_id: int | None = 1
    status: int | None = 0x198
    timeout: int | None = None
    mark: int | None = None
    zone: int | None = None
    counters: tuple[tuple[int, int], tuple[int, int]] | None = None
    tcp_state: int | None = None
    start: int | None = None
    stop: int | None = None
    happened: int | None = None
    port_id: int = 0
    extra: tuple[bytes, ...] = field(default=())

    def pack(self) -> bytes:
        """The whole netlink message."""
        parts = [self.orig.pack(k.CTA_TUPLE_ORIG), self.reply.pack(k.CTA_TUPLE_REPLY)]

        def number(kind: int, form: str, value: int | None) -> None:
            if value is not None:
                parts.append(attribute(kind, struct.pack(">" + form, value)))

        number(k.CTA_ID, "I", self.ct_id)
        number(k.CTA_STATUS, "I", self.status)
        number(k.CTA_TIMEOUT, "I", self.timeout)
        if self.counters is not None:
            for kind, (packets, size) in zip((k.CTA_COUNTERS_ORIG, k.CTA_COUNTERS_REPLY), self.counters, strict=True):
                parts.append(
                    nested(
                        kind,
                        attribute(k.CTA_COUNTERS_PACKETS, struct.pack(">Q", packets)),
                        attribute(k.CTA_COUNTERS_BYTES, struct.pack(">Q", size)),
                    )
                )
        times = [
            attribute(kind, struct.pack(">Q", value))
            for kind, value in ((k.CTA_TIMESTAMP_START, self.start), (k.CTA_TIMESTAMP_STOP, self.stop))
            if value is not None
        ]
        if times:
            parts.append(nested(k.CTA_TIMESTAMP, *times))
        if self.tcp_state is not None:
            state = attribute(k.CTA_PROTOINFO_TCP_STATE, bytes([self.tcp_state]))
            parts.append(nested(k.CTA_PROTOINFO, nested(k.CTA_PROTOINFO_TCP, state)))
        number(k.CTA_MARK, "I", self.mark)
        number(k.CTA_ZONE, "H", self.zone)
        number(k.CTA_TIMESTAMP_EVENT, "Q", self.happened)
        body = b"".join([*parts, *self.extra])
        family = 2 if len(self.orig.src) == 4 else 10
        kind = k.TYPE_DESTROY if self.destroy else k.TYPE_NEW
        header = struct.pack("=IHHII", k.ATTRIBUTES + len(body), kind, 0 if self.destroy else 0x600, 0, self.port_id)
        return header + struct.pack("=BBH", family, 0, 0) + body
