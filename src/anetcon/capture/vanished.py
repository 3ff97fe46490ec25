"""Namespaces that went away while nobody listened: what was open in them ended, and no table is left to tell.

Which ones are listened to is kept in a small file beside the journal. A capture that begins looks for those that the
one before it left there; of one that is no more (its name is gone, or stands for another namespace, as after a reboot)
it writes a row of the table `listings`, true without listing anything: whatever was open there is not in any table.

Refuses to fail for the file: without it such connections seem to last, which errs on the safe side.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from anetcon.system import ondisk

Key = tuple[str, int]
"""Name and inode."""


class Vanished:
    """What is listened to now, and what was when this capture began."""

    def __init__(self, file: Path, where: Callable[[str], Path]) -> None:
        self._file = file
        self._where = where
        self._here: set[Key] = set()
        self._saved: set[Key] = set()
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._saved = {(str(netns), int(inode)) for netns, inode in json.loads(file.read_bytes())}
        self._before = set(self._saved)

    def find(self) -> list[Key]:
        """Those of the capture before this one that are no more; the others are kept in mind."""
        gone = sorted(key for key in self._before if not self._exists(*key))
        self._here |= self._before.difference(gone)
        return gone

    def is_here(self, netns: str, inode: int) -> bool:
        """Whether it is listened to, or was until it was deselected."""
        return (netns, inode) in self._here

    def begin(self, netns: str, inode: int) -> None:
        """It is listened to."""
        self._here.add((netns, inode))

    def end(self, netns: str, inode: int) -> None:
        """It is going, and somebody is there to see to its table."""
        self._here.discard((netns, inode))

    def before_flush(self) -> None:
        """Write down what begins before the journal tells of it."""
        self._save(self._saved | self._here)

    def after_flush(self) -> None:
        """Forget what is gone once the journal has told so."""
        self._save(set(self._here))

    def _exists(self, netns: str, inode: int) -> bool:
        try:
            return self._where(netns).stat().st_ino == inode
        except OSError:
            return False

    def _save(self, keys: set[Key]) -> None:
        if keys == self._saved:
            return
        with contextlib.suppress(OSError):
            ondisk.replace(self._file, json.dumps(sorted(keys)).encode())
            self._saved = keys
