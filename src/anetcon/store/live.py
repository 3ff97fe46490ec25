"""The journal as it grows: each connection when it becomes known, and when it ends. Needs no daemon, only read access.

Begins now: what the store knows to be open and what the journal holds already is taken in first, so that the end of an
older connection is told from a connection first known by its end. Refuses to wait: the caller polls.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from anetcon.identity import Tracker, Verdict
from anetcon.journal.read import Position, read
from anetcon.store import layout, sql
from anetcon.store.reader import Store


class Live:
    """What is new in the journal of a store since this was made: rows that `condition` holds for."""

    def __init__(self, store: Store, condition: str = sql.EVERYTHING, ends: bool = False) -> None:
        self._store = store
        self._folder = layout.journal_folder(store.path, "connections")
        self._condition = condition
        self._shown = [Verdict.FIRST, Verdict.END] if ends else [Verdict.FIRST]
        self._tracker = Tracker()
        known, sealed = store.open_at_seal()
        self._tracker.update(known)
        self._at = Position(sealed + 1, 0)
        for _ in self._judged():
            pass

    def poll(self) -> Iterator[pa.Table]:
        """The rows that are new since the last time, a table a flush."""
        for batch in self._judged():
            rows = self._store.select(batch, self._condition)
            if len(rows):
                yield rows

    def _judged(self) -> Iterator[pa.RecordBatch]:
        for flush in read(self._folder, self._at):
            self._at = flush.after
            if flush.batch is not None:
                verdicts = pa.array(self._tracker.update(flush.batch))
                yield flush.batch.filter(pa.compute.is_in(verdicts, pa.array(self._shown, pa.int8())))
