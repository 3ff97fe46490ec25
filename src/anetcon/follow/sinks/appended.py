"""Files that lines are appended to: how far they are written, and cutting off what is behind that."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon.follow.position import Places
from anetcon.store import layout
from anetcon.system.ondisk import write_all

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe in a file's place is refused, and not waited for."""


class Files:
    """Files of one folder, by their names: a sink but for what it writes of rows (anetcon.follow.reader)."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder, self._names = folder, tuple(names)
        self._open: dict[str, int] = {}

    def open(self, saved: Places) -> None:
        """Cut off what is behind `saved`, and open or make the files. Raises OSError, and none is open then."""
        cut(self._folder, saved)
        try:
            layout.make_folder(self._folder)
            for name in self._names:
                self._open[name] = _append(self._folder / name)
        except OSError:
            self.close()
            raise

    def ready(self) -> bool:
        """Always: whoever cannot write says so when it does."""
        return True

    def write(self, name: str, lines: pa.StringArray) -> None:
        """Append the texts one behind the other, as they are in memory. Raises OSError."""
        offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
        write_all(self._open[name], memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]])

    def where(self) -> Places:
        """Each file that is open, whatever it is called by now: its inode and its size."""
        found = {name: os.fstat(descriptor) for name, descriptor in self._open.items()}
        return {name: (file.st_ino, file.st_size) for name, file in found.items()}

    def sync(self) -> None:
        """Have the disk keep what was written. Raises OSError."""
        for descriptor in self._open.values():
            os.fdatasync(descriptor)

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            os.close(self._open.popitem()[1])


def _append(path: Path) -> int:
    new = not path.exists()
    descriptor = os.open(path, FLAGS, layout.FILE_MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if new:
        layout.give_to_group(path)
    return descriptor


def cut(folder: Path, saved: Places) -> None:
    """Cut files back to their saved sizes, also where they were renamed; one whose name begins otherwise is somebody
    else's, which has the number of a file that is gone. Raises OSError."""
    ours = {inode: (Path(name).stem, size) for name, (inode, size) in saved.items()}
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, size = ours.get(entry.inode(), ("", None))
            if size is None or not entry.name.startswith(stem) or not entry.is_file(follow_symlinks=False):
                continue
            if entry.stat().st_size > size:
                os.truncate(entry.path, size)
