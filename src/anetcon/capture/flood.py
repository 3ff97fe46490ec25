"""How many neighbours may begin on one interface: what is beyond that is counted, and told as a gap.

Whoever is on a segment can send as many addresses and MAC addresses as frames, and each is a change of the kernel's
table. Up to MOST of them begin a row in a minute; then a change only ends what was known, so that no MAC address stays
on record that is not true any more. When the minute is over the table is listed, and what is there then is known again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MOST = 1000
MINUTE = 60_000_000
TELL = 10 * MINUTE
"""A flood that goes on is told of so often."""


class Passed(NamedTuple):
    """Changes on one interface that were not followed: how many, from when to when."""

    interface: int
    number: int
    first: int
    last: int


@dataclass
class _Minute:
    begun: int = 0
    again: bool = False
    """Whether something was passed over in this minute."""
    passed: int = 0
    """So many are not told of yet; the first and the last of them."""
    first: int = 0
    last: int = 0
    since: int | None = None
    """By the steady clock; None: `over` was not asked yet."""
    told: int | None = None


class Flood:
    """The minute that runs, and what is not told of yet, by interface. Times of changes are of the wall clock."""

    def __init__(self) -> None:
        self._minutes: dict[int, _Minute] = {}

    def allows(self, interface: int, now: int) -> bool:
        """Whether one more may begin; counted either way."""
        minute = self._minutes.setdefault(interface, _Minute())
        if minute.begun < MOST:
            minute.begun += 1
            return True
        minute.first = minute.first if minute.passed else now
        minute.passed, minute.last, minute.again = minute.passed + 1, now, True
        return False

    def over(self, steady: int) -> tuple[list[Passed], bool]:
        """What is to be told now, and whether a minute is over in which something was passed over. A minute begins when
        this is asked first, a second after what it counts at most."""
        told, again = list[Passed](), False
        for interface, minute in list(self._minutes.items()):
            if minute.since is None:
                minute.since = steady
            if steady - minute.since < MINUTE:
                continue
            again |= minute.again
            minute.since, minute.begun, minute.again = steady, 0, False
            quiet = minute.told is None or steady - minute.told >= TELL
            if minute.passed and quiet:
                told.append(Passed(interface, minute.passed, minute.first, minute.last))
                minute.passed, minute.told = 0, steady
            elif quiet:
                del self._minutes[interface]
        return told, again

    def end(self) -> list[Passed]:
        """What is not told of yet."""
        minutes, self._minutes = self._minutes, {}
        return [Passed(at, minute.passed, minute.first, minute.last) for at, minute in minutes.items() if minute.passed]
