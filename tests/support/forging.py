"""Journals with good checksums whose bytes are not what they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anetcon.journal.read import (
    parse_line,
)
from anetcon.journal.write import index_line, segment_path


def forged(folder: Path, number: int, change: Callable[[bytearray], object], line: int = 1) -> None:
    """Change the bytes of one line of a segment, and its checksum with them."""
    data, index = segment_path(folder, number), segment_path(folder, number, "index")
    lines = index.read_bytes().splitlines(keepends=True)
    said = parse_line(lines[line].rstrip(b"\n"))
    assert said is not None
    content = bytearray(data.read_bytes())
    payload = content[said.offset : said.offset + said.length]
    change(payload)
    content[said.offset : said.offset + said.length] = payload
    data.write_bytes(content)
    lines[line] = index_line(said.offset, bytes(payload), said.rows, said.start, said.end)
    index.write_bytes(b"".join(lines))
