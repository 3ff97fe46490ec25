"""A segment that is asked several things: what it gives, what is lost of it, and that its bytes are checked once."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.journal import read
from anetcon.journal.segment import Lost, Segment, torn
from anetcon.journal.write import Writer, segment_path, segments
from tests.support.segments import gaps, written


def ends(folder: Path) -> dict[int, Lost]:
    """What is missing at the ends of all segments."""
    return torn([Segment(folder, number) for number in segments(folder)])


def test_what_is_lost_of_a_damaged_segment(tmp_path: Path) -> None:
    """From the end of the last good flush to the end of the last one there was, with its rows where they are told."""
    written(tmp_path, (1, 2), (3,), (4, 5))
    assert Segment(tmp_path, 1).lost() is None
    assert Segment(tmp_path, 1).covered == (0, 30, 5)
    path, index = segment_path(tmp_path, 1), segment_path(tmp_path, 1, "index")
    whole, lines = path.read_bytes(), index.read_bytes().split(b"\n")
    second = int(lines[2].split()[0])
    path.write_bytes(whole[:second] + b"\0" + whole[second + 1 :])
    assert Segment(tmp_path, 1).lost() == Lost(10, 30, 3)
    assert Segment(tmp_path, 1).covered == (0, 10, 2)
    path.write_bytes(whole)
    index.write_bytes(b"\n".join([*lines[:3], b"x" + lines[3][1:], *lines[4:]]))
    lost = Segment(tmp_path, 1).lost()
    assert lost is not None
    assert (lost.start, lost.rows) == (20, None)
    assert lost.end == index.stat().st_mtime_ns // 1000
    index.write_bytes(b"\n".join([*lines[:3], lines[3][:9]]))
    assert Segment(tmp_path, 1).lost() is None  # half a line was never written
    with pytest.raises(FileNotFoundError):
        Segment(tmp_path, 2).lost()


def test_damage_of_a_flush_that_is_not_whole(tmp_path: Path) -> None:
    """It has rows of a time behind the end that it tells: until its segment was written to last."""
    written(tmp_path, (1, 2), (3,))
    path, index = segment_path(tmp_path, 1), segment_path(tmp_path, 1, "index")
    lines = index.read_bytes().split(b"\n")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    index.write_bytes(b"\n".join([*lines[:2], lines[2].replace(b" 1 10 20 ", b" 1 10 10 "), *lines[3:]]))
    lost = Segment(tmp_path, 1).lost()
    assert lost is not None
    assert (lost.start, lost.end) == (10, index.stat().st_mtime_ns // 1000)


def test_what_is_written_meanwhile_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that comes while a segment is looked at is not taken for a line that does not hold."""
    with Writer(tmp_path, "gaps") as writer:
        writer.append(gaps(1), 0, 10)
        whole = read.data

        def data(folder: Path, number: int) -> memoryview:
            found = whole(folder, number)
            writer.append(gaps(2), 10, 20)
            return found

        monkeypatch.setattr(read, "data", data)
        assert Segment(tmp_path, 1).lost() is None
        assert Segment(tmp_path, 1).lost() is None


def test_a_segment_that_was_not_closed(tmp_path: Path) -> None:
    """Until its successor begins anything may be missing; closed, or without a successor, nothing is."""
    written(tmp_path, (1,))
    with Writer(tmp_path, "gaps") as writer:
        assert ends(tmp_path).get(1) is None
        index = segment_path(tmp_path, 1, "index")
        index.write_bytes(index.read_bytes().removesuffix(b"closed\n"))
        assert ends(tmp_path).get(1) is None
        writer.append(gaps(2), 25, 30)
        assert ends(tmp_path).get(1) == Lost(10, 25, None)
        index.write_bytes(b"")
        assert ends(tmp_path).get(1) == Lost(None, 25, None)
    assert ends(tmp_path).get(2) is None


def test_checksums_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is asked of a segment, in whatever order."""
    for number in range(9):
        written(tmp_path, (number,), (number,))
        index = segment_path(tmp_path, number + 1, "index")
        index.write_bytes(index.read_bytes().removesuffix(b"closed\n"))
    checked: list[bytes] = []
    whole = read._checked

    def counting(view: memoryview, raw: bytes) -> bytes | None:
        """Note the line."""
        checked.append(raw)
        return whole(view, raw)

    monkeypatch.setattr(read, "_checked", counting)
    these = [Segment(tmp_path, number) for number in segments(tmp_path)]
    torn(these)
    for one in these:
        assert one.lost() is None
        assert len(list(one.flushes())) == 2
        assert one.covered == (0, 20, 2)
    assert len(checked) == 9 * 3


def test_rows_that_are_kept(tmp_path: Path) -> None:
    """Of a segment that keeps its rows they are there though it is gone; of another they are not."""
    written(tmp_path, (1,), (2,))
    one, other = Segment(tmp_path, 1), Segment(tmp_path, 1)
    one.keep = True
    assert [len(list(each.flushes())) for each in (one, other)] == [2, 2]
    for kind in ("index", "arrows"):
        segment_path(tmp_path, 1, kind).unlink()
    assert [flush.end for flush in one.flushes()] == [10, 20]
    with pytest.raises(FileNotFoundError):
        list(other.flushes())
