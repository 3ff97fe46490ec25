"""What is removed from the store before the disk is full: how far back in time, and why. Pure: refuses to remove.

The oldest go first, a whole UTC day at a time by the day connections ended, so that what is kept is everything since
one moment (`before`). Parts of addresses, neighbours and routes go with them, by the latest time in them: whoever
floods a network cannot make more than the limit allows. When that is not enough, of the present day what was sealed
first; never what ended within the last hour. What is still open, the journal that is not sealed, and gap records are
never removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from anetcon.store.layout import DAY
from anetcon.store.limits import Limits
from anetcon.store.manifest import MOST_REMOVED
from anetcon.store.state import State

HOUR = 3_600_000_000
SAFE = 7 * DAY
"""Microseconds that the floor leaves alone unless it is set: a file of somebody else must not cost the last week."""


class Disk(NamedTuple):
    """The file system a store is on, and what the store takes of it, in bytes."""

    total: int
    free: int
    used: int


class Cut(NamedTuple):
    """Everything that had ended before `before` is to go, for a reason."""

    before: int
    reason: str


def cut(state: State, limits: Limits, disk: Disk, now: int) -> Cut | None:
    """What is to be removed now; None when nothing is. Cheap while no limit is reached."""
    oldest = state.oldest()
    if oldest is None:
        return None
    cuts = []
    if limits.age is not None and (midnight := _midnight(now - limits.age)) > oldest:
        cuts.append(Cut(midnight, f"older than {limits.age / DAY:g} days"))
    if limits.size is not None and disk.used > limits.size and now - HOUR > oldest:
        latest = _least(state, disk.used - limits.size, now - HOUR)
        cuts.append(Cut(latest, f"{disk.used / 1e9:.2f} GB are more than {limits.size / 1e9:g}"))
    floor = limits.floor(disk.total)
    safe = _midnight(now - SAFE) if limits.free is None else now - HOUR
    if disk.free < floor and safe > oldest:
        latest = _least(state, floor - disk.free, safe)
        cuts.append(Cut(latest, f"{disk.free / 1e9:.2f} GB free are less than {floor / 1e9:g}"))
    furthest = max(cuts, default=None)
    return furthest if furthest is not None and furthest.before > oldest else None


def steps(state: State, before: int) -> Iterator[list[str]]:
    """The files that a cut at this time removes, the oldest first: as many names at a time as fit into a line that a
    full disk has room for."""
    some, size = list[str](), 0
    for entry in sorted(state.over(before), key=lambda entry: entry.latest or entry.end or ""):
        size += len(entry.file) + 3  # with quotes and a comma
        if some and size > MOST_REMOVED:
            yield some
            some, size = [], len(entry.file) + 3
        some.append(entry.file)
    if some:
        yield some


def _midnight(time: int) -> int:
    return time // DAY * DAY


def _least(state: State, needed: int, latest: int) -> int:
    """The earliest time, at most `latest`, before which as many bytes as needed had ended, or as near as it comes."""
    found = 0
    for time, freed in _times(state, latest):
        found = time
        if freed >= needed:
            break
    return found


def _times(state: State, latest: int) -> Iterator[tuple[int, int]]:
    """Each time that could be cut at, and how many bytes that would free: midnights, then the ends of files."""
    sizes = sorted((time, entry.bytes) for time, entry in state.aging())
    today = _midnight(latest)
    freed = 0
    for number, (end, size) in enumerate(sizes):
        freed += size
        following = sizes[number + 1][0] if number + 1 < len(sizes) else None
        if end < today:
            if following is None or following // DAY > end // DAY:
                yield _midnight(end) + DAY, freed
        elif end < latest:
            if following is None or following > end:
                yield end + 1, freed
        else:
            return
