"""The file system below a root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anetcon.errors import AnetconError
from anetcon.install.item import Item, ItemKind
from anetcon.install.tree import Tree


def file(path: str, content: bytes = b"x", mode: int = 0o640) -> Item:
    """A file."""
    return Item(ItemKind.PROGRAM, path, content, mode)


def test_links_are_followed_inside_the_tree(tmp_path: Path) -> None:
    """An absolute link means the tree's own root, and no link leads out of it."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "etc").symlink_to("/real")
    (root / "out").symlink_to("../../../../..")
    tree = Tree(root)
    assert tree.place("/etc/a") == root / "real" / "a"
    assert tree.place("/out/a") == root / "a"
    tree.write(file("/etc/a"))
    assert (root / "real/a").read_bytes() == b"x"
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises(AnetconError, match="leads nowhere"):
        tree.place("/one/a")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails the old one stands, nothing is left beside it, and the error is a sentence."""
    tree = Tree(tmp_path)
    tree.write(file("/a", b"old"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AnetconError, match=r"cannot write .*/a: No space left on device; make room"):
        tree.write(file("/a", b"new"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    """A folder in the place of a file, a file in the place of a folder: one sentence each."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(AnetconError, match="something else is in its place"):
        Tree(tmp_path).write(file("/a"))
    with pytest.raises(AnetconError, match=r"in its place|no directory"):
        Tree(tmp_path).make_directory(Item(ItemKind.DIRECTORY, "/b/c"))


def test_owners_are_the_trees_own(tmp_path: Path) -> None:
    """Numbers come from the passwd and group of the tree, never from this machine's."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("anetcon:x:4711:4712::/:\n")
    (tmp_path / "etc/group").write_text("adm:x:4713:\n")
    tree = Tree(tmp_path)
    assert (tree.number("owner", "anetcon"), tree.number("group", "adm")) == (4711, 4713)
    assert (tree.number("owner", "nobody-here"), tree.number("owner", "root")) == (None, 0)


def test_a_folder_is_removed_only_when_it_is_empty(tmp_path: Path) -> None:
    """What somebody put into it stays."""
    tree = Tree(tmp_path)
    tree.make_directory(Item(ItemKind.DIRECTORY, "/a/b", mode=0o750))
    assert tree.missing_above("/a/b/c/d") == ["/a/b/c"]
    assert not tree.remove_empty("/a")
    assert tree.remove_empty("/a/b")
    assert tree.remove_empty("/a")


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are changed by root")
def test_a_folder_that_gets_another_owner_takes_its_content_along(tmp_path: Path) -> None:
    """Files, folders and links themselves, never what a link points to; a folder of its own already is not walked."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("anetcon:x:4711:4711::/:\n")
    (root / "etc/group").write_text("adm:x:4712:\n")
    (root / "store/journal").mkdir(parents=True)
    outside.write_bytes(b"")
    for file in ("store/lock", "store/journal/x"):
        (root / file).write_bytes(b"")
    (root / "store/link").symlink_to(outside)
    tree = Tree(root)
    item = Item(ItemKind.DIRECTORY, "/store", mode=0o750, owner="anetcon", group="adm")
    assert (tree.fits(item), tree.hands_over(item)) == (False, True)
    tree.adjust(item)
    assert (tree.fits(item), tree.hands_over(item)) == (True, False)
    assert {(each.lstat().st_uid, each.lstat().st_gid) for each in (root / "store").rglob("*")} == {(4711, 4712)}
    assert outside.stat().st_uid == 0
    os.chown(root / "store/lock", 0, 0)
    (root / "store").chmod(0o755)
    tree.adjust(item)
    assert (root / "store/lock").stat().st_uid == 0
