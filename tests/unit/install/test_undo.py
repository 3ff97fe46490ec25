"""Taking away what was installed."""

from __future__ import annotations

from pathlib import Path

from anetcon.install import undo
from anetcon.install.apply import Verb
from anetcon.install.installed import Manifest
from anetcon.install.item import Item, ItemKind
from anetcon.install.places import HOST
from anetcon.install.tree import Tree

ITEMS = [Item(ItemKind.CONFIGURATION, "/etc/a", b"a\n"), Item(ItemKind.PROGRAM, "/usr/b", b"b\n")]


def said(root: Path, purge: bool) -> dict[str, Verb]:
    """What is done to which path."""
    tree = Tree(root)
    return {step.path: step.verb for step in undo.steps(tree, ITEMS, Manifest(tree, HOST), purge)}


def test_only_what_is_ours(tmp_path: Path) -> None:
    """What we made goes; an edited configuration with purge alone; what somebody put in our program's place never."""
    tree = Tree(tmp_path)
    for item in ITEMS:
        tree.write(item)
    assert said(tmp_path, purge=False) == {"/etc/a": Verb.REMOVE, "/usr/b": Verb.REMOVE}, "also without a manifest"
    for item in ITEMS:
        tree.place(item.path).write_bytes(b"another\n")
    assert said(tmp_path, purge=False) == {"/etc/a": Verb.KEEP, "/usr/b": Verb.KEEP}
    assert said(tmp_path, purge=True) == {"/etc/a": Verb.REMOVE, "/usr/b": Verb.KEEP}


def test_nothing_where_nothing_is(tmp_path: Path) -> None:
    """A tree without any of it has no steps and no folders of ours."""
    assert said(tmp_path, purge=True) == {}
    tree = Tree(tmp_path)
    assert undo.folders(tree, ITEMS, Manifest(tree, HOST)) == []
