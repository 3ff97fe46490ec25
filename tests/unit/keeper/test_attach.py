"""What is asked for when a namespace is entered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anetcon.keeper import attach

MIB = 1 << 20


def test_the_first_get_what_is_wanted_and_later_ones_less() -> None:
    """With 2 MiB asked and 1 GiB in all, 128 namespaces get all of it; the sum stays below for 500."""
    used, asked = 0, []
    for _ in range(500):
        asked.append(attach.buffer_to_ask(2 * MIB, 1 << 30, used))
        used += 2 * asked[-1]
    assert asked[:128] == [2 * MIB] * 128
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] == attach.FLOOR_BYTES
    assert used < 1 << 30


@given(st.integers(4096, 1 << 40), st.integers(4096, 1 << 40), st.integers(0, 1 << 41))
def test_never_more_than_wanted_and_never_nothing(wanted: int, total: int, used: int) -> None:
    """Whatever is granted already, a namespace gets a buffer."""
    assert min(wanted, attach.FLOOR_BYTES) <= attach.buffer_to_ask(wanted, total, used) <= wanted
