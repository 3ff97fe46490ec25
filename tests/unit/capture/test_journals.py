"""When the journal is flushed and rotated, and what a full disk costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anetcon.capture.journals import Journals
from anetcon.decode.columns import Columns
from anetcon.journal.read import last_flush
from anetcon.journal.write import Writer, segments
from tests.unit.capture.parts import NOW, rows, settings

SECOND = 1_000_000


def columns(count: int, capacity: int = 16) -> Columns:
    """Columns with that many rows."""
    made = Columns(capacity)
    made.rows = count
    return made


def test_due(tmp_path: Path) -> None:
    """Waiting rows are due after flush_seconds, a heartbeat after sync_seconds."""
    journals = Journals(settings(tmp_path), NOW, print)
    assert not journals.due(NOW + SECOND // 4, pending=True)
    assert journals.due(NOW + SECOND // 2, pending=True)
    assert not journals.due(NOW + 4 * SECOND, pending=False)
    assert journals.due(NOW + 5 * SECOND, pending=False)
    journals.gap("x", 1, 2, "overrun", 3)
    assert journals.due(NOW + SECOND // 2, pending=False)


def test_an_idle_flush_is_a_heartbeat(tmp_path: Path) -> None:
    """It moves the time up to which the record is known, and writes no row."""
    journals = Journals(settings(tmp_path), NOW, print)
    journals.flush(columns(0), ["a"], NOW + SECOND)
    assert last_flush(tmp_path / "journal" / "connections") == NOW + SECOND
    assert rows(tmp_path) == []


def test_segments_are_closed_by_age_and_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment with rows ends after seal_minutes, any after SEGMENT_ROWS; an empty one goes on."""
    monkeypatch.setattr("anetcon.capture.journals.SEGMENT_ROWS", 5)
    journals = Journals(settings(tmp_path, seal_minutes=1), NOW, print)
    folder = tmp_path / "journal" / "connections"
    journals.flush(columns(0), ["a"], NOW + 61 * SECOND)
    assert segments(folder) == [1]
    journals.flush(columns(3), ["a"], NOW + 62 * SECOND)
    assert segments(folder) == [1]
    journals.flush(columns(3), ["a"], NOW + 63 * SECOND)
    assert segments(folder) == [1, 2]
    journals.flush(columns(1), ["a"], NOW + 122 * SECOND)
    assert segments(folder) == [1, 2, 3]


def test_a_full_disk_costs_only_what_does_not_fit_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait while there is room, then are dropped and counted in a gap, and it goes on by itself."""
    said: list[str] = []
    journals = Journals(settings(tmp_path), NOW, said.append)
    whole = Writer.append

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "append", full)
    waiting = columns(5)
    journals.flush(waiting, ["a"], NOW + 1 * SECOND)
    assert waiting.rows == 5
    waiting.rows = 9
    journals.flush(waiting, ["a"], NOW + 2 * SECOND)
    assert waiting.rows == 0
    monkeypatch.setattr(Writer, "append", whole)
    waiting.rows = 2
    journals.flush(waiting, ["a"], NOW + 3 * SECOND)
    assert len(rows(tmp_path)) == 2
    (gap,) = rows(tmp_path, "gaps")
    assert (gap["cause"], gap["lost"], gap["netns"]) == ("disk-full", 9, None)
    assert [round(gap[name].timestamp() * 1e6) - NOW for name in ("from", "to")] == [0, 3 * SECOND]
    assert any("No space left" in line for line in said)
    assert any("written again" in line for line in said)
