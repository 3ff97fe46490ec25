"""Which network namespaces are there: at once by inotify, and by a full listing now and then as a safety net.

The kernel is odd here:
- `ip netns add` creates the file, then mounts the namespace on it: CREATE comes first, the mount makes no event.
- The folder itself may come later, or be replaced; a bind mount of the folder on itself keeps its inode.
- A name can come back as another namespace: only its inode tells.
A namespace's file is told by its device: every namespace is on the one nsfs of the kernel.

Refuses to open or enter anything: one stat() a name. Who selects names and what follows is the caller's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from anetcon.errors import AnetconError
from anetcon.system import syscalls as sc
from anetcon.system.clock import now_us

LONGEST_PAUSE = 0.025
PATIENCE = 1.0
"""Seconds during which a new file may still become a namespace, and the longest pause between two looks."""

READABLE = "the daemon has to be able to read it; for a folder of root's its service needs CAP_DAC_READ_SEARCH"
UNSEEN = 2_000_000
"""Microseconds that a notification waits at most before it is read, as a rule much less."""

_EVENT = struct.Struct("=iIII")
_IN_FOLDER = sc.IN_CREATE | sc.IN_MOVED_TO | sc.IN_DELETE | sc.IN_MOVED_FROM | sc.IN_DELETE_SELF | sc.IN_MOVE_SELF
_IN_ANCESTOR = sc.IN_CREATE | sc.IN_MOVED_TO | sc.IN_DELETE_SELF | sc.IN_MOVE_SELF
_FOLDER_LOST = sc.IN_DELETE_SELF | sc.IN_MOVE_SELF | sc.IN_IGNORED


def events_of(data: bytes) -> Iterator[tuple[int, int, str]]:
    """(watch, mask, name) of each inotify event in what was read; a torn tail ends it."""
    position = 0
    while position + _EVENT.size <= len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, position)
        position += _EVENT.size
        yield watch, mask, os.fsdecode(data[position : position + length].split(b"\0", 1)[0])
        position += length


class Seen(NamedTuple):
    """A namespace, and when it was noticed (us). `newborn`: it appeared while we watched."""

    inode: int
    newborn: bool
    noticed: int


class _Candidate:
    """A new file that is no namespace yet."""

    __slots__ = ("deadline", "next", "noticed", "pause")

    def __init__(self, now: float) -> None:
        self.noticed = now_us()
        self.pause = 0.001
        self.next = now + self.pause
        self.deadline = now + PATIENCE

    def looked(self, now: float) -> bool:
        """Plan the next look; False when patience is over."""
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        self.next = now + self.pause
        return now < self.deadline


class Namespaces:
    """The selected names under one folder that are network namespaces now: `present`, by name."""

    def __init__(self, folder: str, selects: Callable[[str], bool]) -> None:
        self.present: dict[str, Seen] = {}
        self.never_became: list[str] = []
        """Files that stayed plain files."""
        self.missed: list[tuple[str, int]] = []
        """Names that came and went without having been a namespace at any look, and since when that may have been
        (us)."""
        self._changed: set[str] = set()
        self._looked = now_us()
        self._folder = Path(folder)
        self._selects = selects
        self._candidates: dict[str, _Candidate] = {}
        self._device = Path("/proc/self/ns/net").stat().st_dev
        try:
            self._inotify = sc.inotify_init()
        except OSError as error:
            message = f"cannot watch {folder}: {error.strerror}; raise the sysctl fs.inotify.max_user_instances"
            raise AnetconError(message) from None
        self._watch = -1
        self._watched: tuple[int, int] | None = None
        """Device and inode of the folder when it is the folder that is watched, None when an ancestor is."""
        self._awaited = ""
        """What has to appear in the ancestor."""
        self._failure = ""
        self._place_watch()
        if self._watch < 0:
            raise AnetconError(f"cannot watch {folder}: {self._failure}; {READABLE}")

    def fileno(self) -> int:
        """For poll: readable when `on_events` has something to read."""
        return self._inotify

    def close(self) -> None:
        """End all watching."""
        os.close(self._inotify)

    def select(self, selects: Callable[[str], bool]) -> None:
        """Use another selection from the next listing on."""
        self._selects = selects

    def changes(self) -> set[str]:
        """Names of which `present` says something else than it said the last time."""
        changed, self._changed = self._changed, set()
        return changed

    def news(self) -> tuple[list[str], list[tuple[str, int]]]:
        """What never became one, and what was missed since the last time."""
        news = self.never_became, self.missed
        self.never_became, self.missed = [], []
        return news

    def scan(self, newborn: bool = False) -> None:
        """Look at every name in the folder; watch anew when the folder is another one than before."""
        if self._watched != self._identity():
            self._place_watch()
        try:
            names = {name for name in os.listdir(self._folder) if self._selects(name)}  # noqa: PTH208  (twice as fast)
        except (FileNotFoundError, NotADirectoryError):
            names = set()
        for name in names | self.present.keys():
            if newborn:
                self._look_first(name)
            else:
                self._look(name, newborn)

    def on_events(self) -> None:
        """Read what inotify has, and look at each name it speaks of."""
        names: dict[str, int] = {}
        moved = rescan = False
        for watch, mask, name in self._read():
            if mask & sc.IN_Q_OVERFLOW:
                rescan = True
            elif watch == self._watch:
                moved |= bool(mask & _FOLDER_LOST) or (self._watched is None and name == self._awaited)
                names[name] = names.get(name, 0) + bool(mask & (sc.IN_CREATE | sc.IN_MOVED_TO))
        if moved:
            self._place_watch()
        if moved or rescan:
            self.scan(newborn=True)
        elif self._watched is not None:
            for name in filter(self._selects, names):
                waiting = self._candidates.get(name)
                self._look_first(name)
                there = name in self.present or name in self._candidates
                if waiting is not None and not there:
                    self.missed.append((name, waiting.noticed))
                elif names[name] > there:
                    self.missed.append((name, max(self._looked, now_us() - UNSEEN)))
        self._looked = now_us()

    def pause(self) -> float | None:
        """Seconds until `look_again` is due, None when nothing waits."""
        if not self._candidates:
            return None
        return max(0.0, min(candidate.next for candidate in self._candidates.values()) - time.monotonic())

    def look_again(self) -> None:
        """Look once more at the new files that were no namespace yet."""
        now = time.monotonic()
        for name, candidate in list(self._candidates.items()):
            if candidate.next > now:
                continue
            if self._look(name, True):
                if name not in self.present:
                    self.missed.append((name, candidate.noticed))
                continue
            if not candidate.looked(now):
                del self._candidates[name]
                self.never_became.append(name)

    def _look_first(self, name: str) -> None:
        """Look at a name that just appeared."""
        if not self._look(name, newborn=True):
            self._candidates.setdefault(name, _Candidate(time.monotonic()))

    def _look(self, name: str, newborn: bool) -> bool:
        """Bring `present` up to date for one name; False for a file that may still become a namespace."""
        try:
            status = os.stat(f"{self._folder}/{name}")  # noqa: PTH116  (twice as fast, for every name at each listing)
        except OSError:
            status = None
        if status is None or status.st_dev != self._device or not self._selects(name):
            if self.present.pop(name, None) is not None:
                self._changed.add(name)
            if status is None:
                self._candidates.pop(name, None)
            return status is None
        self._candidates.pop(name, None)
        if name not in self.present or self.present[name].inode != status.st_ino:
            self.present[name] = Seen(status.st_ino, newborn, now_us())
            self._changed.add(name)
        return True

    def _read(self) -> Iterator[tuple[int, int, str]]:
        while True:
            try:
                data = os.read(self._inotify, 65536)
            except BlockingIOError:
                return
            yield from events_of(data)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._folder.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _place_watch(self) -> None:
        """Watch the folder, or the nearest ancestor that exists until the folder does.

        Where that is refused nothing is watched, and every listing tries again.
        """
        while True:
            self._end_watch()
            place, below = self._folder, ""
            while not self._add_watch(place, _IN_FOLDER if not below else _IN_ANCESTOR):
                place, below = place.parent, place.name
            self._awaited = below
            if self._watch < 0:
                return
            if not below:
                self._watched = self._identity()
            if not below or not (place / below).is_dir():  # else it appeared a moment before the watch
                return

    def _add_watch(self, place: Path, mask: int) -> bool:
        """False when there is no such folder."""
        try:
            self._watch = sc.inotify_add_watch(self._inotify, str(place), mask | sc.IN_ONLYDIR)
        except OSError as error:
            self._failure = error.strerror or ""
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)
        return True

    def _end_watch(self) -> None:
        if self._watch >= 0:
            with contextlib.suppress(OSError):  # the kernel ended it already when its folder is gone
                sc.inotify_remove_watch(self._inotify, self._watch)
        self._watch, self._watched = -1, None
