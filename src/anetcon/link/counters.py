"""Counters that capture and keeper share: one memory file, mapped by both, which outlives a crash of capture.

A header, then one slot a namespace; every value is an unsigned 64-bit integer in the machine's byte order, written by
one process only (the column "by") and read by the other without a lock: a torn read cannot happen to an aligned word.
Standard library only, since the keeper imports this.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct


class _Word:
    """A word of the header: as many come before it as were made before."""

    made = 0

    def __init__(self) -> None:
        self._at = _Word.made
        _Word.made += 1

    def __get__(self, header: Header, _kind: type) -> int:
        return header.words[self._at]

    def __set__(self, header: Header, value: int) -> None:
        header.words[self._at] = value


class Header:
    """The header's words by name, to read and to write. By capture, but for the first `next_line`."""

    progress = _Word()
    """Goes up at every turn of capture's loop, at least every 200 ms."""
    flushed = _Word()
    """Microseconds of wall clock up to which the journal is written."""
    flushes = _Word()
    journal_rows = _Word()
    journal_bytes = _Word()
    unwritten = _Word()
    """Flushes that failed in a row; while there are any, the next three say more."""
    unwritten_since = _Word()
    """Microseconds of wall clock."""
    unwritten_error = _Word()
    """errno."""
    waiting_rows = _Word()
    """Rows that wait in memory."""
    next_line = _Word()
    """Where the kernel's log is read: the sequence number after that of the last message that is written. The keeper
    sets the first."""
    line_time = _Word()
    """The time of that message."""
    line_to_be = _Word()
    """What `next_line` is once the flush under way is written; 0 while there is none."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.words = memoryview(memory).cast("Q")


HEADER = tuple(name for name, word in vars(Header).items() if isinstance(word, _Word))
"""The names, in their order."""

SLOT = ("events", "starts", "ends", "drops", "undecodable", "slow", "filtered", "state")
"""By capture, one row a namespace. drops: SO_MEMINFO's drop counter. slow: events the slow decoder took.
filtered: connections the configuration leaves out. state: see STATES. A new occupant of a slot starts from zero."""

ATTACHED, INACTIVE, YOUNG = STATES = ("attached", "conntrack-inactive", "young")

WORD = 8
HEADER_SIZE = len(HEADER) * WORD
SLOT_SIZE = len(SLOT) * WORD


def create(slots: int) -> int:
    """A new memory file for `slots` namespaces, all zero; returns its descriptor. Whoever has it cannot make it
    shorter: a read behind its end would end the other process."""
    descriptor = os.memfd_create("anetcon-counters", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, HEADER_SIZE + slots * SLOT_SIZE)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    os.set_inheritable(descriptor, True)
    return descriptor


def attach(descriptor: int) -> mmap.mmap:
    """The whole file, mapped for reading and writing."""
    return mmap.mmap(descriptor, os.fstat(descriptor).st_size)


def header(memory: mmap.mmap) -> dict[str, int]:
    """The header's values by name."""
    return dict(zip(HEADER, struct.unpack_from(f"={len(HEADER)}Q", memory, 0), strict=True))


def slot(memory: mmap.mmap, number: int) -> dict[str, int]:
    """One namespace's values by name."""
    values = struct.unpack_from(f"={len(SLOT)}Q", memory, HEADER_SIZE + number * SLOT_SIZE)
    return dict(zip(SLOT, values, strict=True))


def clear_slot(memory: mmap.mmap, number: int) -> None:
    """Zero a slot for its next occupant."""
    start = HEADER_SIZE + number * SLOT_SIZE
    memory[start : start + SLOT_SIZE] = bytes(SLOT_SIZE)
