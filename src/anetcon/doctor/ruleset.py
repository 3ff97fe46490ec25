"""The rules of the network namespace we are in, as netlink gives them: tables, chains, rules, flowtables.

Starts no program: hundreds of namespaces are read in seconds. What iptables-nft wrote is here too, its matches and
targets by name; what iptables-legacy wrote is not. Parsing is pure, and what is malformed is left out.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from anetcon.netlink import active, hiding, invalid
from anetcon.netlink import headers as k
from anetcon.netlink.dump import (
    BUFFER,
    NFGENMSG_UNSPEC,
    NFT_MSG_GETCHAIN,
    NFT_MSG_GETRULE,
    NFT_MSG_GETTABLE,
    Exchange,
)
from anetcon.netlink.framing import Malformed, attributes

# linux/netfilter/nf_tables.h
NFT_MSG_GETFLOWTABLE = k.NFNL_SUBSYS_NFTABLES << 8 | 23
NFTA_TABLE_NAME = 1
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_TYPE = 1, 3, 4, 7
NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY = 1, 2
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE = 1, 2, 3
NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN = 2, 2, 2
NFTA_FLOWTABLE_TABLE, NFTA_FLOWTABLE_NAME, NFTA_FLOWTABLE_FLAGS = 1, 2, 7
NFT_FLOWTABLE_COUNTER = 2

FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
PATIENCE = 5.0


@dataclass(frozen=True)
class Expression:
    """One expression of a rule; for what xtables wrote the name of the match or target."""

    name: str
    extension: str = ""
    jump: str = ""


@dataclass(frozen=True)
class Rule:
    """A rule, by where it stands. `tracks`: it makes conntrack run; `hides`: what it keeps from the record."""

    family: str
    table: str
    chain: str
    handle: int
    expressions: tuple[Expression, ...]
    tracks: bool
    hides: str | None = None

    @property
    def place(self) -> str:
        """The chain as nft names it."""
        return f"{self.family} {self.table} {self.chain}"


@dataclass(frozen=True)
class Chain:
    """A chain; `kind` and `hook` are those of a base chain, else empty."""

    family: str
    table: str
    name: str
    kind: str = ""
    hook: int = -1
    priority: int = 0


@dataclass(frozen=True)
class Flowtable:
    """A flowtable; `counts`: offloaded packets are counted."""

    family: str
    table: str
    name: str
    counts: bool


@dataclass(frozen=True)
class NamespaceRules:
    """All of a namespace; rules of a chain in their order."""

    tables: tuple[tuple[str, str], ...] = ()
    chains: tuple[Chain, ...] = ()
    rules: tuple[Rule, ...] = ()
    flowtables: tuple[Flowtable, ...] = ()
    drops_invalid: frozenset[str] = frozenset()
    """The families of which the forward chain drops what conntrack calls invalid."""


Parts = dict[int, tuple[int, int]]


def read(asking: socket.socket) -> NamespaceRules:
    """Everything nftables has in the namespace of this netfilter socket. Raises OSError."""
    asking.settimeout(PATIENCE)
    tables, chains, rules = (dump(asking, kind) for kind in (NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE))
    return NamespaceRules(
        tuple(map(table, tables)),
        tuple(map(chain, chains)),
        tuple(map(rule, rules)),
        tuple(flowtable(m) for m in dump(asking, NFT_MSG_GETFLOWTABLE)),
        invalid.dropped(map(invalid.ruled, rules), chains, tables),
    )


def dump(asking: socket.socket, kind: int) -> list[bytes]:
    """Every message that answers one question. Raises OSError."""
    answers: list[bytes] = []
    exchange = Exchange(kind, NFGENMSG_UNSPEC, answers.extend)
    exchange.send(asking)
    while not exchange.feed(asking.recv(BUFFER)):
        pass
    if exchange.failed:
        raise OSError(exchange.failed, f"netlink answers with error {exchange.failed}")
    return answers


def table(message: bytes) -> tuple[str, str]:
    """(family, name) of a table."""
    return family(message), _text(message, _parts(message), NFTA_TABLE_NAME)


def chain(message: bytes) -> Chain:
    """A chain."""
    parts = _parts(message)
    hook = _parts(message, *parts[NFTA_CHAIN_HOOK]) if NFTA_CHAIN_HOOK in parts else {}
    priority = _number(message, hook, NFTA_HOOK_PRIORITY, 0)
    return Chain(
        family(message),
        _text(message, parts, NFTA_CHAIN_TABLE),
        _text(message, parts, NFTA_CHAIN_NAME),
        _text(message, parts, NFTA_CHAIN_TYPE),
        _number(message, hook, NFTA_HOOK_HOOKNUM, -1),
        priority - (1 << 32) if priority >= 1 << 31 else priority,
    )


def rule(message: bytes) -> Rule:
    """A rule."""
    parts = _parts(message)
    return Rule(
        family(message),
        _text(message, parts, NFTA_RULE_TABLE),
        _text(message, parts, NFTA_RULE_CHAIN),
        _number(message, parts, NFTA_RULE_HANDLE, 0),
        tuple(_expressions(message, parts)),
        active.tracks(message),
        hiding.hides(message),
    )


def flowtable(message: bytes) -> Flowtable:
    """A flowtable."""
    parts = _parts(message)
    flags = _number(message, parts, NFTA_FLOWTABLE_FLAGS, 0)
    names = _text(message, parts, NFTA_FLOWTABLE_TABLE), _text(message, parts, NFTA_FLOWTABLE_NAME)
    return Flowtable(family(message), *names, bool(flags & NFT_FLOWTABLE_COUNTER))


def family(message: bytes) -> str:
    """The address family of a message, as nft names it."""
    number = message[k.NLMSG_HDRLEN] if len(message) > k.NLMSG_HDRLEN else 0
    return FAMILIES.get(number, str(number))


def _expressions(message: bytes, parts: Parts) -> Iterator[Expression]:
    if active.NFTA_RULE_EXPRESSIONS not in parts:
        return
    try:
        elements = list(attributes(message, *parts[active.NFTA_RULE_EXPRESSIONS]))
    except Malformed:
        return
    for kind, _, start, end in elements:
        if kind == active.NFTA_LIST_ELEM:
            yield _expression(message, _parts(message, start, end))


def _expression(message: bytes, parts: Parts) -> Expression:
    name = _text(message, parts, active.NFTA_EXPR_NAME)
    data = _parts(message, *parts[active.NFTA_EXPR_DATA]) if active.NFTA_EXPR_DATA in parts else {}
    if name in ("match", "target"):
        return Expression(name, _text(message, data, active.NFTA_TARGET_NAME))
    if name == "immediate" and NFTA_IMMEDIATE_DATA in data:
        verdict = _parts(message, *data[NFTA_IMMEDIATE_DATA]).get(NFTA_DATA_VERDICT)
        if verdict is not None:
            return Expression(name, jump=_text(message, _parts(message, *verdict), NFTA_VERDICT_CHAIN))
    return Expression(name)


def _parts(message: bytes, start: int = k.ATTRIBUTES, end: int | None = None) -> Parts:
    """Where each attribute's payload is; none where they are malformed."""
    try:
        found = attributes(message, start, len(message) if end is None else end)
        return {kind: (first, last) for kind, _, first, last in found}
    except Malformed:
        return {}


