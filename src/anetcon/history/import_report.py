"""What an import found, of each file and in all; and where it writes what it could not read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from anetcon.errors import StoreError
from anetcon.store import layout
from anetcon.store.entry import rfc3339
from anetcon.system.printable import visible

COUNTED = ("lines", "repeated", "events", "added", "completed", "already", "unreadable", "others", "too_old")


@dataclass
class Counts:
    """Lines of a file, or of all: `added` connections, those `completed` that the store knew less of, those `already`
    in it, `unreadable` lines, those of `others`,
    connections `too_old` to be kept. `repeated`: connections that lines said happened again; `events`: lines of
    conntrack, of which a connection has several. Without those, every line is in one of the others, repeated or not.
    `back`: how often months go back by less than makes a new year. `bytes` and `sha256` are of the file as it
    is on disk.
    """

    name: str
    lines: int = 0
    repeated: int = 0
    events: int = 0
    added: int = 0
    completed: int = 0
    already: int = 0
    unreadable: int = 0
    others: int = 0
    too_old: int = 0
    first: int | None = None
    last: int | None = None
    zoneless: int = 0
    folded: int = 0
    back: int = 0
    years: str = ""
    bytes: int = 0
    sha256: str = ""
    damage: str = ""

    def between(self, first: int, last: int) -> None:
        """It has rows of these times."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    @property
    def found(self) -> int:
        """Lines that were read as ours, and what they say was repeated."""
        return self.added + self.completed + self.already + self.too_old + self.events

    def plain(self) -> dict[str, Any]:
        """As it is in JSON."""
        return {
            "file": self.name,
            **{name: getattr(self, name) for name in COUNTED},
            "from": None if self.first is None else rfc3339(self.first),
            "to": None if self.last is None else rfc3339(self.last),
            "year": self.years or None,
            "without_zone": self.zoneless,
            "twice_an_hour": self.folded,
            "months_back": self.back,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "damage": self.damage or None,
        }


@dataclass
class Report:
    """What an import found."""

    files: list[Counts] = field(default_factory=list)
    strangers: dict[str, int] = field(default_factory=dict)
    """Lines by namespace that no file of hashes names."""
    untimed: int = 0
    """Events of conntrack that are no connection, since they tell no time."""
    rejects: Path | None = None
    seconds: float = 0.0

    def total(self) -> Counts:
        """All files together."""
        total = Counts("total")
        for counts in self.files:
            for name in (*COUNTED, "zoneless", "folded", "back"):
                setattr(total, name, getattr(total, name) + getattr(counts, name))
            if counts.first is not None and counts.last is not None:
                total.between(counts.first, counts.last)
        return total


class Rejects:
    """The file of unreadable lines, each behind its file and number; made when there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def write(self, name: str, number: int, line: bytes) -> None:
        """Put a line aside. Raises StoreError."""
        with self._said():
            if self._file is None:
                layout.make_folder(self.path.parent)
                new = not self.path.exists()
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, layout.FILE_MODE)
                self._file = os.fdopen(descriptor, "ab", buffering=0)
                if new:
                    layout.give_to_group(self.path)
            self._file.write(f"{visible(name)}:{number}: ".encode() + line.rstrip(b"\n") + b"\n")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror}; what was imported so far is whole: name another file by "
                "--rejects, and run it again"
            ) from error

    @property
    def used(self) -> bool:
        """Whether there is one."""
        return self._file is not None

    def close(self) -> None:
        """All is written."""
        if self._file is not None:
            self._file.close()
