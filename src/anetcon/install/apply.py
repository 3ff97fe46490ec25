"""What differs between a tree and the plan, and bringing it there, step by step.

Steps are found first, all of them, and are data: what is printed of them before is what is done after. To do them
again changes nothing; to be interrupted between two costs nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from anetcon.install import users
from anetcon.install.installed import Manifest
from anetcon.install.item import Item, ItemKind, digest
from anetcon.install.tree import Tree


class Verb(Enum):
    """What is done to a path. KEEP is nothing, and has to be said."""

    MAKE = "make"
    WRITE = "write"
    UPDATE = "update"
    LINK = "link"
    USER = "user"
    ADJUST = "adjust"
    ASIDE = "aside"
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True)
class Step:
    """One of them, on one path."""

    verb: Verb
    path: str
    item: Item | None = None
    why: str = ""

    def __str__(self) -> str:
        return f"{self.verb.value:8} {self.path}" + (f": {self.why}" if self.why else "")

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.verb is not Verb.KEEP


def steps(tree: Tree, items: Sequence[Item], manifest: Manifest, replaced: Collection[str] = ()) -> list[Step]:
    """Everything between what is there and what should be; `replaced` is what ours may be written over."""
    found: list[Step] = []
    coming = users.comes(tree)
    for item in items:
        found += _of(tree, item, manifest, coming, item.path in replaced)
        if coming and item.path.endswith(users.FILE):
            missing = " and ".join(users.missing(tree))
            found.append(Step(Verb.USER, missing, item, f"made as {item.path} has it"))
    wanted = {path for item in items for path in (item.path, item.beside)}
    for path, digests in manifest.paths.items():
        if path not in wanted:
            found += _no_longer(tree, path, digests)
    return found


def carry_out(tree: Tree, step: Step) -> None:
    """Do it."""
    item = step.item
    if step.verb is Verb.REMOVE:
        tree.remove(step.path)
    elif item is None or step.verb is Verb.KEEP:
        pass
    elif step.verb is Verb.USER:
        users.make(tree, item.path)
    elif step.verb is Verb.MAKE:
        tree.make_directory(item)
    elif step.verb is Verb.ADJUST:
        tree.adjust(item)
    else:
        tree.write(item, step.path)


def _of(tree: Tree, item: Item, manifest: Manifest, coming: bool, replaced: bool) -> Iterator[Step]:
    if item.kind is ItemKind.DIRECTORY:
        yield from _directory(tree, item, coming)
    elif item.kind is ItemKind.CONFIGURATION and replaced:
        yield Step(Verb.WRITE, item.path, item, "in place of the bash ANetCon's")
    elif item.kind is ItemKind.CONFIGURATION:
        yield from _configuration(tree, item, manifest)
    elif tree.read(item.path) == item.content and _same_kind(tree, item):
        yield from _adjusted(tree, item)
    elif item.kind is ItemKind.LINK:
        yield Step(Verb.LINK, item.path, item, f"to {os.fsdecode(item.content)}")
    else:
        yield Step(Verb.WRITE if tree.status(item.path) is None else Verb.UPDATE, item.path, item)


def _same_kind(tree: Tree, item: Item) -> bool:
    return tree.place(item.path).is_symlink() == (item.kind is ItemKind.LINK)


def _directory(tree: Tree, item: Item, coming: bool) -> Iterator[Step]:
    if not tree.is_directory(item.path):
        yield Step(Verb.MAKE, item.path, item, f"directory, {item.mode:04o} {item.owner}:{item.group}")
    elif tree.fits(item, coming):
        pass
    elif item.path.endswith(("/anetcon", "/anetcon-sign")) or not any(tree.folder(item.path).iterdir()):
        content = ", and what is in it" if tree.hands_over(item, coming) else ""
        yield Step(Verb.ADJUST, item.path, item, f"{item.mode:04o} {item.owner}:{item.group}{content}")
    else:
        command = f"chown -R {item.owner}:{item.group} {shlex.quote(item.path)}"
        why = f"it must belong to {item.owner}: see what is in it, then run `{command}`"
        yield Step(Verb.KEEP, item.path, None, why)


def _adjusted(tree: Tree, item: Item) -> Iterator[Step]:
    if not tree.fits(item):
        yield Step(Verb.ADJUST, item.path, item, f"{item.mode:04o} {item.owner}:{item.group}")


def _configuration(tree: Tree, item: Item, manifest: Manifest) -> Iterator[Step]:
    """Whose content counts: mode and owner of what is there are the operator's as well, as long as it can be read."""
    found = tree.read(item.path)
    beside = tree.read(item.beside)
    if found is not None and not tree.is_readable(item):
        yield Step(
            Verb.ADJUST, item.path, item, f"{item.mode:04o} {item.owner}:{item.group}, for the daemon to read it"
        )
    if found is None:
        yield Step(Verb.WRITE, item.path, item)
    elif found == item.content:
        pass
    elif manifest.is_ours(item.path, digest(found)):
        yield Step(Verb.UPDATE, item.path, item)
    else:
        if beside is None or _ours(manifest, item, beside):
            if beside != item.content:
                yield Step(Verb.ASIDE, item.beside, item, f"{item.path} was edited and stays as it is")
        else:
            yield Step(
                Verb.KEEP,
                item.beside,
                None,
                f"somebody edited both it and {item.path}; remove it, and the next install writes it anew",
            )
        return
    if beside is not None and _ours(manifest, item, beside):
        yield Step(Verb.REMOVE, item.beside, None, "no longer needed")


def _ours(manifest: Manifest, item: Item, beside: bytes) -> bool:
    return beside == item.content or manifest.is_ours(item.beside, digest(beside))


def _no_longer(tree: Tree, path: str, digests: list[str]) -> Iterator[Step]:
    """What an earlier plan had and this one has not."""
    found = tree.read(path)
    if found is None:
        return
    if digest(found) in digests:
        yield Step(Verb.REMOVE, path, None, "no longer part of it")
    else:
        yield Step(Verb.KEEP, path, None, "no longer part of the program, but it was edited: remove it yourself")