def _text(message: bytes, parts: Parts, kind: int) -> str:
    start, end = parts.get(kind, (0, 0))
    return message[start:end].rstrip(b"\0").decode(errors="replace")


def _number(message: bytes, parts: Parts, kind: int, missing: int) -> int:
    start, end = parts.get(kind, (0, 0))
    return int.from_bytes(message[start:end], "big") if end > start else missing


def statistics(asking: socket.socket) -> dict[str, int]:
    """Conntrack's own counters in the namespace, summed over the processors. Raises OSError."""
    asking.settimeout(PATIENCE)
    return total(dump(asking, GET_STATS_CPU))


# linux/netfilter/nfnetlink_conntrack.h
GET_STATS_CPU = k.NFNL_SUBSYS_CTNETLINK << 8 | 4
STATISTICS = {
    4: "invalid",
    8: "insert",
    9: "insert_failed",
    10: "drop",
    11: "early_drop",
    12: "error",
    15: "chain_toolong",
}


def total(messages: list[bytes]) -> dict[str, int]:
    """The counters of one message a processor, added up."""
    sums = dict.fromkeys(STATISTICS.values(), 0)
    for message in messages:
        parts = _parts(message)
        for kind, name in STATISTICS.items():
            sums[name] += _number(message, parts, kind, 0)
    return sums
