"""Checkpoints that were noted elsewhere are read out of any log."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import InputError
from anetcon.proof.anchors import Anchor, anchors, line

ROOT = bytes(range(32))


@given(st.lists(st.text(max_size=40).filter(lambda text: "signed" not in text), max_size=4), st.integers(0, 10**17))
def test_in_whatever_is_around_it(tmp_path_factory: pytest.TempPathFactory, around: list[str], size: int) -> None:
    """Each line that says it, in its place; what is none is overlooked."""
    path = tmp_path_factory.mktemp("log") / "messages"
    before = "".join(text.replace("\r", "").replace("\n", "") + "\n" for text in around)
    said = line("anetcon/gw%201/5f0c", size, ROOT, 3)
    path.write_text(f"{before}Nov 20 gw1 anetcon-sign[1]: {said}\n{said[:-30]}\n", errors="replace")
    found = anchors(path)
    assert [each[:3] for each in found] == [("anetcon/gw%201/5f0c", size, ROOT)]
    assert found[0] == Anchor(*found[0][:3], f"line {path.read_text().split(said)[0].count(chr(10)) + 1} of {path}")


def test_no_file(tmp_path: Path) -> None:
    """Is said."""
    with pytest.raises(InputError, match="cannot read"):
        anchors(tmp_path / "none")
