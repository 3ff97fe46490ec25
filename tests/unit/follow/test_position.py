"""Saved positions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.follow.position import Saved, forget, load, save
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


def test_what_is_not_wanted_is_forgotten(tmp_path: Path) -> None:
    """Its position goes with all that stands beside it; others stay, and so does what no follower wrote."""
    for name in ("text", "siem", "old"):
        save(tmp_path / "followers" / f"{name}.json", Saved())
        (tmp_path / "followers" / f"{name}.tracker").touch()
    (tmp_path / "followers" / "old.failed").touch()
    (tmp_path / "followers" / "text.quiet").touch()
    forget(tmp_path, ["siem"])
    assert {path.name for path in (tmp_path / "followers").iterdir()} == {"siem.json", "siem.tracker", "text.quiet"}
    forget(tmp_path / "none", [])
