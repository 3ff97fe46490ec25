"""The two text logs: one line a connection, at its start, or at its end or dump if that is the first known of it.

`anetcon.nat.log` has class nat, `anetcon.float.log` class float; `local` connections are in the store only.

Exactly once, over crashes of this process: lines are written, then the position is saved with the size of each log
(anetcon.follow.position); whoever goes on cuts off what is behind. What is known of the connections (the tracker) is
saved at the end of a segment, and made again from there. Anything that fails raises, and the object is done: a new
one goes on from what is saved. A power cut can cost the lines the disk had not yet written.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.follow import position, quiet
from anetcon.follow.report import ERROR, log
from anetcon.follow.settings import Settings
from anetcon.follow.sinks.hashes import HashFile
from anetcon.follow.sinks.lines import Lines, are
from anetcon.follow.sinks.lines import Settings as LineSettings
from anetcon.identity import Tracker, Verdict
from anetcon.identity.tuples import IDENTITY, numbers, one_piece
from anetcon.journal.read import is_closed, read_segment
from anetcon.journal.write import segment_path, segments
from anetcon.record import Class, Origin, label
from anetcon.store import layout, manifest, parquet

NAME = "text"
FILES = {Class.NAT: "anetcon.nat.log", Class.FLOAT: "anetcon.float.log"}

COLUMNS = {
    *IDENTITY,
    *("netns", "class", "nat_src_ip", "nat_src_port", "nat_dst_ip", "nat_dst_port"),
}
"""What lines and tracker need of the journal."""

STEP_ROWS = 200_000
"""Rows after which a step ends, so that neither lines nor a stop wait for long."""

SAVE_EVERY = 2.0
"""Seconds between two savings of the position: renaming over a file costs as much as thousands of lines."""

MISSED = 100
"""Stretches missed that are remembered."""

PIECE_ROWS = 50_000
"""Flushes smaller than this are put together."""


def forget(store: Path) -> None:
    """Text logs are off: no segment is to be kept for them, and whoever turns them on begins with what is there."""
    for path in (layout.follower_path(store, NAME), _tracker_path(store)):
        path.unlink(missing_ok=True)


def _tracker_path(store: Path) -> Path:
    return layout.follower_path(store, NAME).with_suffix(".tracker")


class TextLogs:
    """Follows the journal from the saved position. Raises OSError or StoreError: make a new one then."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lines_written = 0
        self._path = layout.follower_path(settings.store, NAME)
        self._journal = layout.journal_folder(settings.store, "connections")
        self._logs: dict[Class, int] = {}
        self._hashes = HashFile(settings.hash_file)
        self._seen = -1
        self._unsaved = False
        self._saved_at = 0.0
        lines = LineSettings(
            settings.node, settings.prefix, settings.prefix_dnat, settings.prefix_other, settings.namespace_hash
        )
        self._lines = Lines(lines)
        quiet.take_back(settings.store)
        saved = position.load(self._path)
        self._saved = saved or position.Saved()
        if saved is None:
            position.save(self._path, self._saved)  # before anything can fail: the sealer keeps all from here on
        if max(segments(self._journal), default=self._saved.segment) < self._saved.segment:
            self._saved.segment = self._saved.line = 0  # somebody removed the journal, and it was begun again at 1
        self._tracker = self._remember()
        position.cut(settings.folder, self._saved.files)
        self._open()

    def step(self) -> bool:
        """Write what is new, up to STEP_ROWS; whether there is more."""
        there = [] if quiet.waits(self.settings.store) else segments(self._journal)
        number = next((n for n in there if n >= self._saved.segment), None)  # the saved one, or the next there is
        if number is None:
            return False
        closed = is_closed(self._journal, number, there)  # asked first: what is closed now is read whole below
        size = segment_path(self._journal, number, "index").stat().st_size
        if size == self._seen and not closed:
            self._save_now_and_then()
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
            self._keep()
            return True
        self._unsaved |= moved
        self._save_now_and_then()
        return not whole

    def reopen(self) -> None:
        """The logs were renamed: go on in new ones."""
        self.close()
        self._open()

    def stop(self) -> None:
        """Save the tracker too, so that the next start need not make it again, and close."""
        self._save()
        self._keep()
        self.close()

    def close(self) -> None:
        """Close the logs. What was written is saved already."""
        while self._logs:
            os.close(self._logs.popitem()[1])

    def _miss(self, number: int) -> None:
        """The segments before this one are gone unread: say so, here and in the saved position. The gap in the store
        counts them (sink-behind)."""
        first = next(read_segment(self._journal, number, columns=()), None)
        to = self._saved.until or 0 if first is None else first.start
        begin = "the beginning" if self._saved.until is None else manifest.rfc3339(self._saved.until)
        log(
            f"{ERROR}text logs: too far behind; connections from {begin} to {manifest.rfc3339(to)} are not in them "
            "(they are in the store); raise store.journal_megabytes, or see why they are slow"
        )
        self._saved.missed = [*self._saved.missed, (self._saved.until, to)][-MISSED:]
        self._saved.segment, self._saved.line = number, 0
        self._save()

    def _read(self, number: int, line: int) -> tuple[int, bool]:
        """Write the lines of a segment from an index line on; up to which, and whether that is all there is now."""
        small: list[pa.RecordBatch] = []
        waiting = done = 0
        whole = True
        since = quiet.since(self.settings.store)
        for flush in read_segment(self._journal, number, line, COLUMNS):
            line = flush.after.line
            self._saved.until = flush.end
            if flush.batch is None:
                continue
            batch = self._not_before(since, flush.batch) if flush.start < since else flush.batch
            small.append(batch)
            waiting += batch.num_rows
            if waiting >= PIECE_ROWS:
                self._write(one_piece(small, small[0].schema))
                small, waiting, done = [], 0, done + waiting
                if done >= STEP_ROWS:
                    whole = False
                    break
        if small:
            self._write(one_piece(small, small[0].schema))
        return line, whole

    def _write(self, rows: pa.Table) -> None:
        for batch in rows.to_batches():
            first = (self._tracker.update(batch) == Verdict.FIRST) & ~are(batch, "origin", [label(Origin.PACKET)])
            classes = numbers(batch["class"].indices)
            self._hashes.add(batch["netns"].dictionary.to_pylist())
            for kind, descriptor in self._logs.items():
                chosen = np.flatnonzero(first & (classes == kind))
                if len(chosen):
                    _write_all(descriptor, self._lines.of(batch, chosen, kind))
                    self.lines_written += len(chosen)

    def _not_before(self, microseconds: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        """What began since then; the rest is remembered, since somebody else writes its lines."""
        started = batch["start"]
        late = pc.fill_null(pc.greater_equal(started, pa.scalar(microseconds, started.type)), False)
        early = batch.filter(pc.invert(late))
        self._tracker.update(early)
        self._hashes.add(early["netns"].dictionary.to_pylist())
        return batch.filter(late)

    def _open(self) -> None:
        """Open the logs, and save which files they are before anything is written to them."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            layout.make_folder(self.settings.folder)
            for kind, name in FILES.items():
                path = self.settings.folder / name
                new = not path.exists()
                self._logs[kind] = os.open(path, flags, layout.FILE_MODE)
                if new:
                    layout.give_to_group(path)
            self._save()
        except OSError:
            self.close()
            raise

    def _save_now_and_then(self) -> None:
        """Whoever goes on writes what is behind again, the same lines at the same place: it need not be little."""
        if self._unsaved and time.monotonic() - self._saved_at >= SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        if quiet.waits(self.settings.store):  # what is appended now is not ours to cut off
            files = {}
        else:
            files = {FILES[kind]: os.fstat(descriptor) for kind, descriptor in self._logs.items()}
        self._saved.files = {name: (found.st_ino, found.st_size) for name, found in files.items()}
        position.save(self._path, self._saved)
        self._unsaved, self._saved_at = False, time.monotonic()

    def _keep(self) -> None:
        """Save the tracker: the segments before this one are not needed any more."""
        for descriptor in self._logs.values():
            os.fdatasync(descriptor)
        self._tracker.save(_tracker_path(self.settings.store), *self._saved.position)
        self._saved.keep = self._saved.segment
        position.save(self._path, self._saved)

    def _remember(self) -> Tracker:
        """The tracker as it was at the saved position: from its file, else from the store and all of the journal."""
        found = Tracker.load(_tracker_path(self.settings.store))
        if found is not None and found[1:] <= self._saved.position:
            tracker, segment, line = found
        else:
            tracker, segment, line = Tracker(), 0, 0
            state = manifest.replay(self.settings.store)
            if state.through.get("connections", 0) < self._saved.segment:  # else it knows of what is not yet written
                for entry in state.of("open"):
                    tracker.update(parquet.read_sealed(self.settings.store, entry))
        for number in segments(self._journal):
            if segment <= number <= self._saved.segment:
                for flush in read_segment(self._journal, number, line if number == segment else 0, IDENTITY):
                    if flush.after > self._saved.position:
                        break
                    if flush.batch is not None:
                        tracker.update(flush.batch)
        return tracker


def _write_all(descriptor: int, lines: pa.StringArray) -> None:
    """Write the texts one behind the other, as they are in memory. Raises OSError."""
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    view = memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]]
    while view:
        view = view[os.write(descriptor, view) :]
