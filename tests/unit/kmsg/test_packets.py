"""Packets come out as they went in."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.kmsg.packets import Stamp, pack, unpack

moments = st.integers(-(2**63), 2**63 - 1)


@given(moments, moments, moments, st.binary())
def test_what_is_packed_is_unpacked(wall: int, raw: int, size: int, records: bytes) -> None:
    """Stamp and records are the same afterwards."""
    assert unpack(pack(Stamp(wall, raw, size), records)) == (Stamp(wall, raw, size), records)


@given(st.binary(max_size=23))
def test_what_is_too_short_is_refused(packet: bytes) -> None:
    """Less than a stamp is no packet."""
    with pytest.raises(ValueError, match="a packet of"):
        unpack(packet)


def test_a_stamp_is_now() -> None:
    """Wall clock in microseconds, and the clock that nobody corrects."""
    before = time.time_ns() // 1000
    stamp = Stamp.now(9)
    assert before <= stamp.wall <= time.time_ns() // 1000
    assert stamp.size == 9
    assert stamp.raw <= time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) // 1000
