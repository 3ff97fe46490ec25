"""Whether a store is what its manifest says: the chain of its lines, and every byte of every file that counts.

What is found wrong is a Finding, one sentence each; nothing is repaired. What is not sealed yet has checksums alone, so
it is only *not wrong*. The chain by itself proves nothing against somebody who can write the whole store: he can write
another chain. Who noted the digest of an earlier line (`Result.head`) and gives it again has proof up to that line.

Other processes may seal and remove meanwhile: what is missing is looked for in the newest manifest before it is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from anetcon.errors import StoreError
from anetcon.journal.segment import Segment
from anetcon.journal.write import segments
from anetcon.record import TABLES
from anetcon.store import layout, manifest
from anetcon.store.checked import Checked
from anetcon.store.entry import Entry, Why, rfc3339
from anetcon.store.reader import require_store
from anetcon.store.state import State

BLOCK = 1 << 20
"""Bytes read at a time."""


class Wrong(StrEnum):
    """What can be wrong."""

    CHAIN = "chain"
    """A line of the manifest does not hold."""
    ROLLED_BACK = "rolled-back"
    """The manifest does not go on from where it was, or there is more than it can explain."""
    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    """A Parquet file that no commit added, where whoever reads the folder with another program finds it."""
    DAMAGED = "damaged"
    """Rows of the journal that can not be read back."""
    SIGNATURE = "signature"
    """A signature that does not hold (`anetcon.proof`), as all below."""
    REWRITTEN = "rewritten"
    """Lines of the manifest that are not those that were signed."""
    EPOCHS = "epochs"
    """An epoch without checkpoints."""
    UNSIGNED = "unsigned"
    """Nothing is signed, though it was."""


class Discrepancy(NamedTuple):
    """Something that is wrong; `says` is a sentence."""

    wrong: Wrong
    path: str
    says: str


class Unsealed(NamedTuple):
    """What of a table is in the journal alone: so many segments and rows, and when they were written (us)."""

    table: str
    segments: int
    rows: int
    begin: int
    end: int


@dataclass
class Day:
    """What was read of a day, or of a table: files, their rows and bytes; `proven`: how many files the digest that was
    given covers; `line`: the number of the last line of the manifest that adds one of them."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    proven: int = 0
    line: int = 0


@dataclass
class Result:
    """What was found. `head` is the digest of the chain's last line, `lines` how many there are, `known` the number of
    the line whose digest was given, None when it is not there or none was given."""

    lines: int = 0
    head: str = ""
    known: int | None = None
    findings: list[Discrepancy] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    days: dict[str, Day] = field(default_factory=dict)
    unsealed: list[Unsealed] = field(default_factory=list)
    before: int = 0
    """Files that an earlier run had read, and that have not been touched since."""
    partly: bool = False
    """Whether only the files of some time were read."""

    @property
    def proven(self) -> bool:
        """Whether a digest that was given covers all there is."""
        return self.known is not None and self.known == self.lines and not self.unsealed and not self.partly


class Scope(NamedTuple):
    """Which files are read: those that may have rows between two times (us; None: no bound)."""

    since: int | None = None
    until: int | None = None


