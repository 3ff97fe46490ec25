"""The manifest: which files of a store count, and the chain that shows whether any was changed or taken away.

`manifest.jsonl` is append-only: one JSON object a line, each with `prev`, the SHA-256 of the line before it (64 zeros
in the first). A seal is one append: a line a file, then a line of kind `seal`, which commits those before it. Lines
behind the last good seal line are what a crash left: they count for nothing and the next append cuts them off. A line
that does not hold anywhere else is damage, and a StoreError: nothing is ever repaired or skipped.

The chain shows every change to somebody who knows its last line; who can write the whole store can also write a new
chain. A reader needs no lock: `replay` is one read, and a file it names that is gone was replaced by a newer seal
meanwhile, so replay again.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from anetcon.errors import StoreError
from anetcon.record import FORMAT
from anetcon.store import layout

FIRST = "0" * 64
"""`prev` of the first line."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Of kind `seal` it has `through` and `time`, of any other kind what is known of its `file`.

    `start` and `end` (JSON: `from`, `to`) are the earliest start and the latest end of the file's rows, RFC 3339 UTC
    with microseconds; `end` is missing when rows are open or have none. The end of a line of text is its start here.
    """

    prev: str
    kind: str
    seal: int
    file: str = ""
    sha256: str = ""
    bytes: int = 0
    rows: int = -1
    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)
    format: int = 0
    through: dict[str, int] = {}
    time: str | None = None

    def covers(self, first: int | None, last: int | None) -> bool:
        """Whether the file may have rows between two times (microseconds; None: no bound)."""
        late = last is not None and self.start is not None and microseconds(self.start) > last
        early = first is not None and self.end is not None and microseconds(self.end) < first
        return not late and not early


@dataclass
class State:
    """What the committed lines add up to.

    `connections` has the files of closed connections, oldest seal first; `snapshots` the others that count, by what
    replaces them: `open`, or table and month (`gaps/2026-11`). `through` is the last sealed segment of each journal
    table. `size` and `head` are where the chain ends: bytes, and the digest the next line must have as `prev`.
    """

    seal: int = 0
    through: dict[str, int] = field(default_factory=dict)
    connections: list[Entry] = field(default_factory=list)
    snapshots: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    head: str = FIRST

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind that count, oldest first."""
        if kind == "connections":
            return self.connections
        return [entry for entry in self.snapshots.values() if entry.kind == kind]

    def commit(self, files: list[Entry], last: Entry, size: int, head: str) -> None:
        """Take a seal in: its files and its last line, and where the chain ends then."""
        self.snapshots.pop("open", None)
        for entry in files:
            if entry.kind == "connections":
                self.connections.append(entry)
            else:
                self.snapshots["open" if entry.kind == "open" else entry.file.partition(".")[0]] = entry
        self.seal, self.through, self.size, self.head = last.seal, last.through, size, head


def replay(store: Path) -> State:
    """Read the manifest and check its chain. Raises StoreError when a line does not hold; a torn tail is ignored."""
    path = layout.manifest_path(store)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    state, pending, decoder = State(), list[Entry](), msgspec.json.Decoder(Entry)
    at, head, number = 0, FIRST, 0
    while (newline := data.find(b"\n", at)) >= 0:
        line, number = data[at : newline + 1], number + 1
        entry = _decode(decoder, line)
        if entry is None or entry.prev != head:
            if b"\0" in line and newline == len(data) - 1:
                break
            raise StoreError(f"{path}: line {number} was changed, or the one before it; restore it from a backup")
        at, head = newline + 1, hashlib.sha256(line).hexdigest()
        if entry.kind == "seal":
            state.commit(pending, entry, at, head)
            pending = []
        else:
            pending.append(entry)
    return state


def _decode(decoder: msgspec.json.Decoder[Entry], line: bytes) -> Entry | None:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def append(store: Path, state: State, files: Iterable[dict[str, Any]], through: dict[str, int], time: int) -> None:
    """Commit a seal: its files and how far it went, in one write, synced; `state` is brought up to date.

    `files` are an Entry's fields but for prev, seal and format. Raises OSError, with the seal then not committed.
    """
    text, head, entries = b"", state.head, list[Entry]()
    last = {"kind": "seal", "through": through, "time": rfc3339(time)}
    for values in (*files, last):
        entries.append(Entry(prev=head, seal=state.seal + 1, format=FORMAT, **values))
        line = msgspec.json.encode(entries[-1]) + b"\n"
        head = hashlib.sha256(line).hexdigest()
        text += line
    path = layout.manifest_path(store)
    new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, layout.FILE_MODE)
    try:
        os.ftruncate(descriptor, state.size)
        if os.pwrite(descriptor, text, state.size) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, state.size)
        raise
    finally:
        os.close(descriptor)
    if new:
        layout.give_to_group(path)
        sync_folder(store)
    state.commit(entries[:-1], entries[-1], state.size + len(text), head)


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rfc3339(time: int) -> str:
    """A time in microseconds as RFC 3339 UTC."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(text: str) -> int:
    """A time of the manifest as microseconds."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
