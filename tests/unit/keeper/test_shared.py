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
    assert shared.column("drops", 3) == [counters.slot(memory, slot)["drops"] for slot in range(3)]
    assert len(shared.column("state")) == SLOTS
    shared.clear(1)
    assert shared.column("drops", 3) == [3, 0, 203]
    os.close(descriptor)
