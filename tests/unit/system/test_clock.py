"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from anetcon.system import clock


@given(st.integers(0, 4_102_444_800_000_000))
def test_text_is_rfc3339_with_microseconds(us: int) -> None:
    """What is written is the same moment, to the microsecond, in UTC."""
    written = clock.text(us)
    assert len(written) == len("2026-11-20T13:05:09.000000Z")
    parsed = datetime.fromisoformat(written)
    assert parsed.utcoffset() == UTC.utcoffset(None)
    assert round(parsed.timestamp() * 1_000_000) == us
