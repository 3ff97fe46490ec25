"""How far a follower is, on disk: `followers/<name>.json`, replaced whole.

`segment` and `line` are the place in the journal up to which everything is out. `files` is how far the sink was at that
moment: of a file its inode and size. What is behind was written but not yet said to be, and is cut off before going on.
`keep` is the oldest segment the follower still needs (the sealer drops older ones; how many it keeps has a limit:
anetcon.store.followers). `until` is the time (microseconds) up to which the journal was read, `missed` the last
stretches (from, to) that were given up before they could be.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

from anetcon.journal.read import BEGINNING, Position
from anetcon.store import layout
from anetcon.system import ondisk

Places = dict[str, tuple[int, int]]
"""How far a sink is: of each of its files the inode and the size."""


@dataclass
class Saved:
    """What is on disk."""

    segment: int = BEGINNING.segment
    line: int = BEGINNING.line
    keep: int = 0
    files: Places = field(default_factory=dict)
    until: int | None = None
    missed: list[tuple[int | None, int]] = field(default_factory=list)

    @property
    def position(self) -> Position:
        """The place in the journal."""
        return Position(self.segment, self.line)


def load(path: Path) -> Saved | None:
    """What `save` wrote; None when there is none or it cannot be understood."""
    try:
        saved = json.loads(path.read_bytes())
        files = {str(name): (int(inode), int(size)) for name, (inode, size) in saved["files"].items()}
        until = saved.get("until")
        missed = [(begin if begin is None else int(begin), int(end)) for begin, end in saved.get("missed", ())]
        place = int(saved["segment"]), int(saved["line"]), int(saved["keep"])
        return Saved(*place, files, None if until is None else int(until), missed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(path: Path, saved: Saved) -> None:
    """Write aside and rename. Raises OSError."""
    layout.make_folder(path.parent)
    ondisk.replace(path, json.dumps(asdict(saved)).encode())


def forget(store: Path, wanted: Collection[str]) -> None:
    """Of followers that are not wanted any more, no segment is kept: whoever configures one again begins with what is
    there. Raises OSError."""
    for path in layout.follower_path(store, "any").parent.glob("*.json"):
        if path.stem not in wanted:
            for each in (path, tracker_path(path), failed_path(path)):
                each.unlink(missing_ok=True)


def tracker_path(path: Path) -> Path:
    """Where what a follower knows of connections is, beside its position."""
    return path.with_suffix(".tracker")


def failed_path(path: Path) -> Path:
    """Where it stands why a follower does not work now, beside its position."""
    return path.with_suffix(".failed")
