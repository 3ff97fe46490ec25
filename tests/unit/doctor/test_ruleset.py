"""What netlink says of rules, read from messages as the kernel makes them, and from noise."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from anetcon.doctor import ruleset
from anetcon.netlink import active
from tests.support.messages import attribute, nested

IP, INET = 2, 1


def message(family: int, *parts: bytes) -> bytes:
    """A message of nftables or ctnetlink."""
    body = struct.pack("=BBH", family, 0, 0) + b"".join(parts)
    return struct.pack("=IHHII", 16 + len(body), 0xA06, 0, 0, 0) + body


def number(kind: int, value: int, size: int = 4) -> bytes:
    """A number in the network's order."""
    return attribute(kind, value.to_bytes(size, "big"))


def expression(name: bytes, *data: bytes) -> bytes:
    """An expression with its data."""
    return nested(active.NFTA_LIST_ELEM, attribute(1, name + b"\0"), nested(active.NFTA_EXPR_DATA, *data))


def rule(*expressions: bytes) -> bytes:
    """A rule of the chain `ip raw PREROUTING` with handle 7."""
    names = attribute(1, b"raw\0") + attribute(2, b"PREROUTING\0") + number(3, 7, 8)
    return message(IP, names, nested(active.NFTA_RULE_EXPRESSIONS, *expressions))


def test_a_rule() -> None:
    """Place, handle and every expression, those of xtables with name and data, jumps with their chain."""
    verdict = nested(2, nested(2, number(1, 0xFFFFFFFD), attribute(2, b"anetcon\0")))
    found = ruleset.rule(
        rule(
            expression(b"notrack"),
            expression(b"target", attribute(1, b"CT\0"), number(2, 2), attribute(3, b"\1\0" + bytes(62))),
            expression(b"ct", number(2, 18), number(4, 8)),
            expression(b"immediate", verdict),
        )
    )
    assert (found.place, found.handle, found.tracks) == ("ip raw PREROUTING", 7, True)
    notrack, target, event, jump = found.expressions
    assert notrack == ruleset.Expression("notrack")
    assert (target.extension, event.name) == ("CT", "ct")
    assert found.hides == "a rule in table ip raw, chain PREROUTING, takes packets out of connection tracking"
    assert jump.jump == "anetcon"


def test_chains_tables_and_flowtables() -> None:
    """A base chain has its hook and a signed priority; a flowtable says whether it counts."""
    hook = nested(4, number(1, 4), number(2, (1 << 32) - 150))
    names = attribute(1, b"nat\0") + attribute(3, b"POSTROUTING\0")
    assert ruleset.chain(message(IP, names, hook, attribute(7, b"nat\0"))) == ruleset.Chain(
        "ip", "nat", "POSTROUTING", "nat", 4, -150
    )
    assert ruleset.chain(message(IP, names)).hook == -1
    assert ruleset.table(message(INET, attribute(1, b"anetcon\0"))) == ("inet", "anetcon")
    names = attribute(1, b"f\0") + attribute(2, b"fast\0")
    assert not ruleset.flowtable(message(INET, names)).counts
    assert ruleset.flowtable(message(INET, names, number(7, 3))).counts


def test_statistics_are_added_up() -> None:
    """Each processor has a message of its own."""
    one = message(0, number(9, 1), number(10, 2), number(11, 3))
    assert ruleset.total([one, one])["drop"] == 4
    assert ruleset.total([])["early_drop"] == 0


@given(st.binary(max_size=120), st.integers(0, 20))
def test_noise(noise: bytes, kept: int) -> None:
    """Whatever bytes come, they are read without an error."""
    whole = rule(expression(b"ct", number(2, 18)))
    for data in (noise, whole[: len(whole) - kept] + noise, message(IP, noise)):
        ruleset.rule(data)
        ruleset.chain(data)
        ruleset.table(data)
        ruleset.flowtable(data)
        ruleset.total([data])
