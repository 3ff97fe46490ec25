"""What a crash left in a store is removed: files that no commit counts, and what questions spilled. So is what
compaction replaced, an hour later: a question that began before may still open it.

Refuses where the store has more than its manifest can explain: then the manifest lost its end.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from anetcon.errors import StoreError
from anetcon.journal.write import segments
from anetcon.record import TABLES
from anetcon.store import layout, spill
from anetcon.store.state import GRACE, State

_NAMED = re.compile(rb'"file":"([^"]+)"')


def sweep(store: Path, state: State) -> None:
    """Remove what a crash left. Raises StoreError when the store has more than its manifest can explain."""
    counted, left, doubtful = state.files(), list[Path](), dict[str, Path]()
    counted |= _leaving(state, time.time_ns() // 1000 - GRACE)
    for path in layout.files_of(store):
        number = layout.seal_of_file(path.name)
        if number is None:
            continue
        name = str(path.relative_to(store))
        if number > state.seal:
            _explain(store, state, path, number)
            left.append(path)
        elif path.suffix == ".new":
            left.append(path)
        elif name not in counted:
            doubtful[name] = path
    left += [doubtful[name] for name in sorted(_once_counted(store, doubtful))]
    for path in left:
        path.unlink(missing_ok=True)
    spill.sweep(store)
    for table in TABLES:
        folder = layout.journal_folder(store, table)
        oldest = min(segments(folder), default=0)
        for path in folder.glob("*.arrows"):
            if path.stem.isdigit() and int(path.stem) < oldest:
                path.unlink(missing_ok=True)


def make_room(store: Path, state: State) -> None:
    """Remove at once what compaction replaced."""
    for file in _leaving(state, 0):
        (store / file).unlink(missing_ok=True)


def _leaving(state: State, since: int) -> set[str]:
    """What compaction replaced since a time."""
    return {file for file, replaced in state.leaving.items() if replaced > since}


def _once_counted(store: Path, files: dict[str, Path]) -> set[str]:
    """Which of these files the manifest names: a commit removed them. Nobody's else are touched."""
    if not files:
        return set()
    named = {name.decode() for name in _NAMED.findall(layout.manifest_path(store).read_bytes())}
    return {name for name in files if name in named}


def _explain(store: Path, state: State, path: Path, number: int) -> None:
    """Raise StoreError unless a file that no commit counts is one that can be made again."""
    journal = segments(layout.journal_folder(store, "connections"))
    if number > state.seal + 1 or (journal and journal[0] > state.through.get("connections", 0) + 1):
        raise StoreError(
            f"{path} is of seal {number}, but {layout.manifest_path(store)} ends at seal {state.seal}; "
            "restore the manifest from a backup, nothing is sealed until then"
        )
