"""How long it takes to open a store that has a year of seals, one every ten minutes: what every question waits for.

Its manifest is as the sealer writes it, with two files of connections a seal; the files themselves are not there, since
opening a store reads none of them. The last state was saved as many seals ago as it can be.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anetcon.journal.write import Writer
from anetcon.store import layout, manifest
from anetcon.store.entry import Entry, Why, rfc3339
from anetcon.store.reader import Store
from anetcon.store.seal import SAVED_SEALS
from anetcon.store.state import State
from bench.make_store import LAST, NODE
from bench.realistic import SECOND
from bench.report import Report

SEALS = 365 * 144
STEP = 600 * SECOND
TIMES = 15
LIMIT = 50.0
"""Milliseconds."""


def opening(report: Report) -> None:
    """From the saved state, and without it."""
    with tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        store = Path(name)
        state = _make(store)
        row = {
            "seals": state.seal,
            "files": len(state.connections) + len(state.snapshots),
            "manifest MB": layout.manifest_path(store).stat().st_size / 1e6,
            "state MB": layout.state_path(store).stat().st_size / 1e6,
            "seals since": state.seal - state.saved,
        }
        asked: dict[str, Callable[[], object]] = {
            "manifest": lambda: manifest.opened(store),
            "store": lambda: Store(store).snapshot(),
        }
        rows: list[dict[str, Any]] = [{"opened": what, **row, **_took(ask)} for what, ask in asked.items()]
        rows.append({"opened": "manifest, all of it", **row, **_took(lambda: manifest.replay(store), 3)})
    report.table("opening", rows)
    took = rows[1]["least ms"]
    report.promise(took <= LIMIT, f"opening: {took:.0f} ms for a year of ten-minute seals, at most {LIMIT:.0f}")


def _make(store: Path) -> State:
    state = State()
    for number in range(1, SEALS + 1):
        files = _files(number)
        removes = state.in_place_of(files)
        manifest.commit(store, state, Why.SEAL, _time(number), files, removes, through={"connections": 1})
        if SEALS - number == SAVED_SEALS - 1:
            manifest.save(store, state)
    with Writer(layout.journal_folder(store, "connections"), "connections") as writer:
        writer.rotate()
        writer.heartbeat(LAST, LAST)
    return state


def _time(number: int) -> int:
    return LAST - (SEALS - number) * STEP


def _files(number: int) -> list[Entry]:
    """What a seal says of its files: connections and those that lasted long, open ones, and with each day new parts."""
    day = layout.day_of(_time(number))
    begin, end = rfc3339(_time(number - 1)), rfc3339(_time(number))

    def entry(file: str, **times: Any) -> Entry:
        known: dict[str, Any] = {"sha256": os.urandom(32).hex(), "bytes": 10_000, "rows": 190, "start": begin}
        return Entry(prev="", kind=layout.kind_of_file(file), seal=number, file=file, **known, **times)

    files = [entry(layout.connections_file(NODE, day, number, long), end=end) for long in (False, True)]
    files.append(entry(layout.open_file(number)))
    if number % 144 == 1:
        files += [entry(layout.part_file(table, day, 1, number), latest=end) for table in layout.CUT_SHORT]
    return files


def _took(ask: Callable[[], object], times: int = TIMES) -> dict[str, float]:
    """The least is what it costs where nobody else has the processors."""
    took, used = [], []
    for _ in range(times):
        began, before = time.perf_counter(), time.process_time()
        ask()
        took.append(1000 * (time.perf_counter() - began))
        used.append(1000 * (time.process_time() - before))
    return {"least ms": min(took), "median ms": statistics.median(took), "cpu ms, median": statistics.median(used)}
