"""A line of the manifest: its times, and which times its file may have rows of. Lies are in `test_manifest.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.store.entry import Entry, microseconds, rfc3339


@pytest.mark.parametrize(
    ("bounds", "question", "answer"),
    [
        ((10, 20), (None, None), True),
        ((10, 20), (20, None), True),
        ((10, 20), (21, None), False),
        ((10, 20), (None, 10), True),
        ((10, 20), (None, 9), False),
        ((None, 20), (0, 1), True),
        ((10, None), (99, None), True),
    ],
)
def test_a_file_is_read_only_if_it_may_answer(
    bounds: tuple[int | None, int | None], question: tuple[int | None, int | None], answer: bool
) -> None:
    """A file without a bound may have rows at any time on that side."""
    start, end = (None if bound is None else rfc3339(bound) for bound in bounds)
    found = Entry(prev="", kind="connections", seal=1, start=start, end=end)
    assert found.covers(*question) is answer


@given(st.integers(-(10**15), 4 * 10**15))
def test_times_survive_the_manifest(time: int) -> None:
    """Microseconds to text and back."""
    assert microseconds(rfc3339(time)) == time
