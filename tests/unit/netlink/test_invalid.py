"""What is no rule of the kernel's is never taken for one that drops; real rules are tested where there is a kernel
(tests/netns/test_dropped_invalid.py)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anetcon.netlink.invalid import BOTH, Does, Ruled, dropped, ruled


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes(rule: bytes, other: bytes) -> None:
    """They may let anything pass, or do nothing; and they are no chain of the forward hook."""
    assert ruled(rule).does is not Does.DROPS
    assert dropped([ruled(rule)], [other], [other]) <= BOTH


def test_a_rule_in_no_chain_of_the_forward_hook() -> None:
    """It drops nothing."""
    assert dropped([Ruled(1, b"t", b"c", Does.DROPS)], [], []) == frozenset()
