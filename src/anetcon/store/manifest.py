"""The manifest: which files of a store count, and the chain that shows whether any was changed or taken away.

`manifest.jsonl` is append-only: one JSON object a line, each with `prev`, the SHA-256 of the line before it (64 zeros
in the first). A seal is one append: a line a file, then a line of kind `seal`, which commits those before it. Lines
behind the last good seal line are what a crash left: they count for nothing and the next append cuts them off. A line
that does not hold anywhere else is damage, and a StoreError: nothing is ever repaired or skipped. So is one that says
what nobody here writes, whatever its digest: a time that is none, a file that `layout` would not name so.

A line of kind `import` commits as `seal` does, rows that come from no journal: what was open stays what is open. The
files of earlier imports that it names as `replaced` count no more: some of their rows are now known better. What a seal
wrote goes on to count, whatever is named.

A line of kind `retention` is a commit by itself: of the files named before it, those of connections that had all ended
before the time `before` count no more, nor parts of other tables whose latest time is before it, nor months of them
that nothing kept needs; gaps stay. Their lines stay, so that the history can still be checked.

The chain shows every change to somebody who knows its last line; who can write the whole store can also write a new
chain. A reader needs no lock: `replay` is one read, and a file it names that is gone was replaced by a newer seal
meanwhile, so replay again.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from anetcon.errors import StoreError
from anetcon.record import FORMAT, TABLES
from anetcon.store import layout
from anetcon.system import ondisk

FIRST = "0" * 64
"""`prev` of the first line."""

COMMITS = ("seal", "import", "retention")
"""Kinds of lines that are of no file."""

MOST = 1 << 48
"""Rows, bytes and seals are fewer, so that sums of them are numbers too."""

FALLOC_FL_KEEP_SIZE = 1  # linux/falloc.h
RESERVED = 64 << 10
"""Bytes kept free behind the end of the manifest."""

_SHA256 = re.compile("[0-9a-f]{64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A file that an import has read: its name as it is recorded (`-`: standard input), and of what was read of it, as
    it is on disk, the bytes and their SHA-256."""

    name: str
    bytes: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Of kind `seal` or `import` it has `through` and `time`; of kind `retention` `before`, the number of
    `files` that it takes away, of their `rows` and `bytes`, and `time`; of any other kind what is known of its `file`.

    `replaced` are the files that a line of kind `import` takes the place of, `sources` those that were read to their
    end since the line before it and brought rows, in this line or the ones before it of the same import.

    `start` and `end` (JSON: `from`, `to`) are the earliest start and the latest end of the file's rows, RFC 3339 UTC
    with microseconds; `end` is missing when rows are open or have none. The end of a line of text is its start here.
    `latest` is the latest time that rows of a part (`layout.part_file`) have, of either kind.
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
    latest: str | None = None
    format: int = 0
    through: dict[str, int] = {}
    replaced: tuple[str, ...] = ()
    sources: tuple[Read, ...] = ()
    before: str | None = None
    files: int = 0
    time: str | None = None

    def covers(self, first: int | None, last: int | None) -> bool:
        """Whether the file may have rows between two times (microseconds; None: no bound)."""
        late = last is not None and self.start is not None and microseconds(self.start) > last
        early = first is not None and self.end is not None and microseconds(self.end) < first
        return not late and not early

    def is_over(self, first: int | None) -> bool:
        """Whether it is a part, and every time in it is before this one."""
        return first is not None and self.latest is not None and microseconds(self.latest) < first


class Removed(NamedTuple):
    """What retention has taken away until now: `rows` connections, and parts of other tables, from the earliest start
    of any to `before`."""

    start: int
    before: int
    rows: int


