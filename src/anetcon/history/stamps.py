"""The times of syslog's stamps in columns: `Nov 20 13:05:09`, which has neither year nor zone, and RFC 3339.

Stamps repeat, so each minute is parsed once. The year is given (`turns`). An hour that clocks went through twice is
told apart by the order of lines.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import numpy as np

from anetcon.decode.columns import Array
from anetcon.decode.logline import Known, Texts

SECOND = 1_000_000
MINUTE = 60 * SECOND
MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}

TRADITIONAL = rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
PATTERN = rb"(%s|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)([.,]\d{1,9})?(Z|[+-]\d\d:?\d\d)?" % TRADITIONAL
"""Groups: to the second, fraction, zone."""

BAD_TIME = -(1 << 60)

_MOST = 1 << 17
_TURNED_BACK = 1_200
"""Seconds that a stamp must be before the one before it to be of the second time through the hour."""


class Stamps:
    """The times of one file's stamps, in the order of its lines. `year` is that of stamps that have none, to be set by
    the caller as it goes."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self.year: int | None = None
        self.zoneless = 0
        """How many stamps had no zone."""
        self.folded = 0
        """How many stamps were of an hour that was twice."""
        self._zones = Known(_offset)
        self._fractions = Known(_fraction)
        self._days = Known(day_code)
        self._seconds = Known(_second)
        self._whole = Known(lambda text: self._read(text, None))
        self._utc = Known(_plain)
        self._of_year: dict[int | None, Known] = {}
        self._twice: dict[int, int] = {}
        self._fold = (0, False)

    def mark(self) -> tuple[Any, ...]:
        """Where in the file this is, for `back`."""
        return self._fold, self.folded, self.zoneless

    def back(self, mark: tuple[Any, ...]) -> None:
        """Go back there: lines are going to be read again."""
        self._fold, self.folded, self.zoneless = mark

    def column(self, seconds: Texts, fractions: Texts, zones: Texts) -> tuple[Array, Array]:
        """Microseconds, and which stamps are times."""
        for known in (self._fractions, self._whole, self._utc, *self._of_year.values()):
            if len(known) > _MOST:
                known.clear()
        if all(zones):
            found = self._by_minute(self._utc, seconds) - self._zones.column(zones)
        elif not any(zones):
            found = self._local(seconds)
        else:
            found = np.empty(len(seconds), np.int64)
            for zoned in (True, False):
                rows = [row for row, zone in enumerate(zones) if (zone != b"") == zoned]
                texts = tuple(seconds[row] for row in rows)
                offsets = self._zones.column(tuple(zones[row] for row in rows))
                found[rows] = self._by_minute(self._utc, texts) - offsets if zoned else self._local(texts)
        good = found > BAD_TIME // 2
        if any(fractions):
            found = found + self._fractions.column(fractions)
        return found, good

    def _local(self, seconds: Texts) -> Array:
        """Stamps without a zone."""
        self.zoneless += len(seconds)
        days = self._days.column(tuple(text[:6] for text in seconds))
        found = self._with_years(seconds, days) if days.any() else self._by_minute(self._whole, seconds)
        return self._unfold(found) if self._twice else found

    def _with_years(self, seconds: Texts, days: Array) -> Array:
        """Each row's time; rows of day 0 have a year of their own."""
        known = self._of_year.setdefault(self.year, Known(lambda text, year=self.year: self._read(text, year)))  # type: ignore[misc]
        if days.all():
            return self._by_minute(known, seconds)
        found = np.empty(len(seconds), np.int64)
        for rows, by in ((np.flatnonzero(days), known), (np.flatnonzero(days == 0), self._whole)):
            found[rows] = self._by_minute(by, tuple(seconds[row] for row in rows))
        return found

    def _by_minute(self, known: Known, seconds: Texts) -> Array:
        """Times to the second by a table of minutes: few lines share a second, many a minute."""
        minutes = known.column(tuple(text[:-3] for text in seconds))
        return minutes + self._seconds.column(tuple(text[-2:] for text in seconds))

    def _read(self, text: bytes, year: int | None) -> int:
        """Microseconds of a stamp to the minute, in `zone`; BAD_TIME when it is none, as 29 February in most years."""
        try:
            if year is None:
                at = datetime.fromisoformat(text[:10].decode() + "T" + text[11:].decode())
            else:
                hour, minute = map(int, text[7:].split(b":"))
                at = datetime(year, MONTHS[text[:3]], int(text[4:6]), hour, minute)
            first, later = (_instant(at.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1))
        except (ValueError, OverflowError, KeyError):
            return BAD_TIME
        if later > first:
            self._twice[first] = later
        return first

    def _unfold(self, found: Array) -> Array:
        """Times of an hour that was twice: the second time when the order of lines says so."""
        rows = np.flatnonzero(np.isin(found - found % MINUTE, np.fromiter(self._twice, np.int64, len(self._twice))))
        if len(rows):
            found = found.copy()
            latest, second = self._fold
            for row in rows.tolist():
                at = int(found[row])
                near = abs(at - latest) < 2 * 3600 * SECOND
                second = near and (second or at < latest - _TURNED_BACK * SECOND)
                latest = at if not near or second else max(latest, at)
                if second:
                    found[row] = self._twice[at - at % MINUTE] + at % MINUTE
            self._fold = latest, second
            self.folded += len(rows)
        return found


def day_code(text: bytes) -> int:
    """A number that orders the days of a year, of a stamp that has no year; 0 for one that has, or that is no day."""
    day = int(text[4:6]) if text[:3] in MONTHS else 0
    return MONTHS[text[:3]] * 32 + day if 0 < day < 32 else 0


def _instant(at: datetime) -> int:
    return int(at.timestamp()) * SECOND


def _plain(text: bytes) -> int:
    try:
        return _instant(datetime.fromisoformat(text[:10].decode() + "T" + text[11:].decode()).replace(tzinfo=UTC))
    except ValueError:
        return BAD_TIME


def _second(text: bytes) -> int:
    """A leap second is the first of the next minute."""
    return int(text) * SECOND if text.isdigit() and int(text) <= 60 else BAD_TIME


def _fraction(text: bytes) -> int:
    """`.123456789` in microseconds."""
    return int(text[1:7].ljust(6, b"0")) if text else 0


def _offset(text: bytes) -> int:
    """`Z`, `+01:00` or `+0100` in microseconds."""
    if len(text) < 5:
        return 0
    length = timedelta(hours=int(text[1:3]), minutes=int(text[-2:])) // timedelta(microseconds=1)
    return -length if text[:1] == b"-" else length
