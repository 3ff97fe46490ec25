"""The manifest as a log that is signed: its committed lines, and the root over them at any size."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from anetcon.errors import StoreError
from anetcon.proof.merkle import Range
from anetcon.store import layout
from anetcon.store.entry import WITHOUT_FILE, Entry
from anetcon.store.state import FIRST

_DECODER = msgspec.json.Decoder(Entry)


class Log(NamedTuple):
    """So many lines are committed, under this root; `roots` are those at the sizes that were asked for. `new` are the
    files that lines behind the first of these sizes add and that none removes, with the numbers of their lines. `gaps`
    is the digest of the files of gaps that count."""

    size: int
    root: bytes
    roots: dict[int, bytes]
    new: dict[str, tuple[int, Entry]]
    gaps: str


def lines(store: Path) -> Iterator[bytes]:
    """The whole lines of the manifest, as they are. Raises StoreError."""
    path = layout.manifest_path(store)
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def read(store: Path, sizes: Collection[int]) -> Log:
    """Read it, as far as it is committed. Raises StoreError where a line does not fit the one before it."""
    over, roots, wanted = Range(), {0: Range().root()}, frozenset(sizes)
    first, head, found = min(wanted, default=0), FIRST, Log(0, Range().root(), {}, {}, "")
    new, gaps = dict[str, tuple[int, Entry]](), dict[str, str]()
    for number, line in enumerate(lines(store), 1):
        try:
            entry = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            entry = None
        if entry is None or entry.prev != head:
            if b"\0" in line:
                break  # what a crash left
            raise StoreError(f"{layout.manifest_path(store)}: line {number} was changed, or the one before it")
        head = hashlib.sha256(line).hexdigest()
        over.append(line)
        if number in wanted:
            roots[number] = over.root()
        if entry.kind == "gaps":
            gaps[layout.slot_of_file(entry.file)] = f"{entry.file} {entry.sha256}\n"
        if entry.file and number > first:
            new[entry.file] = number, entry
        for gone in (*entry.removes, *entry.replaced):
            new.pop(gone, None)
        if entry.kind in WITHOUT_FILE:
            found = Log(number, over.root(), roots, dict(new), _digest(gaps))
    return found._replace(roots=roots)


def _digest(gaps: dict[str, str]) -> str:
    return hashlib.sha256("".join(text for _, text in sorted(gaps.items())).encode()).hexdigest()
