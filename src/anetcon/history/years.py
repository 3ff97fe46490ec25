"""The year of files whose stamps have none.

No line is later than the file: than the day in its name (logrotate's dateext), than what a gzip header says, than its
modification, than `--until`. The earliest of these is believed; the last line is of the latest year that is not beyond,
and the first of as many years before as turn in between (`turns`). Of files that were rotated
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

from anetcon.errors import InputError
from anetcon.history.source import STDIN, Source
from anetcon.history.turns import Turns

DAY_IN_NAME = re.compile(r"[-._](\d{4})-?(\d\d)-?(\d\d)(?:-?\d\d(?:\d{4})?)?(?=$|\.)")
NUMBER = re.compile(r"\.(\d{1,5})(?=$|\.(?:gz|zst|xz|bz2|lzma)$)")
FEW_BLOCKS = 2

NETFILTER = 2001
"""The year of Linux 2.4: no line is older, and a file that says it is has lost its date."""


@dataclass(frozen=True)
class Years:
    """The years of the first and the last line, and why."""

    first: int
    last: int
    why: str
    begins: date


def look(source: Source, progress: Callable[[int], None] = lambda _: None) -> Turns:
    """Read a file for its stamps. One that cannot be read twice tells nothing; where the first blocks have no such
    stamps, no other is looked at."""
    turns = Turns()
    if not source.again:
        return turns
    told = 0
    for number, block in enumerate(source.blocks()):
        progress(source.consumed - told)
        told = source.consumed
        turns.pieces(block)
        if number >= FEW_BLOCKS and not turns.first:
            break
    progress(source.weight - told)
    return turns


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


def of_file(seen: Turns, latest: date, why: str) -> Years | None:
    """The years of a file, where its stamps have none."""
    if not seen.first:
        return None
    last = year_of(seen.day, latest)
    if seen.leap is not None:
        leap = last - seen.turned + seen.leap
        moved = next(back for back in range(9) if calendar.isleap(leap - back))
        last -= moved
        why += ", moved to a leap year by 29 February" if moved else ""
    first = last - seen.turned
    month, day = divmod(seen.first, 32)
    begins = date(first, month, min(day, calendar.monthrange(first, month)[1]))
    return Years(first, last, f"{latest}, {why}", begins)


def year_of(day: int, latest: date) -> int:
    """The latest year in which a day (`day_code`) is not later than it may be."""
    latest += timedelta(days=1)  # another zone, a clock that was wrong
    return latest.year - (divmod(day, 32) > (latest.month, latest.day))


def beyond(first: int, seen: Turns, today: date) -> bool:
    """Whether lines that began in a year have gone through more new years than there were until today."""
    return seen.turned > 0 and not seen.doubtful and first + seen.turned > year_of(seen.day, today)


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
    begins: dict[str, dict[int, date]] = {}
    for source in sorted(sources, key=lambda source: rotated(source.path)[1]):
        log, number = rotated(source.path)
        latest, why = bounds(source, until, today, zone)
        of_log = begins.setdefault(log, {})
        after = min((day for other, day in of_log.items() if other < number), default=latest)
        if after < latest:
            latest, why = after, "the first line of the file rotated after it"
        seen = look(source, progress)
        if latest.year - seen.turned < NETFILTER:
            raise InputError(
                f"cannot tell the years of {source.name}: its lines are in no order of time: their months go back "
                f"{seen.turned} times; sort them into files of a year, or leave it out; nothing was imported"
            )
        years = settled[source.path] = of_file(seen, latest, why)
        if years is not None:
            of_log[number] = min(years.begins, of_log.get(number, years.begins))
    return settled
