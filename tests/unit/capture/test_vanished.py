"""Namespaces that went away while nobody listened are found once, and never without reason."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.vanished import Vanished


def place(folder: Path, name: str) -> int:
    """A file that stands for a namespace; its inode."""
    path = folder / name
    path.touch()
    return path.stat().st_ino


def vanished(folder: Path) -> Vanished:
    """As a capture that begins has it."""
    return Vanished(folder / "namespaces.json", lambda name: folder / name)


def flush(these: Vanished) -> None:
    """What happens around a flush that goes well."""
    these.before_flush()
    these.after_flush()


def test_found_by_the_next_capture(tmp_path: Path) -> None:
    """One whose file is gone and one whose name stands for another; not the one that is there, nor one that ended."""
    before = vanished(tmp_path)
    inodes = {name: place(tmp_path, name) for name in ("gone", "other", "there", "ended")}
    for name, inode in inodes.items():
        before.begin(name, inode + (name == "other"))
    before.end("ended", inodes["ended"])
    (tmp_path / "gone").unlink()
    (tmp_path / "ended").unlink()
    flush(before)
    after = vanished(tmp_path)
    assert after.find() == [("gone", inodes["gone"]), ("other", inodes["other"] + 1)]
    assert vanished(tmp_path).find() == after.find()  # nothing has told of it yet
    flush(after)
    assert vanished(tmp_path).find() == []


def test_one_that_is_listened_to_no_more_is_kept_in_mind(tmp_path: Path) -> None:
    """It was there when the next capture began, which does not listen to it, and is gone for the one behind that."""
    first = vanished(tmp_path)
    inode = place(tmp_path, "deselected")
    first.begin("deselected", inode)
    flush(first)
    second = vanished(tmp_path)
    assert second.find() == []
    flush(second)
    (tmp_path / "deselected").unlink()
    assert vanished(tmp_path).find() == [("deselected", inode)]


def test_a_crash_before_the_journal_tells(tmp_path: Path) -> None:
    """What ended is remembered until a flush has told of it."""
    first = vanished(tmp_path)
    first.begin("gone", 7)
    flush(first)
    first.end("gone", 7)
    first.before_flush()
    assert vanished(tmp_path).find() == [("gone", 7)]


@given(
    st.binary(max_size=40) | st.sampled_from([b"[1]", b'[["a"]]', b'{"a": 1}', b'[["a", null]]', b"[[[], 1]]", b"null"])
)
def test_any_content(tmp_path_factory: object, content: bytes) -> None:
    """A damaged file counts for nothing."""
    folder = tmp_path_factory.mktemp("damaged")  # type: ignore[attr-defined]
    (folder / "namespaces.json").write_bytes(content)
    assert vanished(folder).find() in ([], [("[]", 1)])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is raised, and it is written when it can be."""
    these = vanished(tmp_path / "missing")
    these.begin("a", 1)
    flush(these)
    (tmp_path / "missing").mkdir()
    flush(these)
    assert vanished(tmp_path / "missing").find() == [("a", 1)]