class Verifier:
    """Reads a store again. Raises StoreError where its manifest cannot be read, or a newer program wrote it."""

    def __init__(self, store: Path, scope: Scope, checked: Checked) -> None:
        self._store, self._scope, self._checked = store, scope, checked
        self._progress: Callable[[int], None] = lambda _: None
        self.result = Result(partly=scope != Scope())
        self._lines: dict[str, int] = {}
        """The number of the last line that adds a file, by its name."""

    def run(self, known: str | None = None, progress: Callable[[int], None] = lambda _: None) -> Result:
        """Everything; `known` is the digest of a line as somebody noted it. `progress` is told how many bytes more are
        read. Once."""
        require_store(self._store)
        self._progress = progress
        entries, state = self._manifest(known)
        for entry in entries:
            self._file(entry, state is not None)
        if state is not None:
            self._strangers(state)
            self._journal(state)
        self._checked.close()
        return self.result

    def bytes(self) -> int:
        """How many bytes `run` will read, about."""
        try:
            entries = self._in_scope(manifest.replay(self._store))
        except StoreError:
            return 0
        return sum(entry.bytes for entry in entries)

    def _manifest(self, known: str | None) -> tuple[list[Entry], State | None]:
        """The files to be read, and what the manifest adds up to; None where it does not hold."""
        result, named, newer = self.result, dict[str, Entry](), False
        for number, digest, line in manifest.chain(self._store):
            result.lines, result.head = number, digest
            newer |= not manifest.is_known(line)
            if digest == known:
                result.known = number
            if line.file:
                self._lines[line.file], named[line.file] = number, line
            self._removed(number, line)
        path = str(layout.manifest_path(self._store))
        try:
            state, differs = manifest.checked(self._store)
        except StoreError as error:
            if newer and result.lines == layout.manifest_path(self._store).read_bytes().count(b"\n"):
                raise
            self._find(Wrong.CHAIN, path, f"{error}; what it says behind that line is not known")
            return [entry for entry in named.values() if (self._store / entry.file).exists()], None
        if result.lines < state.lines and sum(1 for _ in manifest.chain(self._store)) < state.lines:
            self._find(Wrong.CHAIN, path, f"{path}: the chain of its lines ends at {result.lines} of {state.lines}")
        if differs:
            self._find(Wrong.CHANGED, str(layout.state_path(self._store)), differs)
        if known is not None and result.known is None:
            says = f"{path} has no line with the digest {known}: it was rewritten, or rolled back to before that line"
            self._find(Wrong.ROLLED_BACK, path, says)
        behind = manifest.size(self._store) - state.size
        if behind > 0:
            result.notes.append(f"{path} ends with {behind} bytes that a crash left; they count for nothing")
        return self._in_scope(state), state

    def _removed(self, number: int, line: Entry) -> None:
        """Find a seal that removes connections: only compaction, retention and imports do."""
        gone = [file for file in line.removes if line.why == Why.SEAL and layout.kind_of_file(file) == "connections"]
        if gone:
            path = str(layout.manifest_path(self._store))
            says = f"{path}: line {number} removes {gone[0]}, as no seal does: somebody took records away"
            self._find(Wrong.CHAIN, path, says)

    def _in_scope(self, state: State) -> list[Entry]:
        entries = [*state.connections, *state.snapshots.values()]
        return [entry for entry in entries if entry.covers(self._scope.since, self._scope.until)]

    def _file(self, entry: Entry, counts: bool) -> None:
        """Read a file; of what the manifest does not hold for, only whether it is as it was added."""
        path = self._store / entry.file
        kind = layout.kind_of_file(entry.file)
        day = self.result.days.setdefault(layout.day_of_file(entry.file) if kind == "connections" else kind, Day())
        line = self._lines.get(entry.file, 0)
        try:
            wrong = self._as_written(path, entry)
        except FileNotFoundError:
            if counts and self._still_counts(entry):
                self._find(Wrong.MISSING, str(path), f"{path} is missing: line {line} of the manifest added it")
            return
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if wrong and self._still_counts(entry):
            self._find(Wrong.CHANGED, str(path), f"{path} was changed: {wrong} line {line} of the manifest")
        day.files += 1
        day.rows += entry.rows
        day.bytes += entry.bytes
        day.line = max(day.line, line)
        day.proven += self.result.known is not None and line <= self.result.known

    def _as_written(self, path: Path, entry: Entry) -> str:
        """What is wrong with a file; nothing where its bytes are those that were sealed."""
        if self._checked.has(path, entry.sha256):
            self.result.before += 1
            self._progress(entry.bytes)
            return ""
        digest, size = hashlib.sha256(), 0
        before = path.stat()
        with path.open("rb", buffering=0) as file:
            while data := file.read(BLOCK):
                digest.update(data)
                size += len(data)
                self._progress(len(data))
        if size != entry.bytes:
            return f"it has {size} bytes, and {entry.bytes} in"
        if digest.hexdigest() != entry.sha256:
            return "its SHA-256 is not the one in"
        if (rows := _rows(path)) != entry.rows:
            return f"it has {rows} rows, and {entry.rows} in"
        self._checked.add(path, before, entry.sha256)
        return ""

    def _still_counts(self, entry: Entry) -> bool:
        """Whether the newest manifest counts a file: a commit may have removed it meanwhile."""
        try:
            return entry.file in manifest.replay(self._store).files()
        except StoreError:
            return True

    def _strangers(self, state: State) -> None:
        """Find what the manifest does not explain."""
        there = {str(path.relative_to(self._store)): path for path in layout.files_of(self._store)}
        try:
            now = manifest.replay(self._store)
        except StoreError:
            now = state
        counted = now.files()
        self._lines |= {link.line.file: link.number for link in manifest.chain(self._store) if link.line.file}
        replaced = 0
        for name, path in sorted(there.items()):
            number = layout.seal_of_file(name)
            if name in counted or not path.exists():
                continue
            if number is not None and number > now.seal + 1:
                says = f"{path} is of commit {number}, but the manifest ends at {now.seal}: its end was cut off"
                self._find(Wrong.ROLLED_BACK, str(path), says)
            elif number is None or not (name.endswith(".new") or number > now.seal or name in self._lines):
                self._find(
                    Wrong.ADDED, str(path), f"{path} is in no line of the manifest: remove it, or ask who added it"
                )
            elif name in now.leaving:
                replaced += 1
            elif number > now.seal:
                self.result.notes.append(f"{path} is of the next commit: it is being made, or the manifest was cut")
            else:
                self.result.notes.append(f"{path} counts no more; the daemon removes it when it starts")

        if replaced:
            said = f"files that compaction replaced, and that stay an hour for questions that began before: {replaced}"
            self.result.notes.append(said)

    def _journal(self, state: State) -> None:
        """Say what is not sealed, and find what cannot be read back of it."""
        for table in TABLES:
            folder, through = layout.journal_folder(self._store, table), state.through.get(table, 0)
            numbers = [number for number in segments(folder) if number > through]
            if numbers and numbers[0] != through + 1:
                newer = manifest.replay(self._store).through.get(table, 0)
                numbers = [number for number in numbers if number > newer]
                if numbers and numbers[0] != newer + 1:
                    says = f"{folder} begins at segment {numbers[0]}, but the store ends at segment {newer}"
                    self._find(
                        Wrong.ROLLED_BACK, str(folder), f"{says}: the manifest was rolled back, or segments removed"
                    )
            found = [segment for number in numbers if (segment := self._segment(folder, number)) is not None]
            covered = [segment.covered for segment in found if segment.covered is not None]
            if rows := sum(each[2] for each in covered):
                begin, end = min(each[0] for each in covered), max(each[1] for each in covered)
                self.result.unsealed.append(Unsealed(table, len(covered), rows, begin, end))

    def _segment(self, folder: Path, number: int) -> Segment | None:
        """A segment, every byte of which is checked; None when it is gone, since it was sealed meanwhile."""
        try:
            segment = Segment(folder, number)
            lost = segment.lost()
        except FileNotFoundError:
            return None
        if lost is not None:
            until = rfc3339(lost.end)
            says = f"segment {number} of {folder} cannot be read back to its end, {until}: see `anetcon gaps`"
            self._find(Wrong.DAMAGED, str(folder), says)
        return segment

    def _find(self, wrong: Wrong, path: str, says: str) -> None:
        self.result.findings.append(Discrepancy(wrong, path, says))


def _rows(path: Path) -> int:
    """How many rows the footer of a file says it has; -1 where there is none."""
    try:
        rows: int = pq.read_metadata(path).num_rows
    except pa.ArrowInvalid:
        return -1
    return rows
