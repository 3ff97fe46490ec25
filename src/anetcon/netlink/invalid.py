"""Does the forward chain drop what conntrack calls invalid? Such a packet is translated by nothing, and no event tells
of it: where it is not dropped it crosses the router unrecorded.

Only what is certain counts: a rule in a base chain of hook forward itself that asks for nothing but the state and drops
(nftables `ct state invalid drop`; iptables-nft `-m conntrack --ctstate INVALID -j DROP`, or `-m state`), with no rule
before it in that chain that may let such a packet pass. What another base chain does is no matter: a drop is final.
Netlink does not show rules of iptables-legacy. Pure: rules and chains are given as the kernel's messages.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import NamedTuple

from anetcon.netlink import headers as k
from anetcon.netlink.active import NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_TARGET_NAME, expressions, text, tracks
from anetcon.netlink.framing import Malformed, attributes

# linux/netfilter.h, linux/netfilter/nf_tables.h, nf_tables_compat.h
NF_INET_FORWARD = 2
NF_DROP, NF_ACCEPT = 0, 1
NFT_CONTINUE, NFT_RETURN = -1, -5
NFT_TABLE_F_DORMANT = 1
NFTA_TABLE_NAME, NFTA_TABLE_FLAGS = 1, 2
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_HOOK_HOOKNUM = 1, 3, 4, 1
NFTA_RULE_TABLE, NFTA_RULE_CHAIN = 1, 2
NFTA_MATCH_REV, NFTA_MATCH_INFO = 2, 3
NFTA_CT_DREG, NFTA_CT_KEY = 1, 2
NFT_CT_STATE = 0
NFTA_BITWISE_SREG, NFTA_BITWISE_MASK = 1, 4
NFTA_CMP_OP, NFTA_CMP_DATA = 2, 3
NFT_CMP_NEQ = 1
NFTA_IMMEDIATE_DATA, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE = 2, 1, 2, 1
NFTA_LOOKUP_DREG = 3

# linux/netfilter/xt_conntrack.h, xt_state.h: the same bit in nftables
INVALID = 1
XT_CONNTRACK_STATE, XT_CONNTRACK_STATE_ALIAS = 1, 1 << 13
_XT_FLAGS = struct.Struct("=HHH")
_XT_FLAGS_AT = 146
"""match_flags, invert_flags, state_mask of revisions 2 and 3."""

FAMILIES = {1: ("ip", "ip6"), 2: ("ip",), 10: ("ip6",)}
BOTH = frozenset({"ip", "ip6"})

HARMLESS = {b"counter", b"log"}
COMMENT = b"match", b"comment"
"""A match of xtables that every packet has."""

PASSING = {*(b"LOG", b"NFLOG", b"MARK", b"CONNMARK", b"TCPMSS", b"DSCP", b"CLASSIFY", b"CHECKSUM", b"TRACE")}
"""Targets of xtables after which a packet goes on to the next rule."""
DIVERTING = {b"queue", b"fwd", b"tproxy", b"synproxy"}


Inside = dict[int, bytes]
"""Attributes of an expression."""


class Does(enum.Enum):
    """What a rule does to a packet that is invalid."""

    DROPS = enum.auto()
    NOTHING = enum.auto()
    MAY_PASS = enum.auto()


class Ruled(NamedTuple):
    """A rule by its chain (the number of the family, table, chain), what it does, and whether it needs tracking."""

    family: int
    table: bytes
    chain: bytes
    does: Does
    tracks: bool = False


def ruled(rule: bytes) -> Ruled:
    """Judge a rule, as NFT_MSG_NEWRULE gives it. One that is malformed may let anything pass."""
    names: dict[int, bytes] = {}
    try:
        names = {kind: text(rule, a, b) for kind, _, a, b in attributes(rule, k.ATTRIBUTES, len(rule))}
        does = _does(rule)
    except (Malformed, struct.error):
        does = Does.MAY_PASS
    family = rule[k.NLMSG_HDRLEN] if len(rule) > k.NLMSG_HDRLEN else 0
    return Ruled(family, names.get(NFTA_RULE_TABLE, b""), names.get(NFTA_RULE_CHAIN, b""), does, tracks(rule))


def dropped(rules: Iterable[Ruled], chains: Iterable[bytes], tables: Iterable[bytes]) -> frozenset[str]:
    """The families (`ip`, `ip6`) of which the forward hook drops what is invalid. `rules` in their order; chains and
    tables as the kernel's messages."""
    dormant = {found for found in map(_dormant, tables) if found is not None}
    hooked = {found for found in map(_hooked, chains) if found is not None and found[:2] not in dormant}
    found: set[str] = set()
    decided: set[tuple[int, bytes, bytes]] = set()
    for rule in rules:
        place = rule[:3]
        if place in hooked and place not in decided and rule.does is not Does.NOTHING:
            decided.add(place)
            if rule.does is Does.DROPS:
                found.update(FAMILIES.get(rule.family, ()))
    return frozenset(found)


def _parts(message: bytes, start: int, end: int) -> dict[int, bytes]:
    return {kind: message[a:b] for kind, _, a, b in attributes(message, start, end)}


def _dormant(message: bytes) -> tuple[int, bytes] | None:
    parts = _safe(message)
    flags = int.from_bytes(parts.get(NFTA_TABLE_FLAGS, b""), "big")
    return (_family(message), parts.get(NFTA_TABLE_NAME, b"").rstrip(b"\0")) if flags & NFT_TABLE_F_DORMANT else None


