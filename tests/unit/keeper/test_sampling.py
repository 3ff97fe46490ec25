"""What our rule counted, as the kernel says it. That it counts and samples is tested where packets flow
(tests/e2e/faults/test_packets.py)."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from anetcon.rules.invalid_sample import NFTA_COUNTER_PACKETS, NFTA_OBJ_DATA, counted
from tests.support.messages import attribute, nested


def test_a_counter() -> None:
    """Its packets, not its bytes; 0 where it does not say."""
    inside = attribute(1, struct.pack(">Q", 900)), attribute(NFTA_COUNTER_PACKETS, struct.pack(">Q", 7))
    assert counted(attribute(2, b"left\0") + nested(NFTA_OBJ_DATA, *inside)) == 7
    assert counted(attribute(2, b"left\0")) == 0


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """They are some number."""
    assert counted(data) >= 0
