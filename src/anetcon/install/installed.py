"""What we installed, by digest: a file that still has it was not edited.

Of each path every digest that may be there by our hand is kept: the new one is added before a file is written and
the old one dropped when all is done, so that an installation that was interrupted knows its own files again. Without
the manifest nothing is lost: a file that differs from what would be installed then counts as edited.

It lies beside the program, not in the store: whoever may write records must not say what root removes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from anetcon.install.item import Item, ItemKind
from anetcon.install.places import Layout
from anetcon.install.tree import Tree

VERSION = 1


class Manifest:
    """`paths`: what may be there of ours, with its digests (none of a directory). `folders`: made on the way."""

    def __init__(self, tree: Tree, layout: Layout) -> None:
        self.path = f"{layout.share}/anetcon/installed.json"
        self.paths: dict[str, list[str]] = {}
        self.folders: list[str] = []
        self.program = ""
        """What was installed last, and is running since."""
        self._tree = tree
        self._found = tree.read(self.path)
        if self._found is not None:
            self._take(self._found)

    def _take(self, content: bytes) -> None:
        """A manifest that cannot be read is as good as none."""
        try:
            said = json.loads(content)
            paths = {str(path): [str(each) for each in digests] for path, digests in said["paths"].items()}
            self.program, self.folders, self.paths = str(said["program"]), [str(f) for f in said["folders"]], paths
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def is_ours(self, item_path: str, digest: str) -> bool:
        """Whether we put this content there."""
        return digest in self.paths.get(item_path, ())

    def expect(self, items: Iterable[Item]) -> None:
        """These are about to be written; what was there by our hand may still be."""
        for item in items:
            for path in _paths(item):
                known = self.paths.setdefault(path, [])
                if item.kind is not ItemKind.DIRECTORY and item.digest not in known:
                    known.append(item.digest)
        folders = {folder for path in [self.path, *self.paths] for folder in self._tree.missing_above(path)}
        self.folders = sorted({*self.folders, *folders})
        self.save()

    def settle(self, items: Iterable[Item]) -> None:
        """All of these are there now, and nothing else; of a file that was edited, whatever was ours before too."""
        kept: dict[str, list[str]] = {}
        for item in items:
            for path in _paths(item):
                found = self._tree.read(path)
                same = found is None or found == item.content
                if path == item.path or found is not None:
                    kept[path] = [] if item.kind is ItemKind.DIRECTORY else [item.digest] if same else self.paths[path]
        self.paths = kept
        self.save()

    def forget(self, kept: Iterable[str]) -> None:
        """Everything is taken away but these: of an edited file it is still known that it is not ours."""
        self.paths = {path: digests for path, digests in self.paths.items() if path in kept}
        self.program = ""
        if self.paths:
            self.save()
        else:
            self._tree.remove(self.path)

    def save(self) -> None:
        """Write it, if that changes it."""
        content = self.content()
        if content != self._found:
            self._tree.write(Item(ItemKind.PROGRAM, self.path, content))
            self._found = content

    def content(self) -> bytes:
        """As it is written."""
        paths = dict(sorted(self.paths.items()))
        said = {"version": VERSION, "program": self.program, "folders": self.folders, "paths": paths}
        return (json.dumps(said, indent=1) + "\n").encode()


def _paths(item: Item) -> Iterator[str]:
    """Where an item may be: in its place, or beside it."""
    yield item.path
    if item.kind is ItemKind.CONFIGURATION:
        yield item.beside
