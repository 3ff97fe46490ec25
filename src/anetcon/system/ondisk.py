"""Files of a store, so opened that no link in their place leads elsewhere, and so replaced that who reads sees the old
or the new. Standard library only: the keeper uses it. Refuses to make folders.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FILE_MODE = 0o640


def open_file(path: Path, flags: int, mode: int = FILE_MODE) -> int:
    """Open a file itself, for this process alone. OSError, too, when a link lies in its place."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def create(path: Path, flags: int = os.O_WRONLY) -> int:
    """Open a new file; whatever was there under its name is removed, and not followed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - a link itself
    return open_file(path, flags | os.O_CREAT | os.O_EXCL)


def aside(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(path.name + ".new")


def replace(path: Path, *contents: bytes, group: int = -1, sync: bool = False) -> None:
    """Write aside, for this group if it is not -1, then rename. OSError: what was there stays, and nothing aside."""
    new = aside(path)
    try:
        descriptor = create(new)
        try:
            if group >= 0:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, -1, group)
            for content in contents:
                write_all(descriptor, content)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of it, however much is taken at a time. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