@dataclass
class State:
    """What the committed lines add up to.

    `connections` has the files of closed connections, oldest seal first; `snapshots` the others that count, by what
    replaces them: `open`, or table and month or part (`gaps/2026-11`, `routes/2026-11-20-2`). `through` is the last
    sealed segment of each journal table; `imports` are the seals of kind `import`, `replaced` the files that those took
    the place of. `size` and `head` are where the chain ends: bytes, and the digest the next line must have as `prev`.
    """

    seal: int = 0
    through: dict[str, int] = field(default_factory=dict)
    connections: list[Entry] = field(default_factory=list)
    snapshots: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    head: str = FIRST
    removed: Removed | None = None
    imports: set[int] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind that count, oldest first."""
        if kind == "connections":
            return self.connections
        return [entry for entry in self.snapshots.values() if entry.kind == kind]

    def commit(self, files: list[Entry], last: Entry, size: int, head: str) -> None:
        """Take a seal in: its files and its last line, and where the chain ends then."""
        if last.kind == "import":
            self.imports.add(last.seal)
        else:
            self.snapshots.pop("open", None)
        if last.replaced:
            self.replaced.update(last.replaced)
            self.connections = [
                entry for entry in self.connections if entry.file not in self.replaced or entry.seal not in self.imports
            ]
        for entry in files:
            if entry.kind == "connections":
                self.connections.append(entry)
            else:
                self.snapshots["open" if entry.kind == "open" else entry.file.partition(".")[0]] = entry
        self.seal, self.through, self.size, self.head = last.seal, last.through, size, head

    def last_seal(self) -> int | None:
        """The last seal of the journal that has connections."""
        return max((entry.seal for entry in self.connections if entry.seal not in self.imports), default=None)

    def touching(self, table: str, first: int | None, last: int | None) -> list[Entry]:
        """The files of a table but connections that are needed to tell what there was between two times.

        All whose rows begin by `last`: a later one may have the `to` of a row that an earlier one has without. Of the
        parts not those that have only earlier times: what lasted is in the next one, too. The current one has it all.
        """
        entries = self.of(table)
        return [entry for entry in entries[:-1] if entry.covers(None, last) and not entry.is_over(first)] + entries[-1:]

    def aging(self) -> list[tuple[int, Entry]]:
        """What goes by age and size, and the latest time of each: connections that ended, and parts of other tables.
        The current part of a table stays: it has all that lasts."""
        parts = [entry for table in layout.CUT_SHORT for entry in self.of(table)[:-1] if entry.latest is not None]
        dated = [(entry.end, entry) for entry in self.connections] + [(entry.latest, entry) for entry in parts]
        return [(microseconds(time), entry) for time, entry in dated if time is not None]

    def doomed(self, before: int) -> list[Entry]:
        """The files that a retention at this time takes away. The latest month of a table stays: it has all that
        lasts."""
        files = [entry for time, entry in self.aging() if time < before]
        month = rfc3339(before)[:7]
        for table in (*layout.CUT_SHORT, "listings"):
            months = [entry for entry in self.of(table)[:-1] if entry.latest is None]
            files += [entry for entry in months if layout.month_of_file(entry.file) < month]
        return files

    def retire(self, last: Entry, size: int, head: str) -> None:
        """Take a retention in."""
        before = microseconds(last.before or rfc3339(0))
        gone = self.doomed(before)
        names = {entry.file for entry in gone}
        self.connections = [entry for entry in self.connections if entry.file not in names]
        self.snapshots = {key: entry for key, entry in self.snapshots.items() if entry.file not in names}
        closed = [entry for entry in gone if entry.kind == "connections"]
        old = self.removed or Removed(before, before, 0)
        dated = [*closed, *(entry for entry in gone if entry.latest is not None)]
        starts = [microseconds(entry.start) if entry.start is not None else 0 for entry in dated]
        rows = old.rows + sum(entry.rows for entry in closed)
        self.removed = Removed(min([old.start, *starts]), max(old.before, before), rows)
        self.size, self.head = size, head


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
        if not _is_sound(entry):
            raise StoreError(f"{path}: line {number} says what no anetcon writes; restore it from a backup")
        at, head = newline + 1, hashlib.sha256(line).hexdigest()
        if entry.kind == "retention":
            state.retire(entry, at, head)
            pending = []
        elif entry.kind in ("seal", "import"):
            state.commit(pending, entry, at, head)
            pending = []
        else:
            pending.append(entry)
    return state


def size(store: Path) -> int:
    """Bytes of the manifest as it is."""
    try:
        return layout.manifest_path(store).stat().st_size
    except FileNotFoundError:
        return 0


def _decode(decoder: msgspec.json.Decoder[Entry], line: bytes) -> Entry | None:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_sound(entry: Entry) -> bool:
    """Whether a line says what can be believed: times and numbers that are some, and files within the store."""
    try:
        times = [
            datetime.fromisoformat(text)
            for text in (entry.start, entry.end, entry.latest, entry.before)
            if text is not None
        ]
    except ValueError:
        return False
    commits = entry.kind in COMMITS
    files = entry.replaced if commits else (entry.file,)
    return (
        all(time.tzinfo is UTC for time in times)
        and all(map(layout.is_named_so, files))
        and -commits <= entry.rows < MOST
        and 0 <= entry.bytes < MOST
        and 0 <= entry.seal < MOST
        and entry.through.keys() <= TABLES.keys()
        and all(0 <= each.bytes < MOST and _SHA256.fullmatch(each.sha256) for each in entry.sources)
    )


def append(
    store: Path,
    state: State,
    files: Iterable[dict[str, Any]],
    through: dict[str, int],
    time: int,
    kind: str = "seal",
    replaced: Sequence[str] = (),
    sources: Sequence[Read] = (),
) -> None:
    """Commit a seal: its files and how far it went, in one write, synced; `state` is brought up to date.

    `files` are an Entry's fields but for prev, seal and format. Raises OSError, with the seal then not committed.
    """
    last = {"kind": kind, "through": through, "replaced": tuple(replaced), "sources": tuple(sources)}
    last["time"] = rfc3339(time)
    entries, size, head = _extend(store, state, state.seal + 1, [*files, last])
    state.commit(entries[:-1], entries[-1], size, head)


def retire(store: Path, state: State, before: int, time: int) -> list[Entry]:
    """Commit a retention; the files that count no more, for the caller to remove. Raises OSError: nothing is done."""
    gone = state.doomed(before)
    closed = [entry for entry in gone if entry.kind == "connections"]
    sums = {"rows": sum(entry.rows for entry in closed), "bytes": sum(entry.bytes for entry in gone)}
    line = {"kind": "retention", "before": rfc3339(before), "files": len(gone), **sums, "time": rfc3339(time)}
    entries, size, head = _extend(store, state, state.seal, [line])
    state.retire(entries[0], size, head)
    return gone


def _extend(store: Path, state: State, seal: int, lines: list[dict[str, Any]]) -> tuple[list[Entry], int, str]:
    """Append lines behind the last that counts, in one write, synced: the lines, the size then, the head then."""
    text, head, entries = b"", state.head, list[Entry]()
    for values in lines:
        entries.append(Entry(prev=head, seal=seal, format=FORMAT, **values))
        line = msgspec.json.encode(entries[-1]) + b"\n"
        head = hashlib.sha256(line).hexdigest()
        text += line
    path = layout.manifest_path(store)
    new = not path.exists()
    descriptor = ondisk.open_file(path, os.O_WRONLY | os.O_CREAT)
    try:
        if os.fstat(descriptor).st_size > state.size:
            os.ftruncate(descriptor, state.size)
        if os.pwrite(descriptor, text, state.size) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
        _reserve(descriptor, state.size + len(text))
    except OSError:
        os.ftruncate(descriptor, state.size)
        raise
    finally:
        os.close(descriptor)
    if new:
        layout.give_to_group(path)
        sync_folder(store)
    return entries, state.size + len(text), head


def _reserve(descriptor: int, size: int) -> None:
    """Keep room behind the end, where the file system can: so that a disk that is full can still be told what is to be
    removed from it. Fails silently: it is no promise."""
    libc = ctypes.CDLL(None)
    libc.fallocate(descriptor, FALLOC_FL_KEEP_SIZE, ctypes.c_int64(size), ctypes.c_int64(RESERVED))


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
