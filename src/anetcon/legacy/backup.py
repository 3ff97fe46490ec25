"""Files of the bash ANetCon, kept below a folder as they lay below the root, so that one copy of it all goes back.

A copy is made before its original is touched. Refuses to keep anything but files and links.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDER = "replaced"
"""Below /etc/anetcon."""
_HALF = ".half"


def keep(files: Iterable[Path], folder: Path) -> None:
    """Copy files (absolute) below `folder`, with mode, owner and times. Raises OSError."""
    for path in files:
        kept = _kept(path, folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        half = kept.with_name(kept.name + _HALF)
        half.unlink(missing_ok=True)
        shutil.copy2(path, half, follow_symlinks=False)
        found = path.lstat()
        os.chown(half, found.st_uid, found.st_gid, follow_symlinks=False)
        half.rename(kept)


def kept(folder: Path) -> list[Path]:
    """What is kept, by the names it had."""
    return sorted(Path("/") / path.relative_to(folder) for path in _files(folder))


def put_back(folder: Path) -> None:
    """Everything is again where it was. Raises OSError."""
    for path in kept(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + _HALF)
        half.unlink(missing_ok=True)
        shutil.copy2(_kept(path, folder), half, follow_symlinks=False)
        half.rename(path)


def _kept(path: Path, folder: Path) -> Path:
    return folder / path.relative_to("/")


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if (path.is_symlink() or path.is_file()) and path.suffix != _HALF:
            yield path
