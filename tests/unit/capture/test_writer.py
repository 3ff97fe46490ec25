"""When the journal is flushed and rotated, and what a full disk costs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.backlog import EDGE
from anetcon.capture.writer import Journals
from anetcon.decode.columns import NONE, Columns
from anetcon.gaps import Cause, Gap
from anetcon.journal.read import ended_cleanly, last_flush, read
from anetcon.journal.write import Writer, segments
from anetcon.record import Origin
from anetcon.system.clock import Moment
from tests.support.capture_parts import NOW, at, events, message, namespace, pipeline, rows, settings
from tests.support.waiting import wait_until

SECOND = 1_000_000


def columns(count: int, capacity: int = 16) -> Columns:
    """Columns with that many rows."""
    made = Columns(capacity)
    made.rows = count
    return made


def test_due(tmp_path: Path) -> None:
    """Waiting rows are due after flush_seconds, a heartbeat after a second."""
    journals = Journals(settings(tmp_path), at(NOW))
    assert not journals.due(at(NOW + SECOND // 4), pending=True)
    assert journals.due(at(NOW + SECOND // 2), pending=True)
    assert not journals.due(at(NOW + SECOND * 3 // 4), pending=False)
    assert journals.due(at(NOW + SECOND), pending=False)
    assert not Journals(settings(tmp_path, flush_seconds=3), at(NOW)).due(at(NOW + 2 * SECOND), pending=False)
    journals.gap(Gap("x", 1, 2, Cause.OVERRUN, 3))
    assert journals.due(at(NOW + SECOND // 2), pending=False)


class Lasting:
    """A file beside the journal; what was in the journal when it was saved."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.saw: list[tuple[str, int]] = []

    def before_flush(self) -> None:
        """The journal is as before."""
        self.saw.append(("before", len(rows(self.store, "gaps"))))

    def after_flush(self) -> None:
        """The journal has it."""
        self.saw.append(("after", len(rows(self.store, "gaps"))))


def test_what_lasts_is_saved_whoever_flushes(tmp_path: Path, disk: Disk) -> None:
    """Also when columns are full in the middle of a turn: what begins is saved before the journal tells of it, what
    ended is forgotten when it has; where the disk does not take it, not yet."""
    pipe = pipeline(tmp_path)
    pipe.add(namespace()[0])
    pipe.columns = Columns(4)
    file = Lasting(tmp_path)
    pipe.journals.beside.append(file)
    pipe.journals.gap(Gap("x", 1, None, Cause.OVERRUN))
    pipe.take(events(*map(message, range(3))), at(NOW))
    assert file.saw == []
    pipe.take(events(*map(message, range(3))), at(NOW))
    assert file.saw == [("before", 0), ("after", 1)]
    disk.room = False
    pipe.flush(at(NOW))
    assert file.saw[2:] == [("before", 1)]


