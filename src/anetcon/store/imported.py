"""Stretches of time that are on record as imported text: gaps that an import writes (`IMPORTED`).

Where there is one, the time was recorded, if not by this daemon: the gaps that say nothing ran then (`REPLACED`) are
cut by it. Stretches of one node that are no further apart than `QUIET` are one: rotated files adjoin. A longer time
without a line proves nothing, and stays the gap it was. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from anetcon.gaps import REPLACED, Cause, Gap

QUIET = 6 * 3_600_000_000
"""Microseconds without a line that a recorded time may have: nights are quiet, and somebody may have stopped it."""

_FAR = 1 << 62

Stretch = tuple[int, int]


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Sorted, those that are near enough to each other in one."""
    found: list[Stretch] = []
    for begin, end in sorted(stretches):
        if found and begin - found[-1][1] <= QUIET:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def told(gaps: list[Gap], stretches: list[Gap], holes: list[Gap], *, named: bool) -> list[Gap]:
    """These gaps (none `IMPORTED`), cut by the stretches, and the stretches, joined, where they fill a gap: what this
    daemon recorded itself does not become less by text of the same time. `holes` are all gaps of `REPLACED` that there
    are. Stretches of one namespace alone replace what is said of all only where it was asked for by name."""
    of: dict[tuple[str | None, str | None, Cause], list[Stretch]] = {}
    for row in stretches:
        of.setdefault((row.node, row.netns, row.cause), []).append(_bounds(row))
    whole = {key: joined(found) for key, found in of.items()}
    kept = []
    for (node, netns, cause), found in whole.items():
        own = [hole for hole in holes if hole.node in (None, node)]
        recorded = any(hole.node == node for hole in own)  # a daemon's first record ends a hole: else all is text
        pieces = _inside(found, own) if recorded else found
        kept += [Gap(netns, begin, end, cause, node=node) for begin, end in pieces]
    for gap in gaps:
        if gap.cause not in REPLACED:
            kept.append(gap)
            continue
        covering = [
            stretch
            for (node, netns, _), found in whole.items()
            if gap.node in (None, node) and (netns is None or netns == gap.netns or named)
            for stretch in found
        ]
        kept += _cut(gap, joined(covering))
    return sorted(kept, key=lambda gap: _bounds(gap)[0])


def begun(gaps: list[Gap], stretches: list[Gap]) -> list[Gap]:
    """For who asks for everything there is: what was `REPLACED` before anything was recorded is no part of that, but
    from the first imported text of its node on it is."""
    found = []
    for gap in gaps:
        begin = gap.start
        if begin is None and gap.cause in REPLACED:
            begin = min((_bounds(row)[0] for row in stretches if gap.node in (None, row.node)), default=None)
            if gap.end is not None and (begin is None or gap.end <= begin):
                continue
        found.append(gap._replace(start=begin))
    return found


def _inside(stretches: list[Stretch], holes: list[Gap]) -> list[Stretch]:
    """What of the stretches is in a hole."""
    found: list[Stretch] = []
    for hole in holes:
        first, last = _bounds(hole)
        found += [(max(begin, first), min(end, last)) for begin, end in stretches if begin <= last and end >= first]
    return found if len(holes) < 2 else _united(found)


def _united(stretches: list[Stretch]) -> list[Stretch]:
    """Those that overlap in one."""
    found: list[Stretch] = []
    for begin, end in sorted(stretches):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def _bounds(gap: Gap) -> Stretch:
    return -_FAR if gap.start is None else gap.start, _FAR if gap.end is None else gap.end


def _cut(gap: Gap, stretches: list[Stretch]) -> list[Gap]:
    """What is left of a gap without these stretches."""
    at, last = _bounds(gap)
    left = []
    for begin, end in stretches:
        if end < at or begin > last:
            continue
        if begin > at:
            left.append((at, begin))
        at = max(at, end)
    if at < last:
        left.append((at, last))
    return [
        gap._replace(start=None if begin == -_FAR else begin, end=None if end == _FAR else end) for begin, end in left
    ]
