"""The counters that two processes share are read and written by name."""

from __future__ import annotations

import os

from anetcon.link import counters
from anetcon.link.counters import HEADER, Header


def test_words_by_name() -> None:
    """What one side writes under a name the other reads under it, and no word is another's."""
    descriptor = counters.create(2)
    memory = counters.attach(descriptor)
    os.close(descriptor)
    header = Header(memory)
    for number, name in enumerate(HEADER):
        setattr(header, name, 100 + number)
    header.progress += 1
    assert counters.header(memory) == {name: 100 + number + (name == "progress") for number, name in enumerate(HEADER)}
    assert len(HEADER) * counters.WORD == counters.HEADER_SIZE
    assert set(counters.slot(memory, 0).values()) == {0}
