"""Does connection tracking run in a namespace at all?

The kernel tracks only where a rule needs it: netfilter registers the tracking hooks with the first such rule. Nothing
reports the hooks themselves everywhere (nfnetlink_hook is optional), so this reads the rules: any nftables expression
or xtables match or target that depends on conntrack means it runs (net/netfilter/nft_ct.c, nft_nat.c, xt_conntrack.c:
each calls nf_ct_netns_get).
"""

from __future__ import annotations

from collections.abc import Callable

from anetcon.netlink import headers as k
from anetcon.netlink.dump import NFGENMSG_UNSPEC, NFT_MSG_GETRULE, Exchange
from anetcon.netlink.framing import Malformed, attributes

# linux/netfilter/nf_tables.h and nf_tables_compat.h
NFTA_RULE_TABLE = 1
NFTA_RULE_EXPRESSIONS = 4
NFTA_LIST_ELEM = 1
NFTA_EXPR_NAME = 1
NFTA_EXPR_DATA = 2
NFTA_MATCH_NAME = NFTA_TARGET_NAME = 1

EXPRESSIONS = {b"ct", b"nat", b"masq", b"redir", b"connlimit", b"flow_offload", b"synproxy"}
EXTENSIONS = {
    *(b"conntrack", b"state", b"connmark", b"connlimit", b"connbytes", b"connlabel", b"ctstate", b"helper", b"cluster"),
    *(b"SNAT", b"DNAT", b"MASQUERADE", b"REDIRECT", b"NETMAP", b"CONNMARK", b"CT", b"SYNPROXY"),
}


OURS = b"anetcon_packets"
"""Our table (`keeper.sampling`): it is there while other rules need tracking, and does not count itself."""


def tracks(rule: bytes) -> bool:
    """Whether one rule, as NFT_MSG_NEWRULE gives it, needs connection tracking, and is not of OURS. Malformed rules do
    not."""
    try:
        parts = {kind: (a, b) for kind, _, a, b in attributes(rule, k.ATTRIBUTES, len(rule))}
        return text(rule, *parts.get(NFTA_RULE_TABLE, (0, 0))) != OURS and any(
            _tracks_expression(rule, *inside) for inside in expressions(rule)
        )
    except Malformed:
        return False


def expressions(rule: bytes) -> list[tuple[int, int]]:
    """Where the expressions of a rule begin and end. Raises Malformed."""
    found = []
    for kind, _, start, end in attributes(rule, k.ATTRIBUTES, len(rule)):
        if kind == NFTA_RULE_EXPRESSIONS:
            found += [(a, b) for element, _, a, b in attributes(rule, start, end) if element == NFTA_LIST_ELEM]
    return found


def _tracks_expression(rule: bytes, start: int, end: int) -> bool:
    parts = {kind: (a, b) for kind, _, a, b in attributes(rule, start, end)}
    if NFTA_EXPR_NAME not in parts:
        return False
    name = text(rule, *parts[NFTA_EXPR_NAME])
    if name in (b"match", b"target") and NFTA_EXPR_DATA in parts:
        inside = attributes(rule, *parts[NFTA_EXPR_DATA])
        return any(text(rule, a, b) in EXTENSIONS for kind, _, a, b in inside if kind == NFTA_MATCH_NAME)
    return name in EXPRESSIONS


def text(data: bytes, start: int, end: int) -> bytes:
    """A name inside a message."""
    return data[start:end].rstrip(b"\0")


def rules(found: Callable[[], None]) -> Exchange:
    """Ask for every rule; calls `found` when one of them needs connection tracking."""

    def take(answers: list[bytes]) -> None:
        if any(tracks(rule) for rule in answers):
            found()

    return Exchange(NFT_MSG_GETRULE, NFGENMSG_UNSPEC, take)
