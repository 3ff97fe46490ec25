"""The counters shared with capture, seen by the keeper: as columns over all namespaces, cheap enough to read often.

Refuses to write, except to clear a slot before its next occupant, and where the kernel's log begins.
"""

from __future__ import annotations

from collections.abc import Iterable

from anetcon.link import counters

SLOTS = 4096

_WORDS = len(counters.SLOT)
_FIRST = len(counters.HEADER)


class Shared:
    """The memory file of `anetcon.link.counters`, mapped."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = counters.attach(descriptor)
        self._words = memoryview(self._memory).cast("Q")
        self._header = counters.Header(self._memory)
        self.past = [0] * len(counters.SLOT)
        """Sums of the counters of namespaces that have no slot any more."""
        self.used = 0
        """No slot from this one on was ever taken."""
        self._free: list[int] = []
        """Those before it that are free again."""

    @property
    def full(self) -> bool:
        """Whether no slot is free."""
        return not self._free and self.used == SLOTS

    def take(self) -> int:
        """A slot for a namespace, with nothing counted in it."""
        slot = self._free.pop() if self._free else self.used
        self.used = max(self.used, slot + 1)
        counters.clear_slot(self._memory, slot)
        return slot

    def resume(self, slots: Iterable[int], past: list[int]) -> None:
        """These are taken, and that was counted in others, by the program before this one."""
        taken = set(slots)
        self.used = max(taken, default=-1) + 1
        self._free = [slot for slot in range(self.used) if slot not in taken]
        self.past = past

    def release(self, slot: int) -> tuple[int, ...]:
        """A slot is free again; what was counted in it."""
        last = self.row(slot)
        self.past = [a + b for a, b in zip(self.past, last, strict=True)]
        self._free.append(slot)
        return last

    def header(self) -> dict[str, int]:
        """The values that belong to no namespace."""
        return counters.header(self._memory)

    def progress(self) -> int:
        """Goes up while capture's loop turns."""
        return self._header.progress

    def first_line(self, number: int) -> None:
        """Say which kernel message will be read first, before capture begins."""
        self._header.next_line, self._header.line_time, self._header.line_to_be = number, 0, 0

    def column(self, name: str) -> list[int]:
        """One counter of all namespaces, by slot."""
        first = _FIRST + counters.SLOT.index(name)
        return self._words[first : _FIRST + self.used * _WORDS : _WORDS].tolist()

    def has_changed(self, seen: bytearray) -> bool:
        """Whether a counter of a namespace is not as in `seen`, which has all of them afterwards. Compared where they
        are: with 1,000 namespaces a copy costs twice as much, ten times a second."""
        counted = self._words[_FIRST : _FIRST + self.used * _WORDS].cast("B")
        if seen == counted:
            return False
        seen[:] = counted
        return True

    def row(self, slot: int) -> tuple[int, ...]:
        """The counters of one namespace, in the order of `counters.SLOT`."""
        first = _FIRST + slot * _WORDS
        return tuple(self._words[first : first + _WORDS])
