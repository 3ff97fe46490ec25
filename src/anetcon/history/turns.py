"""How many new years a log went through, line by line: what traditional stamps, which have no year, leave to the order
of the lines. All lines are looked at, since the years may turn between two of ours.

Months that go back by more than half a year are a new year. That misses a silence of more than half a year after which
they go back by less, or not at all: where two lines of one host have the kernel's clock (`[12345.678901]`, seconds
since the host started), it tells how long it was. A host whose clock was lost begins with the first day of a year
until it is told the time: such a step, and back to where it came from, is none. Steps back that nothing explains are
counted.
"""

from __future__ import annotations

import re
from itertools import pairwise

from anetcon.history.stamps import MONTHS, day_code

HALF = 6
"""Months: a step back by more is a new year."""

LEAP_DAY = day_code(b"Feb 29")

_STAMPS = re.compile(
    rb"\n[\0\xef\xbb\xbf]*(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d) \d\d:\d\d:\d\d"
    rb"(?: ([^ \n]{1,80}) kernel: ?\[ *(\d{1,11})\.)?"
)
"""The day of a traditional stamp at the beginning of a line; of a line of the kernel, its host and clock. It begins
with the newline before: what begins with a byte is searched for several times as fast as what begins with `^`."""

_FIRST, _LAST = (33, 34), (12 * 32 + 30, 12 * 32 + 31)
"""The first and the last days of a year, as `day_code` has them."""

_DAY, _YEAR = 86_400, 365.2425
_LATE = 7.0
"""Days that lines may come late, from a host that could not send them."""

_SURE = 5.0
"""Days that a clock of the kernel may be off, or a host asleep: beyond, it was started anew in between."""

_LOST = 10.0
"""Days, as `_of_year` has them, that a host may be without its time."""

_HOSTS = 10_000

Stamp = tuple[bytes, bytes, bytes]


class Turns:
    """Walks through the lines of one file."""

    def __init__(self) -> None:
        self.turned = 0
        """New years until now."""
        self.first = self.day = 0
        """The day of the first and of the latest stamp, as `day_code` has it; 0 while there was none."""
        self.leap: int | None = None
        """`turned` at the latest 29 February."""
        self.back = 0
        """How often the months went back, by less than makes a new year, or a clock was lost."""
        self._left = 0
        """The day before the latest step to the first or last days of a year, while it is these."""
        self._text = b""
        self._clocks: dict[bytes, tuple[int, int, bytes]] = {}

    @property
    def doubtful(self) -> bool:
        """Whether the latest new year may be a clock that was lost."""
        return self._left > 0

    def pieces(self, block: bytes) -> list[tuple[bytes, int]]:
        """The block, cut where a year turns, with what `turned` is for each piece."""
        stamps: list[Stamp] = _STAMPS.findall(b"\n" + block)
        days = [self._text, *(stamp[0] for stamp in stamps)]
        changes = [number for number, (one, other) in enumerate(pairwise(days)) if one != other]
        self._text = days[-1]
        begun, cuts = self.turned, list[tuple[int, int]]()
        edges = [*changes, len(stamps)]
        self._remember(stamps[: edges[0]])
        for number, following in pairwise(edges):
            if self._new_day(stamps[number]):
                cuts.append((number, self.turned))
            self._remember(stamps[number:following])
        return _cut(block, begun, cuts) if cuts else [(block, begun)]

    def _new_day(self, stamp: Stamp) -> int:
        """Take in the first line of another day; how many years later it is."""
        day = day_code(stamp[0])
        if not day:
            return 0
        years = self._by_clock(day, stamp)
        if years is None:
            years = self._by_month(day)
        self.first = self.first or day
        self.turned, self.day = self.turned + years, day
        if day == LEAP_DAY:
            self.leap = self.turned
        return years

    def _by_month(self, day: int) -> int:
        if self.day in _FIRST and day in _LAST:
            return -1  # a line can be late
        if self._is_told_the_time(day):
            self.back += 1
            return -1 if self.day in _FIRST else 0
        months = self.day // 32 - day // 32
        if day not in (*_FIRST, *_LAST):
            self._left = 0
        elif abs(months) > HALF:
            self._left = self.day
        if months > HALF:
            return 1
        self.back += self.day > 0 and _of_year(self.day) - _of_year(day) > _LATE
        return 0

    def _is_told_the_time(self, day: int) -> bool:
        """Whether a host whose clock was lost is where it was before: then the year did not turn in between."""
        far = abs(self.day // 32 - day // 32) > HALF
        return far and self._left > 0 and 0 <= _of_year(day) - _of_year(self._left) <= _LOST

    def _by_clock(self, day: int, stamp: Stamp) -> int | None:
        """Years by the clock of the kernel; None where it does not tell."""
        _, host, clock = stamp
        if host not in self._clocks:
            return None
        turned, before, then = self._clocks[host]
        passed = (int(clock) - int(then)) / _DAY
        years = (passed - _of_year(day) + _of_year(before)) / _YEAR
        if passed < 0 or abs(years - round(years)) * _YEAR > _SURE:
            return None
        return turned + round(years) - self.turned

    def _remember(self, stamps: list[Stamp]) -> None:
        """The latest clock of each host, on the day that it now is."""
        if len(self._clocks) > _HOSTS:
            self._clocks.clear()
        if self.day:
            self._clocks.update({host: (self.turned, self.day, clock) for _, host, clock in stamps if host})


def _cut(block: bytes, turned: int, cuts: list[tuple[int, int]]) -> list[tuple[bytes, int]]:
    """The pieces of a block, and what holds for each. `cuts`: before which stamps, and what holds from there."""
    places = [match.start() for match in _STAMPS.finditer(b"\n" + block)]
    edges = [0, *(places[number] for number, _ in cuts), len(block)]
    held = [turned, *(since for _, since in cuts)]
    return [(block[begin:end], of) for (begin, end), of in zip(pairwise(edges), held, strict=True) if end > begin]


def _of_year(day: int) -> float:
    """Which day of a year it is, to about a day."""
    return (day // 32 - 1) * _YEAR / len(MONTHS) + day % 32
