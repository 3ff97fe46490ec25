"""A segment as it was at one moment, for whoever asks more than one thing about it.

Its index is read when it is made, and its bytes are checked once, however much is asked. What is written to it
meanwhile is not looked at, and so is not taken for damage. Raises FileNotFoundError when the segment is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from anetcon.journal.read import Flush, Line, data, good_lines, parse_line, unpacked
from anetcon.journal.write import segment_path


class Lost(NamedTuple):
    """What a segment cannot give back: the time its bad lines cover, as far as they tell it, and how many rows."""

    start: int | None
    end: int
    rows: int | None


class Segment:
    """One segment of a table's folder."""

    def __init__(self, folder: Path, number: int) -> None:
        with segment_path(folder, number, "index").open("rb") as index:
            content = index.read()
            self._written = os.fstat(index.fileno()).st_mtime_ns // 1000
        self.folder, self.number = folder, number
        self.closed = content.endswith(b"closed\n")
        """Whether its writer closed it."""
        self.keep = False
        """Whether its rows stay in memory once they are read: who knows that they are few may say so."""
        self._lines = content.split(b"\n")[:-1]
        self._kept: list[Flush] | None = None
        self._sound: int | None = None

    @cached_property
    def good(self) -> list[Line]:
        """Its lines up to the last whose checksum holds."""
        return [line for _, line, _, _ in good_lines(self.folder, self.number, lines=self._lines)]

    @property
    def covered(self) -> tuple[int, int, int] | None:
        """From when to when its good lines go, and how many rows they have; None when it has none."""
        return (self.good[0].start, self.good[-1].end, sum(line.rows for line in self.good)) if self.good else None

    def flushes(self) -> Iterator[Flush]:
        """Its good flushes."""
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        sound = 0
        for flush in unpacked(self._checked(), self.folder, self.number):
            sound += 1
            if self.keep:
                kept.append(flush)
            yield flush
        self._sound = sound
        self._kept = kept if self.keep else None

    def _checked(self) -> Iterator[tuple[int, Line, bytes, bytes]]:
        """Its good lines with their bytes, which are not checked again."""
        schema = parse_line(self._lines[0]) if self.good else None
        if schema is None:
            return
        view = data(self.folder, self.number)
        head = bytes(view[schema.offset : schema.offset + schema.length])
        for number, line in enumerate(self.good, 1):
            yield number, line, bytes(view[line.offset : line.offset + line.length]), head

    def lost(self) -> Lost | None:
        """What is lost behind its last good flush; None when every line there is holds. A last line that is only half
        there was never written: that is no damage."""
        if self._sound is None:
            for _ in self.flushes():
                pass
        good = self._sound or 0
        until = self.good[good - 1].end if good else None
        raws = [raw for raw in self._lines if raw != b"closed"]
        bad = [parse_line(raw) for raw in raws[good + 1 :]]
        if not bad:
            return None
        told = [line for line in bad if line is not None]
        start = until if until is not None else min((line.start for line in told), default=None)
        whole = told and (told[-1].start < told[-1].end or not told[-1].rows)  # else its rows are of a time behind it
        latest = max(line.end for line in told) if whole else self._written
        end = min(self._written, latest)  # a bad line may say anything
        return Lost(start, max(end, start or end), sum(line.rows for line in told) if len(told) == len(bad) else None)


def torn(these: Sequence[Segment]) -> dict[int, Lost]:
    """What may be lost of the end of each segment of connections that was not closed although it has a successor: until
    that one begins. Its writer was killed, which is a gap of its own, or lines are gone. `these` are a segment and all
    behind it, oldest first."""
    found: dict[int, Lost] = {}
    if all(segment.closed for segment in these[:-1]):
        return found
    begins: int | None = None
    for segment in reversed(these):
        covered = segment.covered
        until = covered[1] if covered else None
        if not segment.closed and begins is not None and (until is None or until < begins):
            found[segment.number] = Lost(until, begins, None)
        if covered is not None:
            begins = covered[0] if begins is None else min(begins, covered[0])
    return found
