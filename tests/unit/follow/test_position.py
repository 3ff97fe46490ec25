"""Saved positions, and cutting logs back to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.follow.position import Saved, cut, load, save
from anetcon.journal.read import BEGINNING, Position


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Every value comes back; the folder is made."""
    path = tmp_path / "followers" / "text.json"
    assert load(path) is None
    saved = Saved(3, 14, 2, {"a.log": (77, 1234)}, 99, [(None, 5), (6, 7)])
    save(path, saved)
    assert load(path) == saved
    assert saved.position == Position(3, 14)
    assert Saved().position == BEGINNING


@given(
    st.one_of(st.binary(max_size=80), st.sampled_from([b"{}", b"[]", b'{"segment":1,"line":2,"keep":0,"files":[1]}']))
)
def test_what_cannot_be_understood_is_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Rubbish never raises."""
    path = tmp_path_factory.getbasetemp() / "rubbish.json"
    path.write_bytes(data)
    assert load(path) is None


def test_logs_are_cut_to_their_saved_size(tmp_path: Path) -> None:
    """By inode, whatever the name; never made longer; other files are not touched."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("0123456789")
    inodes = {name: (tmp_path / name).stat().st_ino for name in ("a", "b", "c")}
    (tmp_path / "a").rename(tmp_path / "a.1")
    cut(tmp_path, {"a": (inodes["a"], 4), "b": (inodes["b"], 99)})
    assert [(tmp_path / name).read_text() for name in ("a.1", "b", "c")] == ["0123", "0123456789", "0123456789"]
    cut(tmp_path / "missing", {"a": (1, 1)})
