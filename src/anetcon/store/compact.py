"""Many small files of connections become one: so that a question opens few, however old the store is.

The steps of a job (`compactable` says which there are), in their order:

1. without the lock: each file that is to be replaced is read as it was sealed (SHA-256), a row group at a time, and
   the new one written aside, synced, and read back. Rows and their sum (`content`) must be the same.
2. with the sealing lock: where a file to be replaced counts no more, retention or an import was faster, and the job
   is given up. Else the new files get their names, and one commit adds them and removes the others.
3. The others stay for an hour (`sweep`), for questions that began before.

A crash leaves what is aside, which the next compaction removes, or what `sweep` removes. Sealing, retention and imports
wait for step 2 alone. Refuses to fill a disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from anetcon.errors import StoreError
from anetcon.store import compactable, layout, lock, manifest, merged, parquet
from anetcon.store.compactable import Replacement
from anetcon.store.content import Content
from anetcon.store.entry import Entry, Why
from anetcon.store.limits import Limits
from anetcon.store.state import State
from anetcon.store.sweep import sweep
from anetcon.system import ondisk

ROOM = 1.2
"""What must be free for a job, as a part of the files that it replaces: old formats may have been smaller."""


class Done(NamedTuple):
    """A job that is done: the new files, and how many took their place in how many bytes."""

    files: tuple[Entry, ...]
    replaced: int
    bytes: int

    @property
    def said(self) -> str:
        """In words."""
        names, many = " and ".join(entry.file for entry in self.files), "s" * (self.replaced != 1)
        rows = sum(entry.rows for entry in self.files)
        return f"compacted {self.replaced} file{many} into {names}: {rows} connections in {self.bytes} bytes"


class Compactor:
    """Compacts one store, with nobody else who does."""

    def __init__(
        self, store: Path, limits: Limits | None = None, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._store, self._limits, self.clock = store, limits or Limits(), clock
        self._aside = store / layout.COMPACTING

    def run(self) -> Iterator[Done]:
        """Everything that is to be done now, job by job. Raises StoreError, in the end, for a job that cannot be done,
        or OSError: what was done is whole, and nothing else is changed."""
        failed: StoreError | None = None
        with self._alone():
            for job in compactable.jobs(self._clean(), self.clock()):
                try:
                    done = self._job(job)
                except StoreError as error:
                    failed = failed or error
                    continue
                if done is not None:
                    yield done
        if failed is not None:
            raise failed

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with lock.turn(self._store, wait=False, name=layout.COMPACTING_LOCK) as turn:
            if turn is None:
                raise StoreError(f"another compaction of {self._store} is running: it does what there is to do")
            layout.make_folder(self._aside)
            try:
                yield
            finally:
                for path in self._aside.iterdir():
                    path.unlink(missing_ok=True)

    def _clean(self) -> State:
        """What counts now; what crashes, and compactions an hour ago, left is removed."""
        for path in self._aside.iterdir():
            path.unlink(missing_ok=True)
        with _turn(self._store) as turn:
            state = manifest.replay(self._store)
            sweep(self._store, state)
            turn.end()
        return state

    def _job(self, job: Replacement) -> Done | None:
        """Do it; None where somebody was faster."""
        self._require_room(job)
        try:
            made = [self._write(group, number) for number, group in enumerate(job.groups)]
        except FileNotFoundError:
            if manifest.replay(self._store).connections.without(job.files):
                return None
            raise
        added = self._commit(job, made)
        if added is None:
            return None
        return Done(tuple(added), len(job.files), sum(entry.bytes for entry in added))

    def _require_room(self, job: Replacement) -> None:
        found = shutil.disk_usage(self._store)
        if found.free - job.bytes * ROOM < self._limits.floor(found.total):
            free, needed = found.free / 1e9, job.bytes / 1e9
            raise StoreError(
                f"the disk of {self._store} has {free:.2f} GB free, too little to write {needed:.2f} again: make room"
            )

    def _write(self, group: Sequence[Entry], number: int) -> dict[str, Any]:
        """Write these files' rows aside as one, and read them back; what the manifest says of it."""
        path = self._aside / str(number)
        for entry in group:
            _require_sealed(self._store, entry)
        content, rows = Content(), 0
        with _Sink(path) as sink:
            with parquet.writer(sink, "connections") as file:
                for table in merged.merged(self._store, group):
                    content, rows = content.plus(Content.of(table)), rows + table.num_rows
                    parquet.add(file, "connections", table)
                    del table  # before the next one is made
            sink.sync()
        if rows != sum(entry.rows for entry in group):
            raise StoreError(f"{self._store / group[0].file} and others have {rows} rows, not as many as were sealed")
        known = [entry.content for entry in group]
        if all(known) and Content.sum(map(Content.read, known)) != content:
            raise StoreError(f"{self._store / group[0].file} and others have other rows than were sealed")
        if _digest(path) != sink.digest or _read_back(path) != (rows, content):
            raise StoreError(f"{path} does not read back as it was written; check the disk")
        return {"sha256": sink.digest, "bytes": sink.size, "rows": rows, "content": str(content)}

    def _commit(self, job: Replacement, made: Sequence[dict[str, Any]]) -> list[Entry] | None:
        with _turn(self._store) as turn:
            state = manifest.replay(self._store)
            sweep(self._store, state)
            if state.connections.without(job.files) or self._is_being_imported(state, job):
                return None
            turn.begin()
            try:
                added = self._named(job, made, state.seal + 1)
                manifest.commit(self._store, state, Why.COMPACTION, self.clock(), added, sorted(job.files))
            except OSError:
                sweep(self._store, manifest.replay(self._store))
                turn.end()
                raise
            turn.end()
            return added

    def _is_being_imported(self, state: State, job: Replacement) -> bool:
        """Whether an import runs, which knows rows by their places in these files."""
        if job.groups[0][0].seal not in state.imports:
            return False
        with lock.turn(self._store, wait=False, name=layout.IMPORTING_LOCK) as turn:
            return turn is None

    def _named(self, job: Replacement, made: Sequence[dict[str, Any]], seal: int) -> list[Entry]:
        """Give the new files their names."""
        added = []
        for number, (group, said) in enumerate(zip(job.groups, made, strict=True)):
            name = layout.compacted_file(group[0].file, job.span, seal)
            (self._aside / str(number)).rename(self._store / name)
            starts, ends = [entry.start for entry in group], [entry.end for entry in group]
            start = None if None in starts else min(filter(None, starts))
            end = None if None in ends else max(filter(None, ends))
            added.append(Entry(prev="", kind="connections", seal=seal, file=name, start=start, end=end, **said))
        for folder in {(self._store / entry.file).parent for entry in added}:
            ondisk.sync_folder(folder)
        return added


