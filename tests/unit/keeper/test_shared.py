"""The shared counters as the keeper reads them."""

from __future__ import annotations

import os
import struct

from anetcon.keeper.shared import SLOTS, Shared
from anetcon.link import counters


def test_columns_rows_and_header_agree_with_the_slots() -> None:
    """Every view shows what `anetcon.link.counters` shows."""
    descriptor = counters.create(SLOTS)
    memory = counters.attach(descriptor)
    shared = Shared(descriptor)
    for slot in range(3):
        values = [100 * slot + number for number in range(len(counters.SLOT))]
        struct.pack_into(f"={len(values)}Q", memory, counters.HEADER_SIZE + slot * counters.SLOT_SIZE, *values)
    struct.pack_into("=Q", memory, 0, 5)
    assert shared.progress() == shared.header()["progress"] == 5
    for slot in range(3):
        assert dict(zip(counters.SLOT, shared.row(slot), strict=True)) == counters.slot(memory, slot)
    seen = bytearray()
    assert (shared.has_changed(seen), shared.column("drops")) == (False, []), "no slot was taken"
    shared.resume(range(3), shared.past)
    assert shared.column("drops") == [counters.slot(memory, slot)["drops"] for slot in range(3)]
    assert [shared.take() for _ in range(3)] == [3, 4, 5]
    assert shared.column("drops")[3:] == [0, 0, 0]
    assert [shared.has_changed(seen) for _ in range(2)] == [True, False]
    struct.pack_into("=Q", memory, counters.HEADER_SIZE + counters.SLOT_SIZE, 1)
    assert ([shared.has_changed(seen) for _ in range(2)], shared.column("events")[1]) == ([True, False], 1)
    os.close(descriptor)


def test_a_slot_begins_at_zero_and_what_it_counted_is_not_forgotten() -> None:
    """The sums of those that are gone go on, also in the program that replaces this one."""
    descriptor = counters.create(SLOTS)
    memory, shared = counters.attach(descriptor), Shared(descriptor)
    slot = shared.take()
    struct.pack_into("=Q", memory, counters.HEADER_SIZE + slot * counters.SLOT_SIZE, 7)
    assert shared.release(slot)[0] == shared.past[0] == 7
    assert shared.take() == slot
    assert shared.row(slot) == (0,) * len(counters.SLOT)
    again = Shared(descriptor)
    again.resume(range(1, SLOTS), shared.past)
    assert (again.used, again.take(), again.full, again.past[0]) == (SLOTS, 0, True, 7)
    os.close(descriptor)
