"""What is done of a namespace when it comes. That it is recorded is tested with real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.journal.write import segment_path
from tests.support.capture_parts import Capture


@pytest.mark.parametrize("left", [None, b"", b"\0" * 4096])
def test_what_of_a_first_start_is_listed(tmp_path: Path, left: bytes | None) -> None:
    """Nothing, since nothing is on record. A journal of which nothing can be read back is no first start: what is
    sealed of it may have ended."""
    if left is not None:
        for table in ("connections", "listings"):
            path = segment_path(tmp_path / "journal" / table, 1, "index")
            path.parent.mkdir(parents=True)
            path.write_bytes(left)
    made = Capture(tmp_path)
    made.attach(newborn=False)
    assert made.conntrack.listings.waiting() == (left is not None)
