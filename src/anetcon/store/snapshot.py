"""What one question is asked of: the manifest replayed once, and the journal as it was a moment later.

Whatever an answer is made of is from here, so its parts fit together. The journal of connections is listed first and
that of gaps last: what explains why a segment ends as it does is on record before the segment behind it begins.

Refuses to wait and to try again: a segment that is gone is FileNotFoundError, and the next snapshot says where its rows
are.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from anetcon.journal.segment import Lost, Segment, torn
from anetcon.journal.write import segments
from anetcon.record import TABLES, arrow_schema
from anetcon.store import layout, manifest

KEPT_ROWS = 200_000
"""As long as the journal has no more rows that are not sealed, they stay in memory: some 40 MB. Of more each part of a
question unpacks them again."""

_ORDER = sorted(TABLES, key=lambda table: (table == "gaps", table != "connections"))


class VanishedError(Exception):
    """A file or segment that the manifest counts on is gone: a newer manifest says where its rows are."""


class Snapshot:
    """One state of a store. Raises StoreError when its manifest is damaged."""

    def __init__(self, store: Path) -> None:
        self.state, self.slower = manifest.opened(store)
        self._store = store
        self._sealed: dict[str, list[int]] = {}
        self._unsealed: dict[str, list[Segment]] = {}
        for table in _ORDER:
            folder, through = layout.journal_folder(store, table), self.state.through.get(table, 0)
            there = segments(folder)
            self._sealed[table] = [number for number in there if number <= through]
            self._unsealed[table] = [Segment(folder, number) for number in there if number > through]
        everything = [segment for these in self._unsealed.values() for segment in these]
        few = sum(line.rows for segment in everything for line in segment.good) <= KEPT_ROWS
        for segment in everything:
            segment.keep = few

    def journal(self, table: str) -> pa.Table:
        """Rows of the journal that are not sealed."""
        these, through = self._unsealed[table], self.state.through.get(table, 0)
        if these and these[0].number != through + 1:
            raise VanishedError(f"segment {through + 1} of {these[0].folder} is gone")
        batches = [flush.batch for segment in these for flush in segment.flushes() if flush.batch is not None]
        return pa.Table.from_batches(batches, arrow_schema(table))

    def waiting(self, table: str) -> tuple[int, int | None]:
        """How many rows of the journal are not sealed, and since when they were written."""
        lines = [line for segment in self._unsealed[table] for line in segment.good if line.rows]
        return sum(line.rows for line in lines), min((line.start for line in lines), default=None)

    def flushed(self) -> int | None:
        """Until which microsecond connections can be read back; None if none can: of `journal.read.last_flush`."""
        folder = layout.journal_folder(self._store, "connections")
        for segment in reversed(self._unsealed["connections"]):
            if segment.good:
                return segment.good[-1].end
        for number in reversed(self._sealed["connections"]):
            if (covered := Segment(folder, number).covered) is not None:
                return covered[1]
        return None

    def damaged(self) -> list[Lost]:
        """What cannot be read back of the journal that is not sealed yet; of what is, the gaps tell."""
        found = [segment.lost() for table in TABLES for segment in self._unsealed[table]]
        return [lost for lost in found if lost is not None]

    def torn(self) -> list[Lost]:
        """What may be missing where a segment that is not sealed yet was not closed: a crash says so in a gap."""
        return list(torn(self._unsealed["connections"]).values())
