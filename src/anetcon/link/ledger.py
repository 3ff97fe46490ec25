"""rules.jsonl: in which namespaces there may be LOG rules of ours, so that none is left behind, not even by a crash.

A line is written before the rules are, and goes when they are gone for certain. Lines of an earlier boot, and of
namespaces that are no more, are forgotten. Refuses to raise when the disk does not take a line: the rules matter more.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from anetcon.rules.work import Left
from anetcon.system import ondisk, readers
from anetcon.system.report import WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMPACT_LINES = 1000


class Place:
    """A namespace: where it is entered (None: the daemon's own), and whatever of ours may be in it."""

    def __init__(self, netns: str, path: str | None, inode: int, rules: list[Left]) -> None:
        self.netns = netns
        self.path = None if path is None else Path(path)
        self.inode = inode
        self.rules = rules

    def is_there(self, home: int) -> bool:
        """Whether it is still the same namespace; `home` is the inode of the daemon's own."""
        try:
            return (home if self.path is None else self.path.stat().st_ino) == self.inode
        except OSError:
            return False


class Leftovers:
    """Every such place, by inode."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self.places: dict[int, Place] = {}
        self._path = path
        self._report = report
        self._told = False
        self._lines = 0
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        with contextlib.suppress(OSError):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a torn line, after a power cut
                    self._take(json.loads(line))

    def add(self, netns: str, path: Path | None, inode: int, rules: Left) -> list[Left]:
        """Rules are about to be written there; what else of ours may be there."""
        place = self.places.setdefault(inode, Place(netns, None, inode, []))
        known = rules in place.rules and place.path == path
        place.netns, place.path = netns, path
        if not known:
            place.rules = [*(each for each in place.rules if each != rules), rules]
            self._append(place)
        return [each for each in place.rules if each != rules]

    def only(self, inode: int, rules: Left | None) -> None:
        """Nothing of ours but these is there any more; None: nothing at all."""
        place = self.places.get(inode)
        if place is None or place.rules == [rules]:
            return
        place.rules = [] if rules is None else [rules]
        if rules is None:
            del self.places[inode]
        self._append(place)

    def _take(self, line: dict[str, Any]) -> None:
        if line["boot_id"] == self._boot:
            rules = [(str(engine), str(chain)) for engine, chain in line["rules"]]
            place = Place(line["netns"], line["path"], line["inode"], rules)
            self.places.pop(place.inode, None)
            if rules:
                self.places[place.inode] = place
        self._lines += 1

    def _append(self, place: Place) -> None:
        try:
            if self._lines > COMPACT_LINES + 2 * len(self.places):
                readers.replace(self._path, b"".join(map(self._line, self.places.values())))
                self._lines = len(self.places)
                return
            descriptor = ondisk.open_file(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                readers.give_to_readers(descriptor)
                os.write(descriptor, self._line(place))
            finally:
                os.close(descriptor)
            self._lines += 1
        except OSError as error:
            if not self._told:
                self._report(
                    f"{WARNING}cannot write {self._path}: {error.strerror}; after a crash our rules would stay behind"
                )
            self._told = True

    def _line(self, place: Place) -> bytes:
        path = None if place.path is None else str(place.path)
        kept = {"netns": place.netns, "path": path, "inode": place.inode, "boot_id": self._boot, "rules": place.rules}
        return json.dumps(kept).encode() + b"\n"


def saved_sysctls(path: Path, boot: str) -> list[dict[str, Any]]:
    """What was saved since this boot: netns, inode, found (by name). FileNotFoundError when nothing ever was."""
    known = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a torn line, after a power cut
            saved = json.loads(line)
            if saved["boot_id"] == boot and isinstance(saved["found"], dict):
                known.append({key: saved[key] for key in ("netns", "inode", "boot_id", "found")})
    return known