def test_a_whole_flush_is_due_however_many_come(tmp_path: Path) -> None:
    """Flushes in the middle of turns put off none: or in a flood nothing would be on record for certain."""
    pipe = pipeline(tmp_path)
    pipe.add(namespace()[0])
    pipe.columns = Columns(4)
    for ports in (range(3), range(3, 6)):
        pipe.take(events(*map(message, ports)), at(NOW + SECOND // 2))
    assert len(rows(tmp_path)) == 3
    assert pipe.journals.due(at(NOW + SECOND // 2), pending=True)


@pytest.mark.parametrize("full", [False, True])
def test_a_flush_in_the_middle_of_a_turn(tmp_path: Path, disk: Disk, full: bool) -> None:
    """It has rows and says no more than the flush before: what came meanwhile may wait in a socket. It is no segment's
    last, also where the disk takes it later."""
    pipe = pipeline(tmp_path)
    pipe.add(namespace()[0])
    pipe.columns = Columns(4)
    journal, late = tmp_path / "journal" / "connections", NOW + 3600 * SECOND
    pipe.flush(at(NOW))
    disk.room = not full
    for ports in (range(3), range(3, 6)):
        pipe.take(events(*map(message, ports)), at(late))
    disk.room = True
    assert (last_flush(journal), len(rows(tmp_path)), segments(journal)) == (NOW, 0 if full else 3, [1])
    pipe.flush(at(late))
    assert (last_flush(journal), len(rows(tmp_path)), segments(journal)) == (late, 6, [1, 2])


def test_a_clock_that_is_set_delays_no_flush(tmp_path: Path) -> None:
    """What is due stays due when the clock goes back an hour, and no flush covers a time that ends before it begins."""
    journals = Journals(settings(tmp_path), at(NOW))
    back = NOW - 3600 * SECOND
    journals.stepped(-3600 * SECOND)
    assert not journals.due(Moment(back, NOW + SECOND // 4), pending=True)
    assert journals.due(Moment(back, NOW + SECOND // 2), pending=True)
    journals.flush(columns(1), ["a"], Moment(back + SECOND // 2, NOW + SECOND // 2))
    (flush,) = read(tmp_path / "journal" / "connections")
    assert (flush.start, flush.end) == (back, back + SECOND // 2)
    journals.flush(columns(1), ["a"], Moment(back, NOW + SECOND))
    *_, flush = read(tmp_path / "journal" / "connections")
    assert flush.start == flush.end == back


def test_a_long_index_ends_its_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle machine's index does not grow for ever: whoever looks for the last line reads all of them."""
    monkeypatch.setattr("anetcon.capture.segments.SEGMENT_LINES", 3)
    journals = Journals(settings(tmp_path), at(NOW))
    for second in range(4):
        journals.flush(columns(0), ["a"], at(NOW + second * SECOND))
    assert segments(tmp_path / "journal" / "connections") == [1, 2]
    assert last_flush(tmp_path / "journal" / "connections") == NOW + 3 * SECOND


def test_an_idle_flush_is_a_heartbeat(tmp_path: Path) -> None:
    """It moves the time up to which the record is known, and writes no row."""
    journals = Journals(settings(tmp_path), at(NOW))
    journals.flush(columns(0), ["a"], at(NOW + SECOND))
    assert last_flush(tmp_path / "journal" / "connections") == NOW + SECOND
    assert rows(tmp_path) == []


def test_segments_are_closed_by_age_and_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment with rows ends after seal_minutes, any after SEGMENT_ROWS; an empty one goes on."""
    monkeypatch.setattr("anetcon.capture.segments.SEGMENT_ROWS", 5)
    journals = Journals(settings(tmp_path, seal_minutes=1), at(NOW))
    folder = tmp_path / "journal" / "connections"
    journals.flush(columns(0), ["a"], at(NOW + 61 * SECOND))
    assert segments(folder) == [1]
    journals.flush(columns(3), ["a"], at(NOW + 62 * SECOND))
    assert segments(folder) == [1]
    journals.flush(columns(3), ["a"], at(NOW + 63 * SECOND))
    assert segments(folder) == [1, 2]
    journals.flush(columns(1), ["a"], at(NOW + 122 * SECOND))
    assert segments(folder) == [1, 2, 3]


class Disk:
    """A disk that is full whenever it is told to be: what the writer is then given goes nowhere."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.room = True
        self._put = Writer.put
        patch.setattr(Writer, "put", lambda *given: self.put(*given))

    def put(self, *given: Any) -> None:
        """As Writer.put."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._put(*given)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk with room."""
    return Disk(monkeypatch)


def connections(first: int, count: int, at: int, kind: str = "start", capacity: int = 64) -> Columns:
    """Starts (one a microsecond from `at` on) or ends of connections, told apart by their ports."""
    made = Columns(capacity)
    made.rows = count
    made.of["src_port"][:count] = np.arange(first, first + count)
    made.of["start"][:count] = at + np.arange(count)
    made.of["end"][:count] = NONE if kind == "start" else at + 500
    made.of["end_reason"][:count] = NONE if kind == "start" else 2
    return made


def gap_of(store: Path) -> dict[str, Any]:
    """The one gap on record, its times counted in seconds from NOW."""
    (gap,) = rows(store, "gaps")
    return gap | {name: round(gap[name].timestamp() * 1e6 - NOW) / SECOND for name in ("from", "to")}


def test_what_a_full_disk_does_not_take_waits(tmp_path: Path, disk: Disk, said: list[str]) -> None:
    """Rows of a full disk are written in order when there is room, once each, with the times they had; no gap."""
    journals = Journals(settings(tmp_path), at(NOW))
    disk.room = False
    for second in range(1, 4):
        journals.gap(Gap(None, second, None, Cause.OVERRUN))
        journals.flush(connections(second * 10, 2, NOW), ["a"], at(NOW + second * SECOND))
    assert rows(tmp_path) == []
    assert (journals.trouble.failing, journals.backlog.waiting.rows, journals.flushed) == (3, 6, at(NOW))
    assert journals.trouble.since == NOW
    disk.room = True
    journals.flush(connections(40, 2, NOW), ["a"], at(NOW + 4 * SECOND))
    assert [row["src_port"] for row in rows(tmp_path)] == [10, 11, 20, 21, 30, 31, 40, 41]
    found = [(flush.start - NOW, flush.end - NOW) for flush in read(tmp_path / "journal" / "connections")]
    assert found == [(n * SECOND, (n + 1) * SECOND) for n in range(4)]
    assert [gap["cause"] for gap in rows(tmp_path, "gaps")] == ["overrun"] * 3
    assert (journals.trouble.failing, journals.backlog.waiting.size, journals.flushed) == (0, 0, at(NOW + 4 * SECOND))
    assert len(said) == 2, said
    assert "No space left on device; make room" in said[0]
    assert "written again" in said[1]


def test_what_does_not_fit_in_memory_is_one_gap(tmp_path: Path, disk: Disk) -> None:
    """Once memory is full everything is dropped until all that waits is written; from, to and lost are exact."""
    journals = Journals(settings(tmp_path, memory=1), at(NOW))
    disk.room = False
    journals.flush(connections(1, 3, NOW), ["a"], at(NOW + 1 * SECOND))
    for second in (2, 3):
        journals.flush(connections(10 * second, 3, NOW + second * SECOND, "end"), ["a"], at(NOW + second * SECOND))
    journals.flush(connections(0, 0, NOW), ["a"], at(NOW + 9 * SECOND))
    assert journals.backlog.sheds == 1
    disk.room = True
    journals.flush(connections(50, 1, NOW), ["a"], at(NOW + 10 * SECOND))
    assert journals.backlog.sheds == 2
    assert [row["src_port"] for row in rows(tmp_path)] == [1, 2, 3, 50]
    gap = gap_of(tmp_path)
    assert (gap["cause"], gap["lost"], gap["netns"], gap["from"], gap["to"]) == ("disk-full", 6, None, 1.0, 3.0)


def test_lost_is_what_nothing_is_on_record_of(tmp_path: Path, disk: Disk) -> None:
    """A dropped end counts unless its start waits; a dropped start does not: its end, or a dump, tells of it."""
    journals = Journals(settings(tmp_path, memory=1), at(NOW))
    disk.room = False
    journals.flush(connections(1, 3, NOW), ["a"], at(NOW + 1 * SECOND))  # waits
    late = connections(7, 2, NOW - 50)  # started before, read after
    journals.flush(late, ["a"], at(NOW + 2 * SECOND))
    journals.flush(connections(20, 5, NOW + SECOND), ["a"], at(NOW + 3 * SECOND))
    for first, count, begun in ((1, 3, NOW), (7, 2, NOW - 50), (20, 4, NOW + SECOND), (30, 1, NOW + 2 * SECOND)):
        journals.flush(connections(first, count, begun, "end"), ["a"], at(NOW + 4 * SECOND))
    disk.room = True
    journals.flush(connections(24, 1, NOW + SECOND, "end"), ["a"], at(NOW + 5 * SECOND))
    assert gap_of(tmp_path)["lost"] == 2 + 4 + 1


@given(
    st.lists(
        st.tuples(st.integers(-2, 4), st.integers(0, 4), st.integers(-EDGE, EDGE // 4), st.booleans()), max_size=40
    ),
    st.integers(1, 3),
)
def test_a_start_may_be_dated_before_its_connection(made: list[tuple[int, int, int, bool]], kept: int) -> None:
    """Whatever lies between an event's time and the kernel's: an end counts if its start does not wait, and only then.
    The first `kept` seconds fit into memory; a connection begins in one, lasts for some, and has a time beside that;
    of some the kernel told the end alone, since capture was too slow."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        disk = Disk(patch)
        journals = Journals(settings(Path(folder), memory=1 << 20), at(NOW))
        disk.room = False
        for second in range(10):
            flushed = Columns(2 * 40)
            for number, (begun, lasts, beside, told) in enumerate(made):
                happened = NOW + begun * SECOND + number
                if max(begun, 0) == second and (told or begun < 1):
                    flushed.append(connections(number, 1, happened))
                if max(begun, 0) + lasts == second:
                    flushed.append(connections(number, 1, happened - beside, "end"))
            if second == kept:
                patch.setattr(journals.backlog.waiting, "limit", 0)
            journals.flush(flushed, ["a"], at(NOW + (second + 1) * SECOND))
        disk.room = True
        journals.flush(columns(0), ["a"], at(NOW + 20 * SECOND))
        lost = sum(gap["lost"] for gap in rows(Path(folder), "gaps"))
        waited = {row["src_port"] for row in rows(Path(folder))}
        assert lost == len(set(range(len(made))) - waited)


def test_without_starts_every_end_counts(tmp_path: Path, disk: Disk) -> None:
    """With record = ["end"] a dropped end is a lost connection, however old; its copies are not."""
    journals = Journals(settings(tmp_path, memory=1, starts=False), at(NOW))
    disk.room = False
    journals.flush(connections(1, 3, NOW, "end"), ["a"], at(NOW + 1 * SECOND))
    twice = connections(1, 6, NOW - 9 * SECOND, "end")
    for name in ("src_port", "start"):
        twice.of[name][3:6] = twice.of[name][:3]
    journals.flush(twice, ["a"], at(NOW + 2 * SECOND))
    disk.room = True
    journals.flush(columns(0), ["a"], at(NOW + 3 * SECOND))
    assert gap_of(tmp_path)["lost"] == 3


def test_every_lost_line_counts(tmp_path: Path, disk: Disk) -> None:
    """A row learnt from a LOG line is a connection by itself."""
    journals = Journals(settings(tmp_path, memory=1), at(NOW))
    disk.room = False
    journals.flush(connections(1, 3, NOW), ["a"], at(NOW + 1 * SECOND))
    lines = connections(5, 4, NOW)
    lines.of["origin"][:4] = Origin.LOG
    journals.flush(lines, ["a"], at(NOW + 2 * SECOND))
    disk.room = True
    journals.flush(columns(0), ["a"], at(NOW + 3 * SECOND))
    assert gap_of(tmp_path)["lost"] == 4


def test_other_tables_wait_within_bounds(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps and addresses wait too, so many of each; where some were dropped a gap says that something is missing."""
    monkeypatch.setattr("anetcon.capture.writer.SMALL_ROWS", 5)
    journals = Journals(settings(tmp_path), at(NOW))
    disk.room = False
    for number in range(20):
        journals.gap(Gap(None, number, None, Cause.OVERRUN))
        journals.flush(columns(0), ["a"], at(NOW + number * SECOND))
    assert len(journals.small["gaps"]) == 5
    disk.room = True
    journals.flush(columns(0), ["a"], at(NOW + 30 * SECOND))
    found = {gap["cause"]: gap for gap in rows(tmp_path, "gaps")}
    assert len(rows(tmp_path, "gaps")) == 6
    assert found["disk-full"]["lost"] is None
    assert round(found["disk-full"]["from"].timestamp() * 1e6) == NOW + 4 * SECOND


def test_it_is_tried_now_and_then_and_said_seldom(tmp_path: Path, disk: Disk, said: list[str]) -> None:
    """A full disk is tried again every flush_seconds, and spoken of at most once a minute, however often it flaps."""
    journals = Journals(settings(tmp_path), at(NOW))
    for number in range(1, 101):
        disk.room = number % 2 == 0
        assert not journals.due(at(NOW + number * SECOND - SECOND // 2 - 1), pending=False)
        journals.flush(columns(1), ["a"], at(NOW + number * SECOND))
        assert disk.room or journals.due(at(NOW + number * SECOND + SECOND // 2), pending=False)
    assert len(said) == 4, said
    assert len(rows(tmp_path)) == 100


def test_what_still_waits_at_the_end_is_no_clean_end(tmp_path: Path, disk: Disk) -> None:
    """A segment is not closed while rows wait, so that the next start records the gap that begins where it ends."""
    journals = Journals(settings(tmp_path), at(NOW))
    journals.flush(columns(1), ["a"], at(NOW + 1 * SECOND))
    disk.room = False
    journals.flush(columns(1), ["a"], at(NOW + 2 * SECOND))
    journals.close()
    assert not ended_cleanly(tmp_path / "journal" / "connections")
    assert last_flush(tmp_path / "journal" / "connections") == NOW + SECOND
    disk.room = True
    journals = Journals(settings(tmp_path), at(NOW))
    journals.flush(columns(1), ["a"], at(NOW + 3 * SECOND))
    journals.close()
    assert ended_cleanly(tmp_path / "journal" / "connections")


def test_a_disk_that_is_full_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture begins all the same; its first segment is made when there is room, and nothing is left of the tries."""
    real = os.write
    monkeypatch.setattr("anetcon.journal.write.os.write", lambda fd, data: _full(real, fd, data))
    journals = Journals(settings(tmp_path), at(NOW))
    journals.flush(columns(3), ["a"], at(NOW + SECOND))
    assert not list((tmp_path / "journal").rglob("*.*"))
    monkeypatch.undo()
    journals.flush(columns(2), ["a"], at(NOW + 2 * SECOND))
    assert len(rows(tmp_path)) == 5
    assert segments(tmp_path / "journal" / "connections") == [1]


def _full(_real: Any, _fd: int, _data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_store_that_vanishes_is_waited_for(tmp_path: Path, said: list[str]) -> None:
    """When the mount under the store goes, nothing is written to the empty place it leaves; when it is back, all is."""
    store, away = tmp_path / "store", tmp_path / "away"
    store.mkdir()
    (store / "lock").touch()
    journals = Journals(settings(store, lock=store / "lock"), at(NOW))
    journals.flush(columns(1), ["a"], at(NOW + 6 * SECOND))
    store.rename(away)
    store.mkdir()
    journals.flush(columns(1), ["a"], at(NOW + 12 * SECOND))  # the file is open and takes it; then it is missed
    journals.flush(columns(1), ["a"], at(NOW + 13 * SECOND))
    assert journals.backlog.waiting.rows == 1
    assert list(store.iterdir()) == []
    assert any("not in their place" in line for line in said)
    store.rmdir()
    away.rename(store)
    journals.flush(columns(1), ["a"], at(NOW + 14 * SECOND))
    assert len(rows(store)) == 4


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.integers(1, 20_000))
def test_recorded_and_lost_are_all(flushes: list[tuple[int, bool]], memory: int) -> None:
    """Whenever the disk is full and however little memory there is: what is on record, once, and what is counted as
    lost are together what came."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        disk = Disk(patch)
        journals = Journals(settings(Path(folder), memory=memory, starts=False), at(NOW))
        made = 0
        for number, (count, disk.room) in enumerate([*flushes, (0, True)], 1):
            journals.flush(connections(made, count, NOW, "end"), ["a"], at(NOW + number * SECOND))
            made += count
        found = [row["src_port"] for row in rows(Path(folder))]
        assert found == sorted(set(found))
        assert len(found) + sum(gap["lost"] for gap in rows(Path(folder), "gaps")) == made


def test_a_disk_that_does_not_keep_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """A sync that fails is said: the kernel tells it once, and to nobody else."""
    journals = Journals(settings(tmp_path), at(NOW))

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("anetcon.capture.segments.os.fdatasync", broken)
    journals.flush(columns(1), ["a"], at(NOW + 6 * SECOND))
    wait_until(lambda: journals.segments.syncing() is False, 10, "the sync is done")
    journals.flush(columns(1), ["a"], at(NOW + 7 * SECOND))
    assert said == ["what was written may not be on the disk: Input/output error; check it"]


def test_segments_of_other_tables_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others decide how many neighbours there are: a seal, and a question, take a segment of them at a time."""
    monkeypatch.setattr("anetcon.capture.segments.SMALL_SEGMENT_ROWS", 2)
    journals = Journals(settings(tmp_path), at(NOW))
    for second in range(1, 4):
        journals.listed("a", 1, NOW, NOW)
        journals.flush(columns(1), ["a"], at(NOW + second * SECOND))
    assert segments(tmp_path / "journal" / "listings") == [1, 2]
    assert segments(tmp_path / "journal" / "connections") == [1]
