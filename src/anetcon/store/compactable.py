"""Which files of a store are to become one, and when. Pure: refuses to read them.

- When an hour is over: what was sealed of its connections, short and long ones apart.
- When a day is over, and an hour more: all of the day. What comes of it later stays small until it is a tenth.
- Files of a seal and of an import are never put together: a later import takes rows out of files of imports alone.
- What the sealer still compares with new events is left alone: the last seal, and what ended shortly before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from anetcon.record import FORMAT
from anetcon.store import layout
from anetcon.store.entry import Entry, microseconds
from anetcon.store.layout import DAILY, DAY, HOURLY
from anetcon.store.state import State

HOUR = 3_600_000_000
LATE_SHARE = 10
"""A day is compacted again when what came later is one part in so many of it."""

REMEMBERED = 300_000_000
"""Microseconds before the newest end of the last seal: what ended since is compared with what comes (`store.seal`)."""


class Replacement(NamedTuple):
    """Files of one folder; each of these groups becomes one file, HOURLY or DAILY."""

    span: str
    groups: tuple[tuple[Entry, ...], ...]

    @property
    def files(self) -> list[str]:
        """All that are to be replaced."""
        return [entry.file for group in self.groups for entry in group]

    @property
    def bytes(self) -> int:
        """How large they are together."""
        return sum(entry.bytes for group in self.groups for entry in group)


def jobs(state: State, now: int) -> list[Replacement]:
    """What is to be done now, the newest days first."""
    places = defaultdict[tuple[str, str, bool], list[Entry]](list)
    for entry in state.connections:
        if entry.end is not None:
            folder, imported = str(Path(entry.file).parent), entry.seal in state.imports
            places[layout.day_of_file(entry.file), folder, imported].append(entry)
    last = state.last_seal() or 0
    ends = [microseconds(entry.end) for entry in state.connections.of_seals([last]) if entry.end is not None]
    since = max(ends, default=0) - REMEMBERED
    found = list[Replacement]()
    for (day, _, imported), entries in sorted(places.items(), reverse=True):
        free = [e for e in entries if imported or (e.seal != last and microseconds(e.end or "") < since)]
        if now >= _midnight(day) + DAY + HOUR:
            found += _job(DAILY, [_daily(some) for some in _by_length(free)])
        elif not imported:
            found += _hourly(entries, {entry.file for entry in free}, now)
    return found


def _hourly(entries: Iterable[Entry], free: set[str], now: int) -> list[Replacement]:
    """The hours that are over, none of whose files is needed as it is."""
    hours = defaultdict[int, list[Entry]](list)
    for entry in entries:
        hours[microseconds(entry.end or "") // HOUR].append(entry)
    found = list[Replacement]()
    for hour, some in sorted(hours.items()):
        done = any(layout.span_of_file(entry.file) for entry in some)
        if not done and (hour + 1) * HOUR <= now and all(entry.file in free for entry in some):
            found += _job(HOURLY, [same if len(same) > 1 else () for same in _by_length(some)])
    return found


def _daily(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Those of a day that is over, short or long, that are to become one: all or none."""
    daily = [entry for entry in entries if layout.span_of_file(entry.file) == DAILY]
    late = sum(entry.rows for entry in entries) - sum(entry.rows for entry in daily)
    is_due = late * LATE_SHARE >= sum(entry.rows for entry in daily) if daily else len(entries) > 1
    is_old = any(entry.format < FORMAT for entry in entries)
    return entries if (is_due and len(entries) > 1) or is_old else ()


def _job(span: str, groups: Iterable[Sequence[Entry]]) -> list[Replacement]:
    chosen = tuple(tuple(group) for group in groups if group)
    return [Replacement(span, chosen)] if chosen else []


def _by_length(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The short ones and the long ones."""
    both: tuple[list[Entry], list[Entry]] = ([], [])
    for entry in entries:
        both[layout.is_long(entry.file)].append(entry)
    return both


def _midnight(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000
