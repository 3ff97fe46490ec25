"""The file that lists namespaces, as they are recorded, with what stands for them in the lines: sorted, each once.

`HashFile` is the file; `Hashes` keeps it where somebody else writes the text logs, reading the journal's namespaces and
nothing else. It saves no position: it begins with what the journal has, and has its turn before the sealer.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anetcon.follow import rsyslog_handover
from anetcon.follow.settings import Settings
from anetcon.journal.read import BEGINNING, read_segment
from anetcon.journal.write import segment_path, segments
from anetcon.link.settings import DEFAULT
from anetcon.store import layout
from anetcon.system import ondisk
from anetcon.system.printable import namespace_hash


class HashFile:
    """The list; None keeps none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._listed: set[str] = set()

    def add(self, namespaces: Iterable[str]) -> None:
        """See that these are listed. Raises OSError."""
        names = set(namespaces) - self._listed
        path = self._path
        if path is None or not names:
            return
        known = set(path.read_text(errors="surrogateescape").split("\n")[:-1]) if path.exists() else set()
        wanted = known | {f"{name} [{namespace_hash(name)}]" for name in names if name != DEFAULT}
        if wanted != known:
            group = layout.group()
            content = "".join(f"{line}\n" for line in sorted(wanted)).encode(errors="surrogateescape")
            ondisk.replace(path, content, group=-1 if group is None else group)
        self._listed |= names


class Hashes:
    """Follows the journal for the names in it. Raises OSError: make a new one then."""

    def __init__(self, settings: Settings) -> None:
        rsyslog_handover.leave_to_others(settings.store)
        self._file = HashFile(settings.hash_file)
        self._journal = layout.journal_folder(settings.store, "connections")
        self._position = BEGINNING
        self._seen = (0, -1)

    def step(self) -> bool:
        """List what is new."""
        numbers = segments(self._journal)
        if not numbers:
            return False
        last = segment_path(self._journal, numbers[-1], "index")
        now = (numbers[-1], last.stat().st_size)
        if now == self._seen:
            return False
        for number in numbers:
            if number < self._position.segment:
                continue
            line = self._position.line if number == self._position.segment else 0
            for flush in read_segment(self._journal, number, line, ("netns",)):
                if flush.batch is not None:
                    self._file.add(flush.batch["netns"].dictionary.to_pylist())
                self._position = flush.after
        self._seen = now
        return False

    def reopen(self) -> None:
        """The file is never kept open."""

    def stop(self) -> None:
        """Nothing is saved."""

    def close(self) -> None:
        """Nothing is open."""
