"""Draft that come from no journal into the store: an import's connections, and the stretches of time it knows of.

The same files, digests and chain as a seal's (`store.seal`), committed in one append of kind `import`. Draft of earlier
imports may have to go, since what comes is the same, known better: in the same append a file with the others takes the
place of theirs. The lock is held for that alone; a daemon goes on meanwhile. A crash, a full disk or Ctrl-C anywhere
leaves files that count for nothing, which whoever has the next turn removes. Refuses to fill a disk: the daemon needs
room too.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from anetcon.errors import StoreError
from anetcon.gaps import Gap
from anetcon.identity.tuples import Array
from anetcon.store import layout, lock, manifest, parquet
from anetcon.store.draft import Draft
from anetcon.store.entry import Entry, Read, Why
from anetcon.store.limits import Limits
from anetcon.store.state import State
from anetcon.store.sweep import sweep
from anetcon.store.writer import FileWriter, rows_of_gaps

ROW_BYTES = 64
"""More than a row takes at rest: what must be free before rows are written."""


def add(
    store: Path,
    connections: pa.Table,
    gaps: Sequence[Gap],
    limits: Limits,
    clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    gone: Mapping[str, Array] = MappingProxyType({}),
    sources: Sequence[Read] = (),
) -> set[str]:
    """Commit these closed connections and gaps, without the rows `gone` of some files that an import wrote, and what
    was read for it; the files that have the connections. Raises StoreError: nothing of it is stored."""
    _require_room(store, connections.num_rows, limits)
    try:
        with lock.turn(store, wait=True) as turn:
            if turn is None:  # nobody waits in vain
                raise StoreError(f"somebody else writes the store {store}: try again")
            state = manifest.replay(store)
            sweep(store, state)  # nothing is written over what a manifest that lost its end counted
            turn.begin()
            now = clock()
            try:
                brought, removes = _commit(store, state, now, connections, gaps, gone, sources)
            except (OSError, StoreError, MemoryError):
                sweep(store, manifest.replay(store))  # room for the journal; whatever came to count stays
                turn.end()
                raise
            for file in removes:
                (store / file).unlink(missing_ok=True)
            turn.end()
            return brought
    except MemoryError as error:
        raise StoreError(
            f"too little memory to write the store {store}; what was imported before is whole: make more memory free "
            "and run the import again"
        ) from error
    except OSError as error:
        raise StoreError(
            f"cannot write the store {store}: {error.strerror or error}; what was imported before is whole: put that "
            "right and run the import again"
        ) from error


def _commit(
    store: Path,
    state: State,
    now: int,
    rows: pa.Table,
    gaps: Sequence[Gap],
    gone: Mapping[str, Array],
    sources: Sequence[Read],
) -> tuple[set[str], list[str]]:
    """The files that have the rows, and those that count no more."""
    writer = FileWriter(store, state, now)
    new = Draft.of(rows)
    files = writer.closed(new, new.every())
    brought = {entry.file for entry in files}
    if any(file in state.leaving for file in gone):
        raise StoreError("files of imports were compacted meanwhile; what was imported before is whole: run it again")
    # Or retention was faster. What a seal wrote is nobody's to take away, whoever asks.
    there = [entry for entry in state.connections.of_seals(state.imports) if entry.file in gone]
    files += _kept(writer, {entry.file: parquet.read_whole(store, entry) for entry in there}, gone)
    files += writer.month("gaps", rows_of_gaps(gaps))
    removes = sorted({*state.in_place_of(files), *(entry.file for entry in there)})
    if files or removes or sources:
        writer.sync(files)
        manifest.commit(store, state, Why.IMPORT, now, files, removes, sources=sources)
    return brought, removes


def _kept(writer: FileWriter, tables: Mapping[str, pa.Table], gone: Mapping[str, Array]) -> list[Entry]:
    """Write what is left of these files, one for all of a node and day."""
    left: dict[str, list[pa.Table]] = {}
    for file, table in tables.items():
        rows = np.delete(np.arange(table.num_rows), gone[file])
        if len(rows):
            left.setdefault(layout.kept_file(file, writer.seal), []).append(table.take(pa.array(rows)))
    kept = {name: Draft.of(pa.concat_tables(some)) for name, some in left.items()}
    return [writer.kept(name, rows, rows.every()) for name, rows in kept.items()]


def _require_room(store: Path, rows: int, limits: Limits) -> None:
    found = shutil.disk_usage(store)
    if found.free - rows * ROW_BYTES < limits.floor(found.total):
        raise StoreError(
            f"the disk of {store} has {found.free / 1e9:.2f} GB free: too little beside what is to stay free "
            "(store.min_free_gigabytes); what was imported so far is whole: make room, and run it again"
        )
