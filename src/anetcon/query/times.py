"""Read a time as a person writes it, and say how it was read.

RFC 3339 (`2026-11-20T13:05:09.25Z`), the same with a space, without seconds, without a time of day or without a zone;
`now`, `10 minutes ago`, `yesterday`, `today 13:05`; seconds since 1970. A time without a zone is UTC unless --tz says
otherwise. Refuses whatever could be meant in two ways. Microseconds are the unit everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

SECOND = 1_000_000
LATEST = 7_258_118_400 * SECOND
"""2200-01-01: a number of seconds beyond is not one (milliseconds, most often)."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")
_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?|an?)\s*(s|sec|m|min|minute|h|hour|second|d|day|w|week)s?\s+ago")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|m|min|h|d|w)?")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}|today|yesterday)"
    r"(?:[t ]\s*([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?\s*(z|utc|[+-][0-9]{2}:?[0-9]{2})?)?"
)


@dataclass(frozen=True)
class AskedTime:
    """A time in microseconds; `note` says what the reader must know about how it was read."""

    us: int
    note: str = ""

    def __str__(self) -> str:
        return rfc3339(self.us)

    def notes(self, text: str) -> list[str]:
        """How a text was read as it, in words."""
        return [f"{text!r} was read as {spoken(self.us)} UTC", *([self.note] if self.note else [])]


def rfc3339(us: int) -> str:
    """A time for programs, as records have it: UTC with microseconds."""
    whole, fraction = divmod(us, SECOND)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"


def spoken(time: int | str) -> str:
    """A time for people, of microseconds or as programs write it: UTC, and no part of a second where there is none."""
    text = rfc3339(time) if isinstance(time, int) else time
    whole, _, fraction = text.removesuffix("Z").replace("T", " ").partition(".")
    return f"{whole}.{fraction}".rstrip("0").removesuffix(".") if fraction else whole


def moment(text: str, zone: tzinfo = UTC, now: int | None = None) -> AskedTime:
    """The moment a text stands for. Raises ValueError with a sentence when it stands for none."""
    words = " ".join(text.lower().split())
    if now is None:
        now = int(datetime.now(UTC).timestamp() * SECOND)
    if words == "now":
        return AskedTime(now)
    if _NUMBER.fullmatch(words):
        return AskedTime(_epoch(words))
    if ago := _AGO.fullmatch(words):
        number = 1.0 if ago[1].startswith("a") else float(ago[1])
        return AskedTime(_within_range(now - round(number * _UNITS[ago[2][0]] * SECOND), text))
    if match := _DATE_TIME.fullmatch(words):
        return _date_time(match, text, zone, now)
    raise ValueError(
        f"{text!r} is not a time: write it like 2026-11-20T13:05:09Z, '2026-11-20 13:05:09', '10 minutes ago' or "
        f"seconds since 1970"
    )


def duration(text: str) -> int:
    """A length of time, `60s`, `1.5h`, `90` (seconds), in microseconds. Raises ValueError with a sentence."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not a length of time: write it like 60s, 5m, 2h or 1d")
    factor = {"us": 1, "ms": 1000}.get(match[2] or "s") or _UNITS[(match[2] or "s")[0]] * SECOND
    length = float(match[1]) * factor
    if length > LATEST:
        raise ValueError(f"{text!r} is too long")
    return round(length)


def zone_named(name: str) -> tzinfo:
    """The time zone of --tz: a name like Europe/Madrid, an offset like +02:00. Raises ValueError with a sentence."""
    from zoneinfo import ZoneInfo

    if name.upper() in ("UTC", "Z"):
        return UTC
    if re.fullmatch(r"[+-][0-9]{2}:?[0-9]{2}", name):
        return _offset(name)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # whatever ZoneInfo says of a name that is none, or of a path
        raise ValueError(f"there is no time zone {name!r}: write it like Europe/Madrid, UTC or +02:00") from None


def _offset(text: str) -> tzinfo:
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:
        raise ValueError(f"{text!r} is not an offset from UTC")
    length = timedelta(hours=hours, minutes=minutes)
    return timezone(-length if text[0] == "-" else length)


def _epoch(digits: str) -> int:
    whole, _, fraction = digits.partition(".")
    return _within_range(int(whole) * SECOND + int(fraction[:6].ljust(6, "0")), digits)


def _within_range(us: int, text: str) -> int:
    if not 0 <= us <= LATEST:
        raise ValueError(f"{text!r} is outside the years 1970 to 2200: seconds since 1970 are expected")
    return us


def _date_time(match: re.Match[str], text: str, zone: tzinfo, now: int) -> AskedTime:
    date, hour, minute, second, fraction, suffix = match.groups()
    if suffix:
        zone = UTC if suffix in ("z", "utc") else _offset(suffix)
    if date in ("today", "yesterday"):
        today = datetime.fromtimestamp(now // SECOND, zone) - timedelta(days=date == "yesterday")
        date = f"{today:%Y-%m-%d}"
    seconds = int(second or 0)
    try:
        # A leap second, 23:59:60, is the first instant of the next minute.
        at = datetime.fromisoformat(f"{date}T{hour or '00'}:{minute or '00'}:{min(seconds, 59):02d}")
        if seconds > 60:
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is not a time: no day has such an hour, or no month such a day") from None
    extra = max(0, seconds - 59) * SECOND + int((fraction or "")[:6].ljust(6, "0"))
    first, second_reading = (_instant(at.replace(tzinfo=zone, fold=fold)) + extra for fold in (0, 1))
    return AskedTime(_within_range(first, text), _note(at, zone, first, second_reading))


def _instant(at: datetime) -> int:
    return int(at.timestamp()) * SECOND


def _note(at: datetime, zone: tzinfo, first: int, second: int) -> str:
    """What to say where clocks were put back (a time that was twice) or forward (a time that never was)."""
    if first == second:
        return ""
    if second > first:
        return f"{at} was twice in {zone}: read as the first; the second is {spoken(second)} UTC"
    return f"{at} never was in {zone}, where clocks were put forward"
