"""The manifest: which files of a store count, and the chain that shows whether any was changed or taken away.

`manifest.jsonl` is append-only: one JSON object a line, each with `prev`, the SHA-256 of the line before it (64 zeros
in the first). A commit is one append: a line for each file that it adds, then a line of kind `commit`, which names the
files that it removes and says why (`state` has the rules). Lines behind the last good commit are what a crash left:
they count for nothing and the next append cuts them off. A line that does not hold anywhere else is damage, and a
StoreError: nothing is ever repaired or skipped. So is one that says what nobody here writes, whatever its digest: a
time that is none, a file that `layout` would not name so, a file removed that does not count.

A line of kind `state` has the digest of the file `manifest.state`, which says what the lines before it add up to
(`store.saved`). Who only reads begins there (`opened`): what it costs does not grow with the age of the store. Who
writes replays everything, and so finds what was changed in older lines; the sealer also compares the file with what it
replayed (`checked`).

The chain shows every change to somebody who knows its last line; who can write the whole store can also write a new
chain. A reader needs no lock: `replay` is one read, and a file it names that is gone was replaced by a newer commit
meanwhile, so replay again.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from anetcon.errors import StoreError
from anetcon.record import FORMAT
from anetcon.store import layout, old_lines, saved
from anetcon.store.entry import COMMIT, KINDS, OLD_COMMITS, STATE, WITHOUT_FILE, Entry, Read, Why, is_sound, rfc3339
from anetcon.store.state import FIRST, State, WrongCommitError
from anetcon.system import ondisk

FALLOC_FL_KEEP_SIZE = 1  # linux/falloc.h
RESERVED = 64 << 10
"""Bytes kept free behind the end of the manifest."""

MOST_REMOVED = RESERVED // 2
"""Bytes of names that a commit may remove where the disk may be full: it has to fit into what is kept free."""

_SLOWER = "answers take longer until the daemon writes it again"
WHYS = frozenset(Why)
_DECODER = msgspec.json.Decoder(Entry)


def replay(store: Path) -> State:
    """Read the manifest and check its chain. Raises StoreError when a line does not hold; a torn tail is ignored."""
    return _behind(store, State(), _read(store))


def opened(store: Path) -> tuple[State, str]:
    """The same for who only reads: from the saved state on, if it fits the chain. If not, also what to say: why all of
    the manifest was read."""
    found = _saved(store)
    if isinstance(found, str):
        return _without(store, found)
    return _behind(store, found.state, found.rest), ""


def checked(store: Path) -> tuple[State, str]:
    """The same for the sealer: everything, and what to say where the saved state, with which readers begin, is not what
    the lines before it add up to."""
    found = _saved(store)
    if isinstance(found, str):
        return _without(store, found)
    state = _behind(store, State(), _read(store, 0, found.state.size))
    same = _is_same(state, found.state)
    state = _behind(store, state, found.rest)
    return state, "" if same else f"{layout.state_path(store)} differs from the manifest: earlier answers may be wrong"


def _without(store: Path, why: str) -> tuple[State, str]:
    """Everything, and why; of a store that never had a saved state there is nothing to say."""
    state = replay(store)
    return state, why if state.saved or layout.state_path(store).exists() else ""


class _Saved(NamedTuple):
    """A saved state that fits the chain, and the manifest behind it."""

    state: State
    rest: bytes


def _saved(store: Path) -> _Saved | str:
    """The saved state; or why there is none that can be used."""
    path = layout.state_path(store)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return f"{path} is gone: {_SLOWER}"
    except OSError as error:
        return f"cannot read {path} ({error.strerror}): {_SLOWER}"
    known = saved.decode(content)
    if known is None:
        return f"{path} is not as it was written: {_SLOWER}"
    rest, connections = known
    data = _read(store, rest.size)
    line = _decode(data[: data.find(b"\n") + 1])
    bound = line is not None and line.kind == STATE and line.prev == rest.head
    if line is None or not bound or line.sha256 != hashlib.sha256(content).hexdigest():
        return f"{path} does not fit the manifest: {_SLOWER}"
    return _Saved(State(connections=connections, **msgspec.structs.asdict(rest)), data)


def _is_same(one: State, other: State) -> bool:
    """Whether two states say the same. (Of connections it is not saved which line was before theirs.)"""
    rest = [replace(state, connections=saved.Counted()) for state in (one, other)]
    return rest[0] == rest[1] and one.connections.table().equals(other.connections.table())


def _read(store: Path, begin: int = 0, end: int | None = None) -> bytes:
    """The manifest from a byte to another."""
    path = layout.manifest_path(store)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read() if end is None else file.read(end - begin)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _behind(store: Path, state: State, data: bytes) -> State:
    """The state, with what the lines behind it say. Raises StoreError."""
    path, begin = layout.manifest_path(store), state.size
    pending = list[Entry]()
    at, head, number, newer, wrong = 0, state.head, state.lines, 0, ""
    while (newline := data.find(b"\n", at)) >= 0:
        line, number = data[at : newline + 1], number + 1
        entry = _decode(line)
        if entry is None or entry.prev != head:
            if b"\0" in line and newline == len(data) - 1:
                break
            raise StoreError(f"{path}: line {number} was changed, or the one before it; restore it from a backup")
        at, head = newline + 1, hashlib.sha256(line).hexdigest()
        if not is_known(entry):
            newer = newer or number  # or it was changed: then the next line says so
        elif not is_sound(entry):
            wrong = wrong or f"line {number} says what no anetcon writes"
        if newer or wrong:
            continue  # what is newer decides what is right
        pending.append(entry)
        if entry.kind in WITHOUT_FILE:
            try:
                _take(state, pending)
            except WrongCommitError as error:
                wrong = f"line {number} {error}"
            state.reach(len(pending), begin + at, head)
            pending = []
    if newer:
        raise StoreError(f"{path}: line {newer} is of a newer version of anetcon: use that one to read it")
    if wrong:
        raise StoreError(f"{path}: {wrong}; restore it from a backup")
    return state


def is_known(line: Entry) -> bool:
    """Whether a line is of a kind that this version knows."""
    return line.kind in KINDS and (line.kind != COMMIT or line.why in WHYS)


def _take(state: State, lines: Sequence[Entry]) -> None:
    """Take lines in, the last of which is of no file. Raises WrongCommitError."""
    *files, last = lines
    if last.kind == STATE:
        state.saved = last.seal
    elif last.kind in OLD_COMMITS:
        state.commit(*old_lines.as_commit(state, files, last))
    else:
        state.require(files, last)
        state.commit(files, last)


class Link(NamedTuple):
    """A line of the chain: its number, counted from 1, the SHA-256 that the next line has as `prev`, what it says."""

    number: int
    digest: str
    line: Entry


def chain(store: Path) -> Iterator[Link]:
    """The lines, up to the last that fits the one before it. What they add up to is `replay`'s affair."""
    head = FIRST
    for number, line in enumerate(io.BytesIO(_read(store)), 1):
        entry = _decode(line) if line.endswith(b"\n") else None
        if entry is None or entry.prev != head:
            return
        head = hashlib.sha256(line).hexdigest()
        yield Link(number, head, entry)


