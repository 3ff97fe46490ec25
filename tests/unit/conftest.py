"""What holds for every unit test: a journal that it leaves open, as a process does that dies, is let go of after it."""

from __future__ import annotations

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
