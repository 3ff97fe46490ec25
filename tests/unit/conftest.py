"""What holds for every unit test: a journal that it leaves open, as a process does that dies, is let go of after it;
and it waits for no disk, for none pulls the plug."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from anetcon.journal.write import Writer


@pytest.fixture(autouse=True)
def _no_journal_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[Writer] = []
    begin = Writer.__init__

    def counted(writer: Writer, *given: Any, **named: Any) -> None:
        begin(writer, *given, **named)
        made.append(writer)

    monkeypatch.setattr(Writer, "__init__", counted)
    yield
    for writer in made:
        writer.abandon()


@pytest.fixture(autouse=True)
def _no_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def synced(descriptor: int) -> None:
        os.fstat(descriptor)  # an OSError when it is not open

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "fdatasync", synced)
