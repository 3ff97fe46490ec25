"""Names of protocols."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon import protocols


@given(st.integers(0, 255))
def test_a_name_reads_back(number: int) -> None:
    """What is written for a protocol is read as that protocol, in any case of letters."""
    assert protocols.number(protocols.name(number)) == number
    assert protocols.number(protocols.name(number).upper()) == number


@given(st.text().filter(lambda text: text.lower() not in protocols.NUMBERS))
def test_anything_else_is_refused(text: str) -> None:
    """A text that is neither a name nor a number up to 255 is a ValueError that lists the names."""
    if text.isascii() and text.isdigit() and int(text) <= 255:
        assert protocols.number(text) == int(text)
    else:
        with pytest.raises(ValueError, match="udplite"):
            protocols.number(text)
