"""Files of a store: no link in their place is followed, and a replacement is whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.system import ondisk


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside of the store."""
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file's place in the store."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "status.json"


def test_a_link_aside_is_replaced_itself(victim: Path, place: Path) -> None:
    """Where a link waits for what is written aside, or in the file's own place, nothing is written through it."""
    for link in (ondisk.aside(place), place):
        link.symlink_to(victim)
    ondisk.replace(place, b"new", b"er")
    assert victim.read_text() == "precious"
    assert (place.is_symlink(), place.read_text()) == (False, "newer")
    assert place.stat().st_mode & 0o137 == 0
    assert list(place.parent.iterdir()) == [place]


def test_a_hard_link_aside_is_let_go_of(victim: Path, place: Path) -> None:
    """What is written aside is a new file, not one that has another name besides."""
    os.link(victim, ondisk.aside(place))
    ondisk.replace(place, b"new")
    assert (victim.read_text(), place.read_text()) == ("precious", "new")


@pytest.mark.parametrize("flags", [os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND])
def test_a_link_is_not_opened(victim: Path, place: Path, flags: int) -> None:
    """It is an error, whether it leads to a file or to none."""
    place.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        ondisk.open_file(place, flags)
    victim.unlink()
    with pytest.raises(OSError, match="symbolic links"):
        ondisk.open_file(place, flags)
    assert not victim.exists()


@pytest.mark.parametrize("fails", ["write", "fsync", "rename"])
def test_a_replacement_that_fails_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """The old file stays, whole, and what was written aside is removed."""
    ondisk.replace(place, b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where: object = Path if fails == "rename" else os
    monkeypatch.setattr(where, fails, full)
    with pytest.raises(OSError, match="No space"):
        ondisk.replace(place, b"new", sync=True)
    monkeypatch.undo()
    assert (list(place.parent.iterdir()), place.read_bytes()) == ([place], b"old")


def test_what_is_taken_a_piece_at_a_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is written."""
    write: Callable[[int, bytes], int] = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    ondisk.replace(place, b"0123456789")
    assert place.read_bytes() == b"0123456789"
