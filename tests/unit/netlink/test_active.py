"""Which rules make connection tracking run."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink import active
from anetcon.netlink.dump import NFGENMSG_UNSPEC
from anetcon.rules import invalid_sample
from tests.support.messages import attribute, nested


def rule(*expressions: bytes, table: bytes = b"filter") -> bytes:
    """A rule as a dump of rules has it."""
    elements = [nested(active.NFTA_LIST_ELEM, expression) for expression in expressions]
    body = (
        NFGENMSG_UNSPEC
        + attribute(1, table + b"\0")
        + attribute(2, b"chain\0")
        + nested(active.NFTA_RULE_EXPRESSIONS, *elements)
    )
    return struct.pack("=IHHII", 16 + len(body), 0xA06, 0, 0, 0) + body


def expression(name: bytes, inside: bytes = b"") -> bytes:
    """An expression; `inside` is the name of an xtables extension."""
    data = nested(active.NFTA_EXPR_DATA, attribute(1, inside + b"\0")) if inside else b""
    return attribute(active.NFTA_EXPR_NAME, name + b"\0") + data


@pytest.mark.parametrize(
    ("expressions", "needed"),
    [
        ([expression(b"ct")], True),
        ([expression(b"payload"), expression(b"masq")], True),
        ([expression(b"target", b"SNAT")], True),
        ([expression(b"match", b"conntrack"), expression(b"counter")], True),
        ([expression(b"match", b"comment"), expression(b"target", b"LOG")], False),
        ([expression(b"payload"), expression(b"counter")], False),
        ([], False),
    ],
)
def test_rules_that_need_tracking(expressions: list[bytes], needed: bool) -> None:
    """nftables' own expressions and xtables' extensions are told apart from rules that need none."""
    assert active.tracks(rule(*expressions)) is needed


def test_our_own_rule() -> None:
    """It needs tracking only while somebody else's does, so it is no reason to think that tracking runs."""
    assert invalid_sample.NAME.encode() == active.OURS
    assert not active.tracks(rule(expression(b"ct"), table=active.OURS))


@given(st.binary(max_size=100))
def test_any_bytes(noise: bytes) -> None:
    """A rule that cannot be read needs nothing."""
    assert active.tracks(noise) in (True, False)
