"""The saved state of a manifest, and the files of connections that count.

`manifest.state` is an Arrow file: a row for each file of connections that counts, and in its schema the rest (KEY,
JSON). A year has so many files that an Entry for each would take longer than the answer. So they stay
columns, and become entries when a question needs them. Pure; the manifest says whether a state may be believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from anetcon.errors import StoreError
from anetcon.store import layout
from anetcon.store.entry import Entry, Removed, is_sound, microseconds, rfc3339

KEY = b"anetcon.state.2"
OLD_KEY = b"anetcon.state"
"""Of versions that know no compaction: they are to read all lines, and to find that they do not know some."""

SCHEMA = pa.schema(
    [
        ("seal", pa.int64()),
        ("file", pa.string()),
        ("sha256", pa.binary(32)),
        ("bytes", pa.int64()),
        ("rows", pa.int64()),
        ("from", pa.int64()),
        ("to", pa.int64()),
        ("format", pa.int64()),
        ("content", pa.string()),
    ]
)
"""What is known of a file of connections; times in microseconds, null as in a manifest's line."""

_NONE = SCHEMA.empty_table()

BAD = (pa.ArrowException, msgspec.DecodeError, OSError, MemoryError, ValueError, TypeError, LookupError)
"""What bytes raise that are no saved state."""


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything else of a `state.State`."""

    seal: int
    through: dict[str, int]
    snapshots: dict[str, Entry]
    size: int
    lines: int
    head: str
    saved: int
    removed: Removed | None
    imports: set[int]
    leaving: dict[str, int] = {}


class Total(NamedTuple):
    """Of all files: their bytes, and the earliest time that all rows of one had ended by."""

    bytes: int
    oldest: int | None


class Counted:
    """The files of closed connections that count, oldest commit first: those of a saved state, then those since."""

    def __init__(self, entries: Iterable[Entry] = (), saved: pa.Table | None = None) -> None:
        self._saved = _NONE if saved is None else saved
        self._new = {entry.file: entry for entry in entries}
        self._total: Total | None = None

    def __iter__(self) -> Iterator[Entry]:
        yield from _entries(self._saved)
        yield from self._new.values()

    def __len__(self) -> int:
        return len(self._saved) + len(self._new)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def append(self, entry: Entry) -> None:
        """One more counts."""
        self._new[entry.file] = entry
        self._total = None

    def without(self, files: Collection[str]) -> set[str]:
        """Those of these that do not count."""
        unknown = {file for file in files if file not in self._new}
        return unknown.difference(self._saved["file"].filter(self._are(unknown)).to_pylist()) if unknown else unknown

    def named(self, files: Collection[str]) -> list[Entry]:
        """The entries of these files, as far as they count."""
        saved = _entries(self._saved.filter(self._are(files))) if len(self._saved) else ()
        return [*saved, *(self._new[file] for file in files if file in self._new)]

    def remove(self, files: Collection[str]) -> Counted:
        """These count no more; they alone."""
        gone, self._total = Counted(), None
        gone._new = {file: self._new.pop(file) for file in files if file in self._new}
        if len(gone) < len(files):
            chosen = self._are(files)
            gone._saved, self._saved = self._saved.filter(chosen), self._saved.filter(pc.invert(chosen))
        return gone

    def _are(self, files: Collection[str]) -> pa.ChunkedArray:
        return pc.is_in(self._saved["file"], pa.array(sorted(files), pa.string()))

    def total(self) -> Total:
        """Of all of them; found once after each change, since to go through a year's takes a tenth of a second."""
        if self._total is None:
            size = (pc.sum(self._saved["bytes"]).as_py() or 0) + sum(entry.bytes for entry in self._new.values())
            ends = [microseconds(entry.end) for entry in self._new.values() if entry.end is not None]
            oldest = pc.min(self._saved["to"]).as_py()
            self._total = Total(size, min(ends if oldest is None else [*ends, oldest], default=None))
        return self._total

    def covering(self, first: int | None, last: int | None) -> list[Entry]:
        """Those that may have rows between two times (`Entry.covers`)."""
        near = self._saved
        if last is not None:
            near = near.filter(pc.fill_null(pc.less_equal(near["from"], last), fill_value=True))
        if first is not None:
            near = near.filter(pc.fill_null(pc.greater_equal(near["to"], first), fill_value=True))
        return [*_entries(near), *(entry for entry in self._new.values() if entry.covers(first, last))]

    def ended(self, before: int | None = None) -> list[Entry]:
        """Those whose rows have all ended, before a time."""
        over = self._saved.filter(pc.is_valid(self._saved["to"]))
        if before is not None:
            over = over.filter(pc.less(over["to"], before))
        new = [entry for entry in self._new.values() if entry.end is not None]
        return [*_entries(over), *(e for e in new if before is None or microseconds(e.end or "") < before)]

    def last_seal(self, without: Collection[int]) -> int | None:
        """The latest commit of any that compaction did not write, but for these."""
        seals = self._saved["seal"].filter(pc.invert(_are_compacted(self._saved["file"])))
        if without:
            seals = seals.filter(pc.invert(pc.is_in(seals, pa.array(sorted(without), pa.int64()))))
        own = (entry.seal for entry in self._new.values() if not layout.span_of_file(entry.file))
        found = [pc.max(seals).as_py(), *(seal for seal in own if seal not in without)]
        return max((seal for seal in found if seal is not None), default=None)

    def of_seals(self, seals: Collection[int]) -> list[Entry]:
        """Those of some commits."""
        same = self._saved.filter(pc.is_in(self._saved["seal"], pa.array(sorted(seals), pa.int64())))
        return [*_entries(same), *(entry for entry in self._new.values() if entry.seal in seals)]

    def table(self) -> pa.Table:
        """All of them, as they are saved."""
        new = self._new.values()
        rows = {
            "seal": [entry.seal for entry in new],
            "file": [entry.file for entry in new],
            "sha256": [bytes.fromhex(entry.sha256) for entry in new],
            "bytes": [entry.bytes for entry in new],
            "rows": [entry.rows for entry in new],
            "from": [entry.start and microseconds(entry.start) for entry in new],
            "to": [entry.end and microseconds(entry.end) for entry in new],
            "format": [entry.format for entry in new],
            "content": [entry.content for entry in new],
        }
        return pa.concat_tables([self._saved, pa.table(rows, SCHEMA)]).combine_chunks()


