"""The keeper's files in the store directory: the lock and status.json; its ledger is `link.ledger`.

Refuses to wait for the disk after the start: a disk that hangs must not stop the guard of hold mode. So what is
written again and again is written by a child forked for it, and skipped while the one before is not done.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time
from pathlib import Path

from anetcon.errors import AlreadyRunningError, StoreError
from anetcon.keeper.children import Reaper
from anetcon.system import ondisk
from anetcon.system.readers import give_to_readers, replace

DIRECTORY_MODE = 0o750
LOCK_MODE = 0o600
"""Who may read a file can hold a lock on it for ever: not everybody who may read the records is to."""

ASKING_PATIENCE, KILLED_PATIENCE = 0.3, 5.0
"""Seconds to wait for a lock that somebody only asks about, and for one whose owner was killed: its children, which
hold it too, die in a moment."""


def lock_store(path: str) -> int:
    """Make the store directory and own it for as long as the returned descriptor, or a child's copy, is open."""
    folder = Path(path)
    try:
        if not folder.is_dir():
            folder.mkdir(DIRECTORY_MODE, parents=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            give_to_readers(descriptor)
            os.close(descriptor)
        lock = ondisk.open_file(folder / "lock", os.O_RDWR | os.O_CREAT, LOCK_MODE)
        keep_to_ourselves(lock)
    except OSError as error:
        raise StoreError(
            f"cannot use {error.filename} as the store: {error.strerror}; give another by --store"
        ) from None
    begin = time.monotonic()
    while not _locked(lock):
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
        patience = ASKING_PATIENCE if Path("/proc", owner or "self").exists() else KILLED_PATIENCE
        if time.monotonic() - begin > patience:
            os.close(lock)
            raise AlreadyRunningError(
                f"another daemon, process {owner or 'unknown'}, owns {path}: stop it first, or give another --store"
            )
        time.sleep(0.02)
    os.ftruncate(lock, 0)  # whose it was
    with contextlib.suppress(OSError):  # a full disk: then who asks is told that somebody owns it, not who
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def keep_to_ourselves(lock: int) -> None:
    """Mend the mode of a lock that an older version made."""
    with contextlib.suppress(OSError):
        os.fchmod(lock, LOCK_MODE)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Aside:
    """Replaces a small file again and again, without waiting for the disk. `writing` is the child that does it now: of
    the program before this one, where that was replaced in place meanwhile."""

    def __init__(self, reaper: Reaper, path: Path, writing: int | None = None) -> None:
        self.writing = writing
        self._reaper = reaper
        self._path = path
        if writing is not None:
            reaper.expect(writing, self._on_end)

    def write(self, content: bytes) -> bool:
        """Begin to replace the file; False when the last time is not done yet."""
        if self.busy:
            return False
        pid = os.fork()
        if not pid:
            _write_and_exit(self._path, content)
        self.writing = pid
        self._reaper.expect(pid, self._on_end)
        return True

    @property
    def busy(self) -> bool:
        """Whether the last time is not done yet."""
        return self.writing is not None

    def _on_end(self, _status: int) -> None:
        self.writing = None


def _write_and_exit(path: Path, content: bytes) -> None:
    """In the child: hold nothing of the keeper's open while the disk may hang."""
    try:
        signal.set_wakeup_fd(-1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        try:
            replace(path, content)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                rewrite(path, content)
    finally:
        os._exit(0)


def rewrite(path: Path, content: bytes) -> None:
    """Write over a text file where it is: the blocks it has are its own, also on a full disk. OSError when it would
    need more. It stays as long as it was, with spaces at its end: were it cut afterwards, whoever reads it in between
    would see the end of what was there before."""
    descriptor = ondisk.open_file(path, os.O_WRONLY)
    try:
        found = os.fstat(descriptor)
        if len(content) > found.st_blocks * 512:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        ondisk.write_all(descriptor, content.ljust(found.st_size))
    finally:
        os.close(descriptor)