@contextmanager
def _turn(store: Path) -> Iterator[lock.HeldLock]:
    with lock.turn(store, wait=True) as turn:
        if turn is None:  # nobody waits in vain
            raise StoreError(f"somebody else writes the store {store}: try again")
        yield turn


def _require_sealed(store: Path, entry: Entry) -> None:
    """Raise StoreError where a file is not as it was sealed: what is wrong must not become part of what is right."""
    parquet.require_as_sealed(store, [entry])
    if _digest(store / entry.file) != entry.sha256:
        raise StoreError(f"{store / entry.file} was changed since it was sealed; it is left as it is: `anetcon verify`")


class _Sink(RawIOBase):
    """A new file that is written once, and its digest."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._path = path
        self._descriptor = ondisk.create(path, os.O_RDWR)

    def writable(self) -> bool:
        """Of course."""
        return True

    def write(self, data: Any) -> int:
        """All of it."""
        view = memoryview(data)
        self._sha256.update(view)
        ondisk.write_all(self._descriptor, view)
        self.size += view.nbytes
        return view.nbytes

    @property
    def digest(self) -> str:
        """Of what was written."""
        return self._sha256.hexdigest()

    def sync(self) -> None:
        """Have the disk take it."""
        os.fsync(self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is asked when it is read
        layout.give_to_group(self._path)

    def close(self) -> None:
        """The last call."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_back(path: Path) -> tuple[int, Content]:
    """How many rows a file has, and their sum."""
    rows, content = 0, Content()
    for number in range(pq.read_metadata(path).num_row_groups):
        for table in merged.row_group(path, number):
            rows, content = rows + table.num_rows, content.plus(Content.of(table))
    return rows, content
