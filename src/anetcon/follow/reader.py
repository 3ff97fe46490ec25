"""The journal for a sink, whatever that is: from where it was, each row once, with what it is to its connection.

Exactly once, over crashes of this process: a sink takes rows, then the position is saved with how far the sink is
(anetcon.follow.position); whoever goes on has the sink take back what is behind. What is known of the connections (the
tracker) is saved at the end of a segment, every KEEP_EVERY seconds at most, and made again from there. Anything that
fails raises, and the object is done: a new one goes on from what is saved. A power cut can cost what the disk had not
yet written.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from anetcon.follow import position
from anetcon.follow.log import ERROR, log
from anetcon.follow.position import Places
from anetcon.identity import Tracker
from anetcon.identity.tuples import IDENTITY, Array, one_piece
from anetcon.journal.read import is_closed, read_segment
from anetcon.journal.write import segment_path, segments
from anetcon.store import layout, manifest, parquet
from anetcon.store.entry import rfc3339

STEP_ROWS = 200_000
"""Rows after which a step ends, so that neither sinks nor a stop wait for long."""

SAVE_EVERY = 2.0
"""Seconds between two savings of the position: renaming over a file costs as much as thousands of lines."""

KEEP_EVERY = 10.0
"""Seconds between two savings of the tracker, which is megabytes after a flood: in one a segment is over every three.
The segments since the last are kept meanwhile."""

MISSED = 100
"""Stretches missed that are remembered."""

PIECE_ROWS = 50_000
"""Flushes smaller than this are put together."""


class Sink(Protocol):
    """Where rows go. Every method but `close` may raise OSError."""

    columns: Collection[str]
    """What it needs of a row, beside what tells connections apart."""

    def open(self, saved: Places) -> None:
        """Begin, and take back what was taken behind `saved`; empty: nothing."""

    def ready(self) -> bool:
        """Whether it can take anything now."""

    def take(self, rows: pa.RecordBatch, verdicts: Array) -> int:
        """Write these rows, with the Verdict of each; how many lines that were."""

    def where(self) -> Places:
        """How far it is."""

    def sync(self) -> None:
        """Have the disk keep what was taken."""

    def close(self) -> None:
        """Let go of everything. What was taken is there already."""


class JournalReader:
    """Follows the journal from the saved position. Raises OSError or StoreError: make a new one then."""

    def __init__(self, store: Path, name: str, sink: Sink, title: str) -> None:
        self.lines_written = 0
        self._store, self._sink, self._title = store, sink, title
        self._path = layout.follower_path(store, name)
        self._journal = layout.journal_folder(store, "connections")
        self._columns = {*IDENTITY, *sink.columns}
        self._seen = -1
        self._unsaved = False
        self._saved_at = 0.0
        self._unkept = False
        self._kept_at = -KEEP_EVERY
        saved = position.load(self._path)
        self._saved = saved or position.Saved()
        if saved is None:
            position.save(self._path, self._saved)  # before anything can fail: the sealer keeps all from here on
        if max(segments(self._journal), default=self._saved.segment) < self._saved.segment:
            self._saved.segment = self._saved.line = 0  # somebody removed the journal, and it was begun again at 1
        self._tracker = self._remember()
        self._open(self._saved.files)

    def step(self) -> bool:
        """Have the sink take what is new, up to STEP_ROWS; whether there is more."""
        there = segments(self._journal) if self._sink.ready() else []
        number = next((n for n in there if n >= self._saved.segment), None)  # the saved one, or the next there is
        if number is None:
            return False
        closed = is_closed(self._journal, number, there)  # asked first: what is closed now is read whole below
        size = segment_path(self._journal, number, "index").stat().st_size
        if size == self._seen and not closed:
            self._save_now_and_then()
            self._keep_now_and_then()
            return False
        if number > self._saved.segment > 0:
            self._miss(number)
        line, whole = self._read(number, self._saved.line if number == self._saved.segment else 0)
        self._seen = size if whole else -1
        moved = (number, line) != self._saved.position
        self._saved.segment, self._saved.line = number, line
        if closed and whole and segments(self._journal)[-1] > number:
            self._saved.segment, self._saved.line = number + 1, 0
            self._seen = -1
            self._save()
            self._unkept = True
            self._keep_now_and_then()
            return True
        self._unsaved |= moved
        self._save_now_and_then()
        return not whole

    def reopen(self) -> None:
        """The sink's files were renamed: go on in new ones."""
        self.close()
        self._open({})

    def stop(self) -> None:
        """Save the tracker too, so that the next start need not make it again, and close."""
        self._save()
        self._keep()
        self.close()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()

    def _open(self, saved: Places) -> None:
        """Open the sink, and save how far it is before it takes anything."""
        try:
            self._sink.open(saved)
            self._save()
        except OSError:
            self.close()
            raise

    def _miss(self, number: int) -> None:
        """The segments before this one are gone unread: say so, here and in the saved position. The gap in the store
        counts them (sink-behind)."""
        first = next(read_segment(self._journal, number, columns=()), None)
        to = self._saved.until or 0 if first is None else first.start
        begin = "the beginning" if self._saved.until is None else rfc3339(self._saved.until)
        missing = f"connections from {begin} to {rfc3339(to)} are missing there (they are in the store)"
        advice = "raise store.journal_megabytes, or see what is slow"
        log(f"{ERROR}{self._title}: too far behind; {missing}; {advice}")
        self._saved.missed = [*self._saved.missed, (self._saved.until, to)][-MISSED:]
        self._saved.segment, self._saved.line = number, 0
        self._save()

    def _read(self, number: int, line: int) -> tuple[int, bool]:
        """Take the rows of a segment from an index line on; up to which, and whether that is all there is now."""
        small: list[pa.RecordBatch] = []
        waiting = done = 0
        whole = True
        for flush in read_segment(self._journal, number, line, self._columns):
            line = flush.after.line
            self._saved.until = flush.end
            if flush.batch is None:
                continue
            small.append(flush.batch)
            waiting += flush.batch.num_rows
            if waiting >= PIECE_ROWS:
                self._take(small)
                small, waiting, done = [], 0, done + waiting
                if done >= STEP_ROWS:
                    whole = False
                    break
        if small:
            self._take(small)
        return line, whole

    def _take(self, flushes: list[pa.RecordBatch]) -> None:
        for rows in one_piece(flushes, flushes[0].schema).to_batches():
            self.lines_written += self._sink.take(rows, self._tracker.update(rows))

    def _save_now_and_then(self) -> None:
        """Whoever goes on has what is behind taken again, at the same place: it need not be little."""
        if self._unsaved and time.monotonic() - self._saved_at >= SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        self._saved.files = self._sink.where()
        position.save(self._path, self._saved)
        self._unsaved, self._saved_at = False, time.monotonic()

    def _keep_now_and_then(self) -> None:
        if self._unkept and time.monotonic() - self._kept_at >= KEEP_EVERY:
            self._keep()

    def _keep(self) -> None:
        """Save the tracker: the segments before this one are not needed any more."""
        self._unkept, self._kept_at = False, time.monotonic()
        self._sink.sync()
        self._tracker.save(position.tracker_path(self._path), *self._saved.position)
        self._saved.keep = self._saved.segment
        position.save(self._path, self._saved)

    def _remember(self) -> Tracker:
        """The tracker as it was at the saved position: from its file, else from the store and all of the journal."""
        found = Tracker.load(position.tracker_path(self._path))
        if found is not None and found[1:] <= self._saved.position:
            tracker, segment, line = found
        else:
            tracker, segment, line = Tracker(), 0, 0
            state = manifest.replay(self._store)
            if state.through.get("connections", 0) < self._saved.segment:  # else it knows of what is not yet written
                for entry in state.of("open"):
                    tracker.update(parquet.read_sealed(self._store, entry))
        for number in segments(self._journal):
            if segment <= number <= self._saved.segment:
                for flush in read_segment(self._journal, number, line if number == segment else 0, IDENTITY):
                    if flush.after > self._saved.position:
                        break
                    if flush.batch is not None:
                        tracker.update(flush.batch)
        return tracker
