"""What was recorded against what was made: each once, complete, and with the right translation?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from anetcon.formats import typed
from bench.loads import KEY, TRANSLATED, Columns, Made


@dataclass
class Found:
    """What a program has of a load. None: it does not tell."""

    connections: int
    """Connections of those made that it has at all."""
    ended: int | None = None
    """... with their end."""
    doubles: int | None = None
    """Records of a connection beyond its first."""
    strangers: int | None = None
    """Records of connections that were not made."""
    mistranslated: int | None = None
    """Connections whose translated side is not what the far side saw."""
    events: int = 0
    """Starts and ends recorded: what its CPU time is divided by."""
    size: dict[str, float] = field(default_factory=dict)
    """Bytes a connection recorded, by kind of file."""
    lines: int | None = None
    """Lines of its text logs, each of a connection of its own."""
    slow: float | None = None
    """Share of events that took the slow decoder."""


def keys(columns: Columns) -> NDArray[np.bytes_]:
    """One value a row that tells connections apart."""
    parts = [np.ascontiguousarray(columns[name]) for name in KEY]
    rows = np.hstack([part.view(np.uint8).reshape(len(part), -1) for part in parts])
    return np.ascontiguousarray(rows).view(f"S{rows.shape[1]}")[:, 0]


def match(made: Made, rows: Columns, found: Found) -> None:
    """Compare whole records with what was made; fills in connections, ended, doubles, strangers, mistranslated."""
    theirs, ours = keys(rows), keys(made.columns)
    unique, first, counts = np.unique(theirs, return_index=True, return_counts=True)
    order = np.argsort(ours)
    place = np.minimum(np.searchsorted(ours, unique, sorter=order), len(ours) - 1)
    known = ours[order][place] == unique
    found.connections = int(known.sum())
    found.strangers = int((~known).sum())
    found.doubles = int((counts[known] - 1).sum())
    found.ended = int(rows["ended"][first[known]].sum())
    if made.translated:
        mine, record = order[place[known]], first[known]
        wrong = np.zeros(len(mine), bool)
        for name in TRANSLATED:
            differs = made.columns[name][mine] != rows[name][record]
            wrong |= differs.reshape(len(mine), -1).any(axis=1)
        found.mistranslated = int(wrong.sum())


def stored(store: Path) -> Columns:
    """Every connection in a store's finished files."""
    files = sorted(store.glob("node=*/date=*/*.parquet"))
    wanted = [*KEY, *TRANSLATED, "end"]
    if not files:
        return {name: np.zeros((0, 16) if name.endswith("_ip") else 0, np.uint8) for name in [*wanted, "ended"]}
    read = pa.concat_tables(pq.ParquetFile(file).read(wanted) for file in files)
    table = typed(read, "connections").combine_chunks()  # a port has other bytes in a file: it is signed there
    columns: Columns = {name: _values(table.column(name).chunk(0)) for name in wanted[:-1]}
    columns["ended"] = table.column("end").is_valid().to_numpy()
    return columns


def _values(array: Any) -> NDArray[Any]:
    if not pa.types.is_fixed_size_binary(array.type):
        plain: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return plain
    raw = np.frombuffer(array.buffers()[1], np.uint8)
    return raw.reshape(-1, 16)[array.offset : array.offset + len(array)]


LOG_LINE = re.compile(rb"SRC=(\S+) DST=(\S+) .*?PROTO=(\S+) (?:SPT=(\d+) DPT=(\d+)|TYPE=(\d+) CODE=\d+ ID=(\d+))?")
EVENT_LINE = re.compile(
    rb"\[(NEW|DESTROY)\] (\w+) .*?src=(\S+) dst=(\S+) (?:sport=(\d+) dport=(\d+)|type=\d+ code=\d+ id=(\d+))"
)
JSON_LINE = re.compile(
    rb'"orig.ip.protocol": (\d+), (?:"orig.l4.sport": (\d+), "orig.l4.dport": (\d+))?'
    rb'.*"ct.id": (\d+), "ct.event": (\d),.*"src_ip": "([^"]+)", "dest_ip": "([^"]+)"'
)


def log_lines(files: Iterable[Path], mark: bytes = b"") -> tuple[int, int]:
    """Lines of LOG's kind that contain `mark`, and how many connections they are of."""
    lines, seen = 0, set()
    for matched in _matches(LOG_LINE, files):
        if mark in matched.string:
            lines += 1
            seen.add(matched.groups())
    return lines, len(seen)


def event_lines(files: Iterable[Path]) -> tuple[int, int, int]:
    """Starts, ends and distinct connections in the output of `conntrack -E`."""
    kinds, seen = Counter[bytes](), set()
    for matched in _matches(EVENT_LINE, files):
        kinds[matched[1]] += 1
        seen.add(matched.groups()[1:])
    return kinds[b"NEW"], kinds[b"DESTROY"], len(seen)


def json_lines(files: Iterable[Path]) -> tuple[int, int, int]:
    """The same of ulogd's JSON; an ICMP echo's id is not in it, conntrack's is."""
    kinds, seen = Counter[bytes](), set()
    for matched in _matches(JSON_LINE, files):
        kinds[matched[5]] += 1
        seen.add(matched.group(1, 2, 3, 4, 6, 7))
    return kinds[b"1"], kinds[b"4"], len(seen)


def _matches(pattern: re.Pattern[bytes], files: Iterable[Path]) -> Iterator[re.Match[bytes]]:
    for file in files:
        with file.open("rb") as lines:
            yield from filter(None, map(pattern.search, lines))
