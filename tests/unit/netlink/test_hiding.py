"""Which rules hide connections, and what is said of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink import active, hiding
from tests.support.messages import attribute, nested

ALL, NEW_ALONE = hiding.NEEDED_EVENTS, 1
REGISTER = struct.pack(">I", 8)


def rule(*expressions: bytes, family: int = 1) -> bytes:
    """A rule as a dump of rules has it."""
    elements = [nested(active.NFTA_LIST_ELEM, expression) for expression in expressions]
    body = struct.pack("=BBH", family, 0, 0) + attribute(1, b"raw\0") + attribute(2, b"PREROUTING\0")
    body += nested(active.NFTA_RULE_EXPRESSIONS, *elements)
    return struct.pack("=IHHII", 16 + len(body), 0xA06, 0, 0, 0) + body


def expression(name: bytes, *data: bytes) -> bytes:
    """An expression with its attributes."""
    return attribute(active.NFTA_EXPR_NAME, name + b"\0") + nested(active.NFTA_EXPR_DATA, *data)


def immediate(mask: int) -> bytes:
    """A value put into a register."""
    value = nested(hiding.NFTA_IMMEDIATE_DATA, attribute(hiding.NFTA_DATA_VALUE, struct.pack("=I", mask)))
    return expression(b"immediate", attribute(hiding.NFTA_IMMEDIATE_DREG, REGISTER), value)


def ct_set(key: int = hiding.NFT_CT_EVENTMASK) -> bytes:
    """`ct … set` from that register."""
    number = attribute(hiding.NFTA_CT_KEY, struct.pack(">I", key))
    return expression(b"ct", number, attribute(hiding.NFTA_CT_SREG, REGISTER))


def target(name: bytes, flags: int = 0, events: int = 0) -> bytes:
    """A target of xtables."""
    info = struct.pack("=HHI", flags, 0, events) + bytes(56)
    return expression(b"target", attribute(1, name + b"\0"), attribute(hiding.NFTA_TARGET_INFO, info))


@pytest.mark.parametrize(
    ("expressions", "hidden"),
    [
        ([expression(b"payload"), expression(b"notrack")], "tracking"),
        ([attribute(active.NFTA_EXPR_NAME, b"notrack\0")], "tracking"),
        ([immediate(NEW_ALONE), ct_set()], "events"),
        ([immediate(0), ct_set()], "events"),
        ([ct_set()], "events"),
        ([immediate(ALL | 0x80), ct_set()], None),
        ([immediate(0), ct_set(key=3)], None),
        ([target(b"CT", flags=hiding.XT_CT_NOTRACK)], "tracking"),
        ([target(b"NOTRACK")], "tracking"),
        ([target(b"CT", events=NEW_ALONE)], "events"),
        ([target(b"CT", events=ALL)], None),
        ([target(b"CT")], None),
        ([target(b"SNAT", flags=1)], None),
        ([], None),
    ],
)
def test_what_a_rule_hides(expressions: list[bytes], hidden: str | None) -> None:
    """nftables' own expressions and xtables' targets; what leaves both events hides nothing."""
    said = hiding.hides(rule(*expressions))
    if hidden is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith("a rule in table inet raw, chain PREROUTING, takes")
        assert hidden in said


@given(st.binary(max_size=200))
def test_any_bytes(noise: bytes) -> None:
    """A rule that cannot be read hides nothing, and costs nothing but a look."""
    hiding.hides(noise)
    whole = rule(expression(b"notrack"))
    hiding.hides(whole[: len(noise)])
    hiding.hides(whole[:20] + noise)
    hiding.hides(rule(attribute(active.NFTA_EXPR_NAME, b"target\0") + nested(active.NFTA_EXPR_DATA, noise)))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (("ip", "CT", 1, 0), "a rule of iptables-legacy in table raw takes packets out of connection tracking"),
        (("ip6", "NOTRACK", 0, 0), "a rule of ip6tables-legacy in table raw takes packets out of connection tracking"),
        (("ip", "CT", 0, NEW_ALONE), "a rule of iptables-legacy in table raw takes events away from connections"),
        (("ip", "CT", 0, ALL), None),
        (("ip", "CT", 0, 0), None),
    ],
)
def test_targets_of_iptables_legacy(seen: tuple[str, str, int, int], said: str | None) -> None:
    """They are judged as those that netlink shows; a zone or a helper alone hides nothing."""
    assert hiding.legacy(*seen) == said
