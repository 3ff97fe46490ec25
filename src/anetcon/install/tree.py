"""The file system below a root: the running machine's own, or that of an image that is being made.

Paths are absolute, as on the machine that will run it; links on the way are followed as they will be there, so that
nothing outside the tree is ever touched. Names of owners are those of the tree's own passwd and group. A file is
written aside and renamed: whoever reads it sees the old or the new.

Refuses to say what is to be where.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from anetcon.errors import AnetconError, PermissionMissingError
from anetcon.install.item import Item, ItemKind

MOST_LINKS = 40
ASIDE = ".anetcon-aside"
NAMES = {"owner": "etc/passwd", "group": "etc/group"}


class Tree:
    """`root` is `/` for the running machine."""

    def __init__(self, root: Path) -> None:
        self.root = Path("/") if root == Path("/") else root.resolve()
        self.is_host = self.root == Path("/")
        self.privileged = os.geteuid() == 0

    def place(self, path: str) -> Path:
        """Where a path is: every link on the way followed inside the tree, not the last part."""
        above, _, last = path.rpartition("/")
        return self.folder(above) / last

    def folder(self, path: str) -> Path:
        """Where a folder is: every link followed inside the tree."""
        at, links = self.root, 0
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        while todo:
            part = todo.pop()
            if part == "..":
                at = at.parent if at != self.root else at
                continue
            step = at / part
            if not step.is_symlink():
                at = step
                continue
            links += 1
            if links > MOST_LINKS:
                raise AnetconError(f"{step} is a link that leads nowhere: remove it")
            target = str(step.readlink())
            at = self.root if target.startswith("/") else at
            todo += [each for each in reversed(target.split("/")) if each not in ("", ".")]
        return at

    def read(self, path: str) -> bytes | None:
        """A file's content, or where a link points to; None when nothing is there."""
        place = self.place(path)
        try:
            return os.fsencode(place.readlink()) if place.is_symlink() else place.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise named(error, place, "read") from error

    def status(self, path: str) -> os.stat_result | None:
        """Of what is there, a link not followed."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self.place(path).lstat()
        return None

    def is_directory(self, path: str) -> bool:
        """Whether a directory is there, also by a link."""
        return self.folder(path).is_dir()

    def missing_above(self, path: str) -> list[str]:
        """The folders above a path that are not there."""
        above = [str(folder) for folder in PurePosixPath(path).parents]
        return [folder for folder in above if not self.is_directory(folder)]

    def number(self, kind: str, name: str) -> int | None:
        """The number of an owner or group in this tree; None when it has no such name."""
        if name == "root":
            return 0
        with contextlib.suppress(OSError):
            for line in self.folder(NAMES[kind]).read_text(errors="replace").splitlines():
                fields = line.split(":")
                if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
                    return int(fields[2])
        return None

    def owners(self, item: Item) -> tuple[int, int]:
        """The numbers for an item, -1 where it stays as it is: as is what we may not give away, and to whom the tree
        does not know yet."""
        if not self.privileged:
            return -1, -1
        owner, group = self.number("owner", item.owner), self.number("group", item.group)
        return -1 if owner is None else owner, -1 if group is None else group

    def fits(self, item: Item, coming: bool = False) -> bool:
        """Whether mode and owners of what is there are the item's. `coming`: a name that is not known will be."""
        found = self._itself(item).lstat()
        owner, group = self.owners(item)
        if coming and self.privileged and -1 in (owner, group):
            return False
        same = owner in (-1, found.st_uid) and group in (-1, found.st_gid)
        return same and (item.kind is ItemKind.LINK or stat.S_IMODE(found.st_mode) == item.mode)

    def is_readable(self, item: Item) -> bool:
        """Whether the item's group may read what is there, where it has one that is to."""
        found, group = self.place(item.path).lstat(), self.owners(item)[1]
        if stat.S_ISLNK(found.st_mode) or group in (-1, 0) or found.st_mode & stat.S_IROTH:
            return True
        return found.st_gid == group and bool(found.st_mode & stat.S_IRGRP)

    def hands_over(self, item: Item, coming: bool = False) -> bool:
        """Whether a directory is to get another owner, and what is in it with it: one that is not root. `coming`: a
        name that is not known will be."""
        if item.kind is not ItemKind.DIRECTORY or item.owner == "root":
            return False
        owner = self.owners(item)[0]
        return coming and self.privileged if owner == -1 else owner != self._itself(item).lstat().st_uid

    def adjust(self, item: Item) -> None:
        """Give what is there the item's mode and owners; where a directory changes its owner, what is in it does, too.
        It comes last: while it does not fit, not all is done."""
        with self._naming(item.path, "change"):
            place, owners = self._itself(item), self.owners(item)
            if self.hands_over(item):
                for _, folders, files, within in os.fwalk(place):  # which no link that is put in between leads away
                    for name in (*folders, *files):
                        os.chown(name, *owners, dir_fd=within, follow_symlinks=False)
            os.chown(place, *owners, follow_symlinks=False)
            if item.kind is not ItemKind.LINK:
                place.chmod(item.mode)

    def _itself(self, item: Item) -> Path:
        """Where an item is; a directory may be there by a link."""
        return self.folder(item.path) if item.kind is ItemKind.DIRECTORY else self.place(item.path)

    def make_directory(self, item: Item) -> None:
        """Make it; those above it as they always are."""
        with self._naming(item.path, "make"):
            place = self.folder(item.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir(exist_ok=True)
        self.adjust(item)

    def write(self, item: Item, path: str | None = None) -> None:
        """Put a file or link in its place, or at another `path`, whole or not at all."""
        at = path or item.path
        with self._naming(at, "write"):
            place = self.place(at)
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = place.with_name(f".{place.name}{ASIDE}")
            try:
                aside.unlink(missing_ok=True)
                self._fill(aside, item)
                aside.rename(place)
            except OSError:
                with contextlib.suppress(OSError):
                    aside.unlink()
                raise

    def _fill(self, aside: Path, item: Item) -> None:
        if item.kind is ItemKind.LINK:
            aside.symlink_to(os.fsdecode(item.content))
            os.chown(aside, *self.owners(item), follow_symlinks=False)
            return
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(item.content)
            file.flush()
            os.fchown(descriptor, *self.owners(item))
            os.fchmod(descriptor, item.mode)
            os.fsync(descriptor)

    def remove(self, path: str) -> None:
        """Remove a file or link, if it is there."""
        with self._naming(path, "remove"):
            self.place(path).unlink(missing_ok=True)

    def remove_empty(self, path: str) -> bool:
        """Remove a directory unless there is something in it; whether it is gone."""
        try:
            self.place(path).rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY):
                return False
            raise named(error, self.place(path), "remove") from error
        return True

    @contextlib.contextmanager
    def _naming(self, path: str, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise named(error, self.place(path), verb) from error


def named(error: OSError, place: Path, verb: str) -> AnetconError:
    """One sentence for a refused access."""
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return PermissionMissingError(f"cannot {verb} {place}: {error.strerror}; run it as root")
    advice = {
        errno.ENOSPC: "make room on that file system and run it again",
        errno.EDQUOT: "make room on that file system and run it again",
        errno.EROFS: "mount that file system writable and run it again",
        errno.ENOTDIR: "a part of that path is not a directory: move it away",
        errno.EISDIR: "something else is in its place: move it away",
        errno.EEXIST: "something else is in its place: move it away",
    }.get(error.errno or 0, "put that right and run it again")
    return AnetconError(f"cannot {verb} {place}: {error.strerror}; {advice}")