def _hooked(message: bytes) -> tuple[int, bytes, bytes] | None:
    parts = _safe(message)
    hook = parts.get(NFTA_CHAIN_HOOK, b"")
    try:
        number = _parts(hook, 0, len(hook)).get(NFTA_HOOK_HOOKNUM, b"")
    except Malformed:
        return None
    if int.from_bytes(number, "big") != NF_INET_FORWARD or not number or _family(message) not in FAMILIES:
        return None
    table, name = (parts.get(kind, b"").rstrip(b"\0") for kind in (NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME))
    return _family(message), table, name


def _family(message: bytes) -> int:
    return message[k.NLMSG_HDRLEN] if len(message) > k.NLMSG_HDRLEN else 0


def _safe(message: bytes) -> dict[int, bytes]:
    try:
        return _parts(message, k.ATTRIBUTES, len(message))
    except Malformed:
        return {}


class _Asked:
    """What a rule asks of the state: nothing yet, or that it is one of `mask`."""

    def __init__(self) -> None:
        self.mask: int | None = None
        self.asked = self._loaded = False

    def take(self, name: bytes, inside: Inside) -> bool:
        """Whether an expression belongs to such a question: load the state, mask it, compare with 0; or a match."""
        if self.asked:
            return False
        if name == b"ct" and _number(inside.get(NFTA_CT_KEY)) == NFT_CT_STATE and NFTA_CT_DREG in inside:
            self._loaded = True
        elif name == b"bitwise" and self._loaded and self.mask is None:
            self.mask = _value(inside.get(NFTA_BITWISE_MASK, b""))
        elif name == b"cmp" and self._loaded and self.mask is not None:
            self.asked = _number(inside.get(NFTA_CMP_OP)) == NFT_CMP_NEQ and _value(inside.get(NFTA_CMP_DATA, b"")) == 0
            return self.asked
        elif name == b"match" and (found := _match(inside)) is not None:
            self.mask, self.asked = found, True
        else:
            self._loaded = False
            return False
        return True

    @property
    def spares(self) -> bool:
        """Whether a packet that is invalid never gets behind it."""
        return self.asked and self.mask is not None and not self.mask & INVALID


def _does(rule: bytes) -> Does:
    state, conditional = _Asked(), False
    verdict: int | None = None
    for start, end in expressions(rule):
        parts = _parts(rule, start, end)
        name, data = parts.get(NFTA_EXPR_NAME, b"").rstrip(b"\0"), parts.get(NFTA_EXPR_DATA, b"")
        inside = _parts(data, 0, len(data))
        if name == b"immediate":
            verdict = _verdict(inside.get(NFTA_IMMEDIATE_DATA, b""), verdict)
        elif _diverts(name, inside):
            return Does.MAY_PASS
        elif name not in (*HARMLESS, b"target") and (name, _name(inside)) != COMMENT:
            conditional |= not state.take(name, inside)
    if verdict is None or verdict == NFT_CONTINUE or state.spares:
        return Does.NOTHING
    if verdict == NF_DROP:
        return Does.DROPS if state.asked and not conditional else Does.NOTHING
    return Does.MAY_PASS


def _diverts(name: bytes, inside: Inside) -> bool:
    """Whether a packet may go elsewhere than to the next rule, for all that is known."""
    if name == b"target":
        return _name(inside) not in PASSING
    return name in DIVERTING or (name == b"lookup" and NFTA_LOOKUP_DREG in inside)


def _name(inside: Inside) -> bytes:
    """The name of a match or target of xtables."""
    return inside.get(NFTA_TARGET_NAME, b"").rstrip(b"\0")


def _match(inside: Inside) -> int | None:
    """The mask of states that a match of xtables asks for; None when it asks for something else."""
    name, info = _name(inside), inside.get(NFTA_MATCH_INFO, b"")
    if name == b"state" and len(info) >= 4:
        return int(struct.unpack_from("=I", info)[0])
    if name != b"conntrack" or _number(inside.get(NFTA_MATCH_REV)) not in (2, 3) or len(info) < _XT_FLAGS_AT + 6:
        return None
    flags, inverted, mask = _XT_FLAGS.unpack_from(info, _XT_FLAGS_AT)
    return int(mask) if flags & ~XT_CONNTRACK_STATE_ALIAS == XT_CONNTRACK_STATE and not inverted else None


def _verdict(data: bytes, before: int | None) -> int | None:
    parts = _parts(data, 0, len(data))
    if NFTA_DATA_VERDICT not in parts:
        return before  # a register is loaded
    verdict = _parts(parts[NFTA_DATA_VERDICT], 0, len(parts[NFTA_DATA_VERDICT]))
    code: int = struct.unpack(">i", verdict[NFTA_VERDICT_CODE])[0] if NFTA_VERDICT_CODE in verdict else NF_ACCEPT
    return code


def _value(data: bytes) -> int | None:
    """A number of the machine's byte order."""
    value = _parts(data, 0, len(data)).get(NFTA_DATA_VALUE, b"")
    return int(struct.unpack("=I", value)[0]) if len(value) == 4 else None


def _number(data: bytes | None) -> int | None:
    return int(struct.unpack(">I", data)[0]) if data is not None and len(data) == 4 else None
