"""The year of files whose stamps have none.

No line is later than the file: than the day in its name (logrotate's dateext), than what a gzip header says, than its
modification, than `--until`. The earliest of these is believed; the last line is of the latest year that is not beyond,
and the first of as many years before as the months of the lines go back in between. Of files that were rotated
(`x.log`, `x.log.1`, `x.log.2.gz`) one with a higher number is not later than the first line of the one before. 29
February moves a file back to a leap year. The report says which year was taken, and why. Refuses files whose lines are
in no order of time.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np

from anetcon.errors import InputError
from anetcon.history.source import STDIN, Source
from anetcon.history.stamps import day_code, turns

DAY_IN_NAME = re.compile(r"[-._](\d{4})-?(\d\d)-?(\d\d)(?:-?\d\d(?:\d{4})?)?(?=$|\.)")
NUMBER = re.compile(r"\.(\d{1,5})(?=$|\.(?:gz|zst|xz|bz2|lzma)$)")
DAYS = re.compile(rb"^(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d) \d\d:\d\d:\d\d", re.MULTILINE)
"""The day of a traditional stamp at the beginning of a line."""

LEAP_DAY = day_code(b"Feb 29")

FEW_BLOCKS = 2

NETFILTER = 2001
"""The year of Linux 2.4: no line is older, and a file that says it is has lost its date."""


@dataclass
class Seen:
    """What the stamps of a file are, without their years: the first and the last (month, day), how many new years are
    in between, and before how many of them, counted from the end, there is a 29 February."""

    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    turns: int = 0
    leap: int | None = None


@dataclass(frozen=True)
class Years:
    """The years of the first and the last line, and why."""

    first: int
    last: int
    why: str
    begins: date


def look(source: Source, progress: Callable[[int], None] = lambda _: None) -> Seen:
    """Read a file for its stamps. One that cannot be read twice tells nothing; where the first blocks have no such
    stamps, no other is looked at."""
    seen, day = Seen(), 0
    leaps: list[int] = []
    if not source.again:
        return seen
    told = 0
    for number, block in enumerate(source.blocks()):
        progress(source.consumed - told)
        told = source.consumed
        found = DAYS.findall(block)
        if not found and number >= FEW_BLOCKS and seen.first is None:
            break
        changed = [text for text, before in zip(found, [b"", *found], strict=False) if text != before]
        days = np.array([code for code in map(day_code, changed) if code], np.int64)
        if len(days):
            turned = seen.turns + np.cumsum(turns(days, day))
            leaps += turned[days == LEAP_DAY].tolist()
            seen.turns, day = int(turned[-1]), int(days[-1])
            seen.first = seen.first or divmod(int(days[0]), 32)
            seen.last = divmod(day, 32)
    progress(source.weight - told)
    if leaps:
        seen.leap = seen.turns - leaps[-1]
    return seen


def bounds(source: Source, until: date | None, today: date, zone: tzinfo) -> tuple[date, str]:
    """The day that no line of a file is later than, and why."""
    found = [(today, "today")]
    if source.path != STDIN:
        for year, month, day in DAY_IN_NAME.findall(source.path.name):
            try:
                found.append((date(int(year), int(month), int(day)), "the date in its name"))
            except ValueError:
                continue
    for at, why in ((source.packed_at(), "the date in its gzip header"), (source.modified, "its modification")):
        if at is not None:
            found.append((datetime.fromtimestamp(at, UTC).astimezone(zone).date(), why))
    if until is not None:
        found.append((until, "--until"))
    return min((bound for bound in found if bound[0].year >= NETFILTER), key=lambda bound: bound[0])


def of_file(seen: Seen, latest: date, why: str) -> Years | None:
    """The years of a file, where its stamps have none."""
    if seen.first is None or seen.last is None:
        return None
    given, latest = latest, latest + timedelta(days=1)  # another zone, a clock that was wrong
    last = latest.year if seen.last <= (latest.month, latest.day) else latest.year - 1
    if seen.leap is not None:
        moved = next(back for back in range(9) if calendar.isleap(last - seen.leap - back))
        last -= moved
        why += ", moved to a leap year by 29 February" if moved else ""
    first = last - seen.turns
    month, day = seen.first
    begins = date(first, month, min(day, calendar.monthrange(first, month)[1]))
    return Years(first, last, f"{given}, {why}", begins)


def rotated(path: Path) -> tuple[str, int]:
    """The log a file was rotated from, and how often."""
    found = NUMBER.search(path.name)
    if found is None:
        return str(path), 0
    return str(path.with_name(path.name[: found.start()])), int(found[1])


def settle(
    sources: Iterable[Source],
    until: date | None,
    today: date,
    zone: tzinfo,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[Path, Years | None]:
    """The years of each file, None where its stamps have them or it cannot be read twice. `progress` is told the bytes
    of each file that is done, once. Raises InputError."""
    settled: dict[Path, Years | None] = {}
    after: dict[str, date] = {}
    for source in sorted(sources, key=lambda source: rotated(source.path)[1]):
        log, _ = rotated(source.path)
        latest, why = bounds(source, until, today, zone)
        if log in after and after[log] < latest:
            latest, why = after[log], "the first line of the file rotated after it"
        seen = look(source, progress)
        if latest.year - seen.turns < NETFILTER:
            raise InputError(
                f"cannot tell the years of {source.name}: its lines are in no order of time: their months go back "
                f"{seen.turns} times; sort them into files of a year, or leave it out; nothing was imported"
            )
        years = settled[source.path] = of_file(seen, latest, why)
        if years is not None:
            after[log] = min(years.begins, after.get(log, years.begins))
    return settled
