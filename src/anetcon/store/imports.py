"""Rows that come from no journal into the store: an import's connections, and the stretches of time it knows of.

The same files, digests and chain as a seal's (`store.seal`), committed in one append of kind `import`. Rows of earlier
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
from typing import Any

import numpy as np
import pyarrow as pa

from anetcon.errors import StoreError
from anetcon.gaps import Gap
from anetcon.identity.tuples import Array, addresses, columns_of, numbers
from anetcon.store import layout, lock, manifest
from anetcon.store.limits import Limits
from anetcon.store.seal import Sealer, rows_of_gaps, sweep

ROW_BYTES = 64
"""More than a row takes at rest: what must be free before rows are written."""


def add(
    store: Path,
    connections: pa.Table,
    gaps: Sequence[Gap],
    limits: Limits,
    clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    gone: Mapping[str, Array] = MappingProxyType({}),
    sources: Sequence[manifest.Read] = (),
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
            before = _counted(state)
            try:
                brought = _commit(Sealer(store, clock), state, connections, gaps, clock(), gone, sources)
            except (OSError, StoreError, MemoryError):
                sweep(store, manifest.replay(store))  # room for the journal; whatever came to count stays
                turn.end()
                raise
            for file in before - _counted(state):
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


def _counted(state: manifest.State) -> set[str]:
    return {entry.file for entry in (*state.snapshots.values(), *state.connections)}


def _commit(
    sealer: Sealer,
    state: manifest.State,
    rows: pa.Table,
    gaps: Sequence[Gap],
    now: int,
    gone: Mapping[str, Array],
    sources: Sequence[manifest.Read],
) -> set[str]:
    seal = state.seal + 1
    files = sealer.put_ended(seal, *_columns(rows)) if rows.num_rows else []
    brought = {file["file"] for file in files}
    # Or retention was faster. What a seal wrote is nobody's to take away, whoever asks.
    there = {e.file: e for e in state.connections if e.file in gone and e.seal in state.imports}
    files += _kept(sealer, seal, {file: sealer.read(entry) for file, entry in there.items()}, gone)
    if gaps:
        files += sealer.put_month(state, "gaps", rows_of_gaps(gaps))
    if files or sources:
        sealer.sync_folders(files)
        manifest.append(sealer.store, state, files, state.through, now, "import", sorted(there), sources)
    return brought


def _kept(sealer: Sealer, seal: int, tables: Mapping[str, pa.Table], gone: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Write what is left of these files, one for all of a node and day."""
    left: dict[str, list[pa.Table]] = {}
    for file, table in tables.items():
        rows = np.delete(np.arange(table.num_rows), gone[file])
        if len(rows):
            left.setdefault(layout.kept_file(file, seal), []).append(table.take(pa.array(rows)))
    return [sealer.put(name, *_columns(pa.concat_tables(some))) for name, some in left.items()]


def _columns(rows: pa.Table) -> tuple[pa.Table, Array, list[Array], tuple[Array, Array]]:
    """What a Sealer is given of rows: in one piece, all of them, their addresses as words, their starts and ends."""
    rows = rows.unify_dictionaries().combine_chunks()
    words = [addresses(rows[name]).view(np.uint64) for name in ("src_ip", "dst_ip")]
    return rows, np.arange(rows.num_rows), words, (numbers(rows["start"]), columns_of(rows)["end"])


def _require_room(store: Path, rows: int, limits: Limits) -> None:
    found = shutil.disk_usage(store)
    if found.free - rows * ROW_BYTES < limits.floor(found.total):
        raise StoreError(
            f"the disk of {store} has {found.free / 1e9:.2f} GB free: too little beside what is to stay free "
            "(store.min_free_gigabytes); what was imported so far is whole: make room, and run it again"
        )