def _are_compacted(files: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.match_substring_regex(files, rf"/(?:{layout.LONG_PREFIX})?(?:{layout.HOURLY}|{layout.DAILY})\.\d+\.\w+$")


def _entries(rows: pa.Table) -> Iterator[Entry]:
    """Raises StoreError when one is of a file that no anetcon writes, so that none outside of the store is opened."""
    for row in rows.to_pylist():
        start, end = (None if row[name] is None else rfc3339(row[name]) for name in ("from", "to"))
        same = {name: row[name] for name in ("seal", "file", "bytes", "rows", "format", "content")}
        digest = row["sha256"].hex()
        entry = Entry(prev="", kind="connections", sha256=digest, start=start, end=end, **same)
        if not is_sound(entry):
            raise StoreError("manifest.state says what no anetcon writes; remove it: the daemon writes it again")
        yield entry


def encode(rest: Rest, connections: Counted) -> bytes:
    """The content of `manifest.state`. Raises ValueError where a digest is none."""
    table = connections.table()
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_file(sink, SCHEMA.with_metadata({KEY: msgspec.json.encode(rest)}), options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def decode(content: bytes) -> tuple[Rest, Counted] | None:
    """What such content says; None when it is none."""
    try:
        options = pa.ipc.IpcReadOptions(use_threads=False)
        table = pa.ipc.open_file(pa.py_buffer(content), options=options).read_all()
        table.validate(full=True)
        said = table.schema.metadata or {}
        if OLD_KEY in said:
            table = table.append_column("content", pa.array([""] * len(table), pa.string()))
        rest = msgspec.json.decode(said[OLD_KEY if OLD_KEY in said else KEY], type=Rest)
        good = table.schema.equals(SCHEMA) and all(map(is_sound, rest.snapshots.values()))
        return (rest, Counted(saved=table)) if good and rest.size >= 0 else None
    except BAD:
        return None