def size(store: Path) -> int:
    """Bytes of the manifest as it is."""
    return _size(layout.manifest_path(store))


def size_of_state(store: Path) -> int:
    """Bytes of the saved state."""
    return _size(layout.state_path(store))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _decode(line: bytes) -> Entry | None:
    if b"\r" in line:  # JSON allows it between two words, and other programs begin another line there
        return None
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def commit(
    store: Path,
    state: State,
    why: Why,
    time: int,
    adds: Sequence[Entry] = (),
    removes: Sequence[str] = (),
    *,
    through: dict[str, int] | None = None,
    sources: Sequence[Read] = (),
    before: int | None = None,
) -> None:
    """Add files, and remove others, in one write, synced; `state` is brought up to date. `through`: how far the journal
    is sealed then, where that changes. Raises OSError: nothing is done then."""
    last = Entry(
        prev="",
        kind=COMMIT,
        why=why,
        seal=state.seal + (why is not Why.RETENTION),
        removes=tuple(removes),
        through=state.through if through is None else through,
        sources=tuple(sources),
        before=None if before is None else rfc3339(before),
        time=rfc3339(time),
    )
    state.require(adds, last)
    _extend(store, state, [*adds, last])


def save(store: Path, state: State) -> None:
    """Write what counts aside, for readers to begin with, and bind it into the chain. The line comes first: until the
    file is there, the one before fits its own line. Raises OSError: the manifest is whole all the same."""
    names = saved.Rest.__struct_fields__
    content = saved.encode(saved.Rest(**{name: getattr(state, name) for name in names}), state.connections)
    digest = hashlib.sha256(content).hexdigest()
    line = Entry(prev="", kind=STATE, seal=state.seal, sha256=digest, bytes=len(content), rows=state.lines)
    _extend(store, state, [line])
    group = layout.group()
    ondisk.replace(layout.state_path(store), content, group=-1 if group is None else group, sync=True)


def _extend(store: Path, state: State, lines: Sequence[Entry]) -> None:
    """Append lines behind the last that counts, in one write, synced, and take them in."""
    text, head, entries = b"", state.head, list[Entry]()
    for values in lines:
        entries.append(msgspec.structs.replace(values, prev=head, format=FORMAT))
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
        ondisk.sync_folder(store)
    _take(state, entries)
    state.reach(len(entries), state.size + len(text), head)


def _reserve(descriptor: int, size: int) -> None:
    """Keep room behind the end, where the file system can: so that a disk that is full can still be told what is to be
    removed from it. Fails silently: it is no promise."""
    libc = ctypes.CDLL(None)
    libc.fallocate(descriptor, FALLOC_FL_KEEP_SIZE, ctypes.c_int64(size), ctypes.c_int64(RESERVED))
