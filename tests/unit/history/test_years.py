"""The year of files: what they are named, when they were written, what comes after them, and what is in them."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from anetcon.errors import InputError
from anetcon.history.source import Source
from anetcon.history.stamps import day_code
from anetcon.history.years import Years, bounds, look, of_file, settle, year_of

TODAY = date(2026, 11, 20)


def write(path: Path, *days: str, written: str = "2026-11-20", packed: str = "") -> Source:
    """A file with a line of each of these days."""
    text = "".join(f"{day} 12:00:00 gw1 kernel: x\n" for day in days).encode()
    stamp = datetime.fromisoformat(packed or "1970-01-01").replace(tzinfo=UTC).timestamp()
    path.write_bytes(gzip.compress(text, mtime=stamp) if path.suffix == ".gz" else text)
    at = datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()
    os.utime(path, (at, at))
    return Source(path)


def years(source: Source, until: date | None = None) -> Years:
    """What is found of one file."""
    found = of_file(look(source), *bounds(source, until, TODAY, UTC))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "written", "packed", "expected", "why"),
    [
        ("a.log", "2024-12-31", "", 2024, "its modification"),
        ("a.log", "2025-01-01", "", 2024, "its modification"),
        ("a.log.2.gz", "2026-11-20", "2023-12-31", 2023, "the date in its gzip header"),
        ("a.log-20241231.gz", "2026-11-20", "2026-11-20", 2024, "the date in its name"),
        ("a.log-20250101", "2026-11-20", "", 2024, "the date in its name"),
        ("a-2024-12-31.log", "2026-11-20", "", 2024, "the date in its name"),
        ("a.log-20249931", "2026-12-30", "", 2025, "today"),
        ("a.log.2.gz", "1970-01-01", "2023-12-31", 2023, "the date in its gzip header"),
    ],
)
def test_dates_of_a_file(tmp_path: Path, name: str, written: str, packed: str, expected: int, why: str) -> None:
    """The earliest of what is known of a file is later than its last line."""
    found = years(write(tmp_path / name, "Dec 30", "Dec 30", written=written, packed=packed))
    assert (found.first, found.last) == (expected, expected)
    assert why in found.why


def test_new_years_are_counted(tmp_path: Path) -> None:
    """A file never rotated goes back as many years as it went through."""
    days = ("Jan  5", "Dec 20", "Jan  2", "Aug  1", "Dec 31", "Jan  1", "Dec 31", "Jan  1")
    found = years(write(tmp_path / "a", *days, written="2026-01-01"))
    assert (found.first, found.last) == (2024, 2026)


def test_29_february_moves_it(tmp_path: Path) -> None:
    """A day that only a leap year has says which one, however late the file was written."""
    assert years(write(tmp_path / "a", "Feb 28", "Feb 29", "Mar  1")).first == 2024
    crossing = years(write(tmp_path / "b", "Feb 29", "Dec 31", "Jan  1"))
    assert (crossing.first, crossing.last) == (2024, 2025)
    assert "29 February" in crossing.why


def test_until(tmp_path: Path) -> None:
    """Who knows better says so."""
    source = write(tmp_path / "a", "Dec 20")
    assert (years(source).first, years(source, date(2023, 12, 31)).first) == (2025, 2023)


def test_rotated_files_are_in_order(tmp_path: Path) -> None:
    """Restored all at once, each is not later than the first line of the one rotated after it."""
    sources = [
        write(tmp_path / "a.log", "Mar  1", "Mar  9", written="2026-03-09"),
        write(tmp_path / "a.log.1", "Aug  1", "Jan 27", written="2026-11-19"),
        write(tmp_path / "a.log.2.gz", "Jul 30", "Jul 31", written="2026-11-19"),
        write(tmp_path / "a.log.10.gz", "Sep  1", "Oct 30", written="2026-11-19"),
    ]
    found = settle(sources, None, TODAY, UTC)
    spans = {path.name: found and (found.first, found.last) for path, found in found.items()}
    assert spans == {
        "a.log": (2026, 2026),
        "a.log.1": (2025, 2026),
        "a.log.2.gz": (2025, 2025),
        "a.log.10.gz": (2024, 2024),
    }


def test_a_file_beside_its_compressed_copy(tmp_path: Path) -> None:
    """Both are rotated as often: neither is before the other."""
    days = ("Nov  1", "Nov 20")
    sources = [write(tmp_path / name, *days) for name in ("a.log.1", "a.log.1.gz")]
    found = settle(sources, None, TODAY, UTC)
    assert [years and years.first for years in found.values()] == [2026, 2026]


def test_lines_in_no_order(tmp_path: Path) -> None:
    """Lines of two times by turns would be of thousands of years: that is told, before anything is imported."""
    source = write(tmp_path / "a", *["Dec 20", "Jan 20"] * 30)
    with pytest.raises(InputError, match="go back 30 times"):
        settle([source], None, TODAY, UTC)


def test_a_day_that_is_none(tmp_path: Path) -> None:
    """It tells nothing, and breaks nothing."""
    found = years(write(tmp_path / "a", "Jan  0", "Jan 45", "Nov  1"))
    assert (found.first, found.last) == (2026, 2026)
    assert settle([write(tmp_path / "b", "Jan  0")], None, TODAY, UTC) == {tmp_path / "b": None}


def test_a_day_alone() -> None:
    """It is of the latest year in which it is not later than it may be, but for another zone."""
    days = (b"Nov 20", b"Nov 21", b"Nov 22", b"Dec 31")
    assert [year_of(day_code(day), TODAY) for day in days] == [2026, 2026, 2025, 2025]


def test_no_such_stamps(tmp_path: Path) -> None:
    """A file whose stamps have their year is asked for none."""
    path = tmp_path / "a"
    path.write_text("2024-01-01T00:00:00Z gw1 kernel: x\n" * 9)
    assert settle([Source(path)], None, TODAY, UTC) == {path: None}
