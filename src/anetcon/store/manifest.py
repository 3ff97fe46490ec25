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

A line of kind `state` is a commit by itself, too: it has the digest of the file `manifest.state`, which says what the
lines before it add up to (`store.saved`). Who only reads begins there (`opened`): what it costs does not grow with the
age of the store. Who writes replays everything, and so finds what was changed in older lines.

The chain shows every change to somebody who knows its last line; who can write the whole store can also write a new
chain. A reader needs no lock: `replay` is one read, and a file it names that is gone was replaced by a newer seal
meanwhile, so replay again.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from anetcon.errors import StoreError
from anetcon.record import FORMAT
from anetcon.store import layout, saved
from anetcon.store.entry import KINDS, Entry, Read, Removed, is_sound, microseconds, rfc3339
from anetcon.store.saved import Counted
from anetcon.system import ondisk

__all__ = ["Entry", "Read", "Removed", "State", "append", "microseconds", "replay", "retire", "rfc3339"]

FIRST = "0" * 64
"""`prev` of the first line."""

FALLOC_FL_KEEP_SIZE = 1  # linux/falloc.h
RESERVED = 64 << 10
"""Bytes kept free behind the end of the manifest."""


@dataclass
class State:
    """What the committed lines add up to.

    `connections` are the files of closed connections, oldest seal first; `snapshots` the others that count, by what
    replaces them: `open`, or table and month or part (`gaps/2026-11`, `routes/2026-11-20-2`). `through` is the last
    sealed segment of each journal table; `imports` are the seals of kind `import`, `replaced` the files that those took
    the place of. `size`, `lines` and `head` are where the chain ends: bytes, lines, and the digest the next line must
    have as `prev`; `saved` is the last seal that a line `state` stands behind.
    """

    seal: int = 0
    through: dict[str, int] = field(default_factory=dict)
    connections: Counted = field(default_factory=Counted)
    snapshots: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    lines: int = 0
    head: str = FIRST
    saved: int = 0
    removed: Removed | None = None
    imports: set[int] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind that count, oldest first."""
        if kind == "connections":
            return list(self.connections)
        return [entry for entry in self.snapshots.values() if entry.kind == kind]

    def commit(self, files: list[Entry], last: Entry, size: int, head: str) -> None:
        """Take a seal in: its files and its last line, and where the chain ends then."""
        if last.kind == "import":
            self.imports.add(last.seal)
        else:
            self.snapshots.pop("open", None)
        if last.replaced:
            self.replaced.update(last.replaced)
            self.connections.remove(self.replaced, self.imports)
        for entry in files:
            if entry.kind == "connections":
                self.connections.append(entry)
            else:
                self.snapshots["open" if entry.kind == "open" else entry.file.partition(".")[0]] = entry
        self.seal, self.through = last.seal, last.through
        self._reach(len(files) + 1, size, head)

    def _reach(self, lines: int, size: int, head: str) -> None:
        self.lines, self.size, self.head = self.lines + lines, size, head

    def bind(self, line: Entry, size: int, head: str) -> None:
        """Take a line in that binds a saved state."""
        self.saved = line.seal
        self._reach(1, size, head)

    def last_seal(self) -> int | None:
        """The last seal of the journal that has connections."""
        return self.connections.last_seal(self.imports)

    def touching(self, table: str, first: int | None, last: int | None) -> list[Entry]:
        """The files of a table but connections that are needed to tell what there was between two times.

        All whose rows begin by `last`: a later one may have the `to` of a row that an earlier one has without. Of the
        parts not those that have only earlier times: what lasted is in the next one, too. The current one has it all.
        """
        entries = self.of(table)
        return [entry for entry in entries[:-1] if entry.covers(None, last) and not entry.is_over(first)] + entries[-1:]

    def aging(self, before: int | None = None) -> list[tuple[int, Entry]]:
        """What goes by age and size, and the latest time of each: connections that ended, and parts of other tables;
        only what was over before a time. The current part of a table stays: it has all that lasts."""
        parts = [entry for table in layout.CUT_SHORT for entry in self.of(table)[:-1] if entry.latest is not None]
        dated = [(entry.end, entry) for entry in self.connections.ended(before)]
        dated += [(entry.latest, entry) for entry in parts]
        found = [(microseconds(time), entry) for time, entry in dated if time is not None]
        return [(time, entry) for time, entry in found if before is None or time < before]

    def doomed(self, before: int) -> list[Entry]:
        """The files that a retention at this time takes away. The latest month of a table stays: it has all that
        lasts."""
        files = [entry for _, entry in self.aging(before)]
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
        self.connections.remove(names)
        self.snapshots = {key: entry for key, entry in self.snapshots.items() if entry.file not in names}
        closed = [entry for entry in gone if entry.kind == "connections"]
        old = self.removed or Removed(before, before, 0)
        dated = [*closed, *(entry for entry in gone if entry.latest is not None)]
        starts = [microseconds(entry.start) if entry.start is not None else 0 for entry in dated]
        rows = old.rows + sum(entry.rows for entry in closed)
        self.removed = Removed(min([old.start, *starts]), max(old.before, before), rows)
        self._reach(1, size, head)


def replay(store: Path) -> State:
    """Read the manifest and check its chain. Raises StoreError when a line does not hold; a torn tail is ignored."""
    return _behind(store, State())


def opened(store: Path) -> tuple[State, str]:
    """The same for who only reads: from the saved state on, if it fits the chain. If not, also what to say: why all of
    the manifest was read."""
    path = layout.state_path(store)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        state = replay(store)
        return state, f"{path} is gone: {_SLOWER}" if state.saved else ""
    except OSError as error:
        return replay(store), f"cannot read {path} ({error.strerror}): {_SLOWER}"
    known = saved.decode(content)
    if known is None:
        return replay(store), f"{path} is not as it was written: {_SLOWER}"
    rest, connections = known
    data = _read(store, rest.size)
    line = _decode(_DECODER, data[: data.find(b"\n") + 1])
    bound = line is not None and line.kind == "state" and line.prev == rest.head
    if line is None or not bound or line.sha256 != hashlib.sha256(content).hexdigest():
        return replay(store), f"{path} does not fit the manifest: {_SLOWER}"
    return _behind(store, State(connections=connections, **msgspec.structs.asdict(rest)), data), ""


_SLOWER = "all of the manifest was read, which takes longer, until the daemon writes the file again"
_DECODER = msgspec.json.Decoder(Entry)


def _read(store: Path, begin: int) -> bytes:
    """The manifest from a byte on."""
    path = layout.manifest_path(store)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _behind(store: Path, state: State, data: bytes | None = None) -> State:
    """The state, with what the lines behind it say. Raises StoreError."""
    path, begin = layout.manifest_path(store), state.size
    data = _read(store, begin) if data is None else data
    pending = list[Entry]()
    at, head, number, newer = 0, state.head, state.lines, 0
    while (newline := data.find(b"\n", at)) >= 0:
        line, number = data[at : newline + 1], number + 1
        entry = _decode(_DECODER, line)
        if entry is None or entry.prev != head:
            if b"\0" in line and newline == len(data) - 1:
                break
            raise StoreError(f"{path}: line {number} was changed, or the one before it; restore it from a backup")
        if entry.kind not in KINDS:
            newer = newer or number  # or it was changed: then the next line says so
        elif not is_sound(entry):
            raise StoreError(f"{path}: line {number} says what no anetcon writes; restore it from a backup")
        at, head = newline + 1, hashlib.sha256(line).hexdigest()
        if entry.kind == "retention":
            state.retire(entry, begin + at, head)
        elif entry.kind == "state":
            state.bind(entry, begin + at, head)
        elif entry.kind in ("seal", "import"):
            state.commit(pending, entry, begin + at, head)
        else:
            pending.append(entry)
            continue
        pending = []
    if newer:
        raise StoreError(f"{path}: line {newer} is of a newer version of anetcon: use that one to read it")
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


def save(store: Path, state: State) -> None:
    """Write what counts aside, for readers to begin with, and bind it into the chain. The line comes first: until the
    file is there, the one before fits its own line. Raises OSError: the manifest is whole all the same."""
    names = saved.Rest.__struct_fields__
    content = saved.encode(saved.Rest(**{name: getattr(state, name) for name in names}), state.connections)
    digest = hashlib.sha256(content).hexdigest()
    line = {"kind": "state", "sha256": digest, "bytes": len(content), "rows": state.lines}
    entries, size, head = _extend(store, state, state.seal, [line])
    state.bind(entries[0], size, head)
    group = layout.group()
    ondisk.replace(layout.state_path(store), content, group=-1 if group is None else group, sync=True)


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
