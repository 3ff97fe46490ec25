"""Taking away what was installed: what is as we made it, and with `purge` what was edited, too.

Refuses to touch what neither the plan nor the manifest names, and to remove a folder with something else in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from anetcon.install.apply import Step, Verb
from anetcon.install.installed import Manifest
from anetcon.install.item import Item, ItemKind, digest
from anetcon.install.plan import LOGS, SIGNED, STORE
from anetcon.install.tree import Tree


def steps(tree: Tree, items: Sequence[Item], manifest: Manifest, purge: bool) -> list[Step]:
    """Files and links, in the order of the manifest; folders are `folders`."""
    known = {path: item for item in items for path in (item.path, item.beside) if item.kind is not ItemKind.DIRECTORY}
    folders = {item.path for item in items if item.kind is ItemKind.DIRECTORY}
    paths = sorted({*known, *manifest.paths} - folders)
    return [step for path in paths if (step := _of(tree, path, known.get(path), manifest, purge))]


def folders(tree: Tree, items: Sequence[Item], manifest: Manifest) -> list[str]:
    """Folders of ours and those made on the way, the deepest first: each is removed when nothing is in it."""
    own = {item.path for item in items if item.kind is ItemKind.DIRECTORY}
    above = {manifest.path.rpartition("/")[0]}
    found = {*own, STORE, LOGS, SIGNED, *manifest.folders, *above}
    return sorted((path for path in found if path != "/" and tree.is_directory(path)), key=len, reverse=True)


def _of(tree: Tree, path: str, item: Item | None, manifest: Manifest, purge: bool) -> Step | None:
    found = tree.read(path)
    if found is None:
        return None
    ours = manifest.is_ours(path, digest(found)) or (item is not None and found == item.content)
    if ours:
        return Step(Verb.REMOVE, path)
    if item is not None and item.kind is not ItemKind.CONFIGURATION:
        return Step(Verb.KEEP, path, None, "it is not what was installed")
    if purge:
        return Step(Verb.REMOVE, path, None, "edited")
    return Step(Verb.KEEP, path, None, "it was edited; --purge removes it")
