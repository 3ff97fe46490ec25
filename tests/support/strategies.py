"""Hypothesis strategies: messages as the kernel builds them, with what they say."""

from __future__ import annotations

from hypothesis import strategies as st

from anetcon.decode.oracle import end_reason
from anetcon.record import Family, Reply
from tests.support.messages import Message, Side

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))


def maybe(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    """A value, or nothing."""
    return st.none() | strategy


@st.composite
def sides(draw: st.DrawFn) -> tuple[Side, Side, dict[str, object]]:
    """Both tuples of a connection, and what they say."""
    size = draw(st.sampled_from((4, 16)))
    src, dst, nat_src, nat_dst = (draw(st.binary(min_size=size, max_size=size)) for _ in range(4))
    proto = draw(st.integers(0, 255))
    zone = draw(maybe(U16))
    says: dict[str, object] = {"proto": proto, "src_port": 0, "dst_port": 0, "nat_src_port": 0, "nat_dst_port": 0}
    form = draw(st.sampled_from(("ports", "icmp", "bare")))
    if form == "ports":
        sport, dport, nat_sport, nat_dport = (draw(U16) for _ in range(4))
        orig = Side(src, dst, proto, sport, dport, zone=zone)
        reply = Side(nat_dst, nat_src, proto, nat_dport, nat_sport)
        says |= {"src_port": sport, "dst_port": dport, "nat_src_port": nat_sport, "nat_dst_port": nat_dport}
    elif form == "icmp":
        number, nat_number, kind, code = draw(U16), draw(U16), draw(st.integers(0, 255)), draw(st.integers(0, 255))
        orig = Side(src, dst, proto, icmp=(number, kind, code), zone=zone)
        reply = Side(nat_dst, nat_src, proto, icmp=(nat_number, kind ^ 1, code))
        both = kind << 8 | code
        says |= {"src_port": number, "nat_src_port": nat_number, "dst_port": both, "nat_dst_port": both}
    else:
        orig, reply = Side(src, dst, proto, zone=zone), Side(nat_dst, nat_src, proto)
    wide = b"" if size == 16 else b"\0" * 10 + b"\xff\xff"
    says |= {"src_ip": wide + src, "dst_ip": wide + dst, "nat_src_ip": wide + nat_src, "nat_dst_ip": wide + nat_dst}
    says |= {"zone": zone or 0, "family": Family.IPV6 if size == 16 else Family.IPV4}
    return orig, reply, says


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, dict[str, object]]:
    """A whole message, and what `oracle.decode` has to make of it."""
    orig, reply, says = draw(sides())
    counters = draw(st.none() | st.tuples(st.tuples(U64, U64), st.tuples(U64, U64)))
    message = Message(
        draw(st.booleans()),
        orig,
        reply,
        ct_id=draw(maybe(U32)),
        status=draw(maybe(U32)),
        timeout=draw(maybe(U32)),
        mark=draw(maybe(U32)),
        zone=draw(maybe(U16)),
        counters=counters,
        tcp_state=draw(maybe(st.integers(0, 13))),
        start=draw(maybe(st.integers(0, 1 << 62))),
        stop=draw(maybe(st.integers(0, 1 << 62))),
        happened=draw(maybe(st.integers(0, 1 << 62))),
        port_id=draw(st.just(0) | U32),
        extra=draw(st.sampled_from(((), (b"\x08\x00\x63\x00abcd",)))),
    )
    if message.zone is not None:
        says["zone"] = message.zone
    out, back = counters or ((None, None), (None, None))
    says |= {"packets_out": out[0], "bytes_out": out[1], "packets_in": back[0], "bytes_in": back[1]}
    says |= {"destroy": message.destroy, "mark": message.mark or 0, "ct_id": message.ct_id or 0}
    says |= {"start": message.start, "stop": message.stop, "happened": message.happened}
    bits = message.status or 0
    answer = Reply.ASSURED if bits & 4 else Reply.SEEN if bits & 2 or back[0] else Reply.NONE
    says["reply"] = None if message.status is None and counters is None else answer
    reason = end_reason(message.port_id, message.tcp_state, message.timeout)
    says["end_reason"] = reason if message.destroy else None
    return message.pack(), says
