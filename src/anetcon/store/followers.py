"""Which journal segments are kept for followers, and which are kept no longer. Reads; refuses to remove.

A follower says in `followers/<name>.json` which segment is the oldest it needs (`keep`). Sealed segments are kept for
it up to a size. What is given up then is missing where that follower writes, and nowhere else: the record has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anetcon.journal.segment import Segment
from anetcon.journal.write import segment_path, segments
from anetcon.store import layout

PRESSED = 50_000_000
"""Bytes of sealed journal that are kept for followers when there is no room on the disk."""


class GivenUp(NamedTuple):
    """Segments up to `segment` are kept no longer: the time they cover, and their rows."""

    segment: int
    start: int
    end: int
    rows: int


def needed(store: Path) -> Iterator[int]:
    """The oldest segment of connections that each follower still needs; 0 when it cannot be told."""
    for path in layout.follower_path(store, "any").parent.glob("*.json"):
        try:
            yield int(json.loads(path.read_bytes())["keep"])
        except (OSError, ValueError, KeyError, TypeError):
            yield 0


def give_up(store: Path, through: int, limit: int) -> GivenUp | None:
    """The oldest of the segments, sealed up to `through`, that are too many for `limit` bytes; None when none is."""
    folder = layout.journal_folder(store, "connections")
    oldest = min(needed(store), default=through + 1)
    kept = {
        number: size(store, "connections", number) for number in segments(folder)[:-1] if oldest <= number <= through
    }
    excess = sum(kept.values()) - limit
    times = []
    last = 0
    for number, bytes_ in kept.items():
        if excess <= 0:
            break
        excess -= bytes_
        last = number
        times += [time for time in [Segment(folder, number).covered] if time is not None]
    if not times:
        return None
    starts, ends, rows = zip(*times, strict=True)
    return GivenUp(last, min(starts), max(ends), sum(rows))


def size(store: Path, table: str, number: int) -> int:
    """Bytes of a segment; 0 when it is gone."""
    try:
        return segment_path(layout.journal_folder(store, table), number).stat().st_size
    except FileNotFoundError:
        return 0
