"""Rules that hide connections from the audit: they stop the tracking of packets, or the events of connections.

nftables' `notrack` and `ct event set`, and the CT and NOTRACK targets of iptables-nft (linux/netfilter/xt_CT.h). A
`ct event set` that leaves new and destroy hides nothing. Whether a packet ever reaches such a rule is not asked: while
one is there, the record does not claim to be whole. Netlink does not show the rules of iptables-legacy: the keeper
reads their targets. Refuses to look at anything itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from anetcon.netlink import headers as k
from anetcon.netlink.active import (
    NFTA_EXPR_DATA,
    NFTA_EXPR_NAME,
    NFTA_TARGET_NAME,
    expressions,
    text,
)
from anetcon.netlink.dump import NFGENMSG_UNSPEC, NFT_MSG_GETRULE, Exchange
from anetcon.netlink.framing import Malformed, attributes
from anetcon.netlink.invalid import Ruled, ruled

# linux/netfilter/nf_tables.h, nf_tables_compat.h
NFTA_RULE_TABLE, NFTA_RULE_CHAIN = 1, 2
NFTA_TARGET_INFO = 3
NFTA_CT_KEY, NFTA_CT_SREG = 2, 4
NFT_CT_EVENTMASK = 18
NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA = 1, 2
NFTA_DATA_VALUE = 1

# linux/netfilter/xt_CT.h, linux/netfilter/nf_conntrack_common.h
XT_CT_NOTRACK = 1
NEEDED_EVENTS = 1 << 0 | 1 << 2
"""IPCT_NEW and IPCT_DESTROY."""

FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}

_NO_TRACKING = "takes packets out of connection tracking"
_NO_EVENTS = "takes events away from connections"


def hides(rule: bytes) -> str | None:
    """What a rule, as NFT_MSG_NEWRULE gives it, hides and where; None for nothing. Malformed ones hide nothing."""
    try:
        what = _what(rule)
    except (Malformed, struct.error):
        return None
    if what is None:
        return None
    start = k.NLMSG_HDRLEN + k.NFGENMSG_LEN
    names = {kind: text(rule, a, b).decode(errors="replace") for kind, _, a, b in attributes(rule, start, len(rule))}
    family = FAMILIES.get(rule[k.NLMSG_HDRLEN], "")
    table, chain = names.get(NFTA_RULE_TABLE, "?"), names.get(NFTA_RULE_CHAIN, "?")
    return f"a rule in table {family} {table}, chain {chain}, {what}"


def _what(rule: bytes) -> str | None:
    registers: dict[bytes, bytes] = {}
    for start, end in expressions(rule):
        parts = {kind: (a, b) for kind, _, a, b in attributes(rule, start, end)}
        name = text(rule, *parts[NFTA_EXPR_NAME]) if NFTA_EXPR_NAME in parts else b""
        if name == b"notrack":
            return _NO_TRACKING
        if NFTA_EXPR_DATA not in parts:
            continue
        inside = {kind: (a, b) for kind, _, a, b in attributes(rule, *parts[NFTA_EXPR_DATA])}
        data = {kind: rule[a:b] for kind, (a, b) in inside.items()}
        found = None
        if name == b"immediate":
            registers[data.get(NFTA_IMMEDIATE_DREG, b"")] = _value(rule, *inside.get(NFTA_IMMEDIATE_DATA, (0, 0)))
        elif name == b"ct" and _number(data.get(NFTA_CT_KEY)) == NFT_CT_EVENTMASK and NFTA_CT_SREG in data:
            found = _by_events(registers.get(data[NFTA_CT_SREG], b""))
        elif name == b"target":
            found = _by_target(data.get(NFTA_TARGET_NAME, b"").rstrip(b"\0"), data.get(NFTA_TARGET_INFO, b""))
        if found is not None:
            return found
    return None


def _value(rule: bytes, start: int, end: int) -> bytes:
    for kind, _, a, b in attributes(rule, start, end):
        if kind == NFTA_DATA_VALUE:
            return rule[a:b]
    return b""


def _number(data: bytes | None) -> int | None:
    return struct.unpack(">I", data)[0] if data is not None and len(data) == 4 else None


def _by_events(mask: bytes) -> str | None:
    """A mask of the machine's byte order; one that is not known may hide everything."""
    (events,) = struct.unpack("=I", mask) if len(mask) == 4 else (0,)
    return None if events & NEEDED_EVENTS == NEEDED_EVENTS else _NO_EVENTS


def _by_target(name: bytes, info: bytes) -> str | None:
    if name == b"NOTRACK":
        return _NO_TRACKING
    if name != b"CT" or len(info) < 8:
        return None
    flags, _, events = struct.unpack_from("=HHI", info)
    if flags & XT_CT_NOTRACK:
        return _NO_TRACKING
    return _by_events(struct.pack("=I", events)) if events else None


def legacy(family: str, name: str, flags: int, events: int) -> str | None:
    """What a target of iptables-legacy hides and where; None for nothing."""
    what = _by_target(name.encode(), struct.pack("=HHI", flags & 0xFFFF, 0, events & 0xFFFFFFFF))
    program = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}.get(family, family)
    return None if what is None else f"a rule of {program} in table raw {what}"


def rules(found: Callable[[str], None], judged: Callable[[Ruled], None]) -> Exchange:
    """Ask for every rule; calls `found` with what each one that hides something does, and `judged` with what each does
    to packets that are invalid, and whether it needs connection tracking."""

    def take(answers: list[bytes]) -> None:
        for what in filter(None, map(hides, answers)):
            found(what)
        for rule in map(ruled, answers):
            judged(rule)

    return Exchange(NFT_MSG_GETRULE, NFGENMSG_UNSPEC, take)
