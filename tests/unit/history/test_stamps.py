"""Times of stamps: the year from the order of lines, the hour that was twice, zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.history.stamps import Stamps

MADRID = ZoneInfo("Europe/Madrid")
LATEST = date(2026, 11, 20)


def read(*texts: str, year: int | None = 2024, zone: tzinfo = UTC, latest: date = LATEST) -> list[str | None]:
    """Stamps without a fraction, as UTC; None: no time."""
    stamps = Stamps(zone, year, latest)
    seconds = tuple(text.encode() for text in texts)
    times, good = stamps.column(seconds, tuple(b"" for _ in texts), tuple(b"" for _ in texts))
    return [
        f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M:%S}" if fine else None
        for time, fine in zip(times.tolist(), good.tolist(), strict=True)
    ]


def test_new_year() -> None:
    """December is followed by January of the next year, and a late line by the old year's is of the old year."""
    assert read("Dec 31 23:59:59", "Jan  1 00:00:00", "Dec 31 23:59:58", "Jan  1 00:00:01", "Feb  2 00:00:00") == [
        *("2024-12-31 23:59:59", "2025-01-01 00:00:00", "2024-12-31 23:59:58", "2025-01-01 00:00:01"),
        "2025-02-02 00:00:00",
    ]


def test_the_year_goes_on_from_block_to_block() -> None:
    """Also when a block is read again."""
    stamps = Stamps(UTC, 2024, LATEST)
    stamps.column((b"Dec 31 00:00:00",), (b"",), (b"",))
    mark = stamps.mark()
    for _ in range(2):
        stamps.back(mark)
        times, _ = stamps.column((b"Jan  1 00:00:00",), (b".5",), (b"",))
        assert times.tolist() == [1_735_689_600_500_000]


def test_29_february() -> None:
    """It is a day in a leap year, and no time in another."""
    assert read("Feb 29 01:02:03", year=2024) == ["2024-02-29 01:02:03"]
    assert read("Feb 29 01:02:03", "Mar  1 00:00:00", year=2025) == [None, "2025-03-01 00:00:00"]


def test_without_a_year() -> None:
    """What cannot be read twice begins in the latest year in which it is not later than it may be."""
    assert read("Nov 20 00:00:00", year=None) == ["2026-11-20 00:00:00"]
    assert read("Nov 21 00:00:00", "Jan  1 00:00:00", year=None) == ["2025-11-21 00:00:00", "2026-01-01 00:00:00"]


def test_the_hour_that_was_twice() -> None:
    """It is told apart by the order of lines; where that tells nothing it is the first."""
    texts = [
        "Oct 27 01:59:59",
        "Oct 27 02:10:00",
        "Oct 27 02:59:00",
        "Oct 27 02:10:00",
        "Oct 27 02:11:00",
        "Oct 27 03:00:00",
    ]
    assert [text and text[11:] for text in read(*texts, zone=MADRID)] == [
        *("23:59:59", "00:10:00", "00:59:00", "01:10:00", "01:11:00", "02:00:00"),
    ]
    assert read("Oct 27 02:10:00", zone=MADRID) == ["2024-10-27 00:10:00"]
    assert read("2024-10-27T02:50:00", "2024-10-27T02:10:00", zone=MADRID) == [
        "2024-10-27 00:50:00",
        "2024-10-27 01:10:00",
    ]


def test_an_hour_that_never_was() -> None:
    """It is read as clocks were before they were put forward."""
    assert read("Mar 31 02:30:00", zone=MADRID) == ["2024-03-31 01:30:00"]


@pytest.mark.parametrize("zone", [UTC, MADRID])
def test_zones_of_their_own(zone: tzinfo) -> None:
    """A stamp with a zone needs none, beside others that do."""
    stamps = Stamps(zone, 2024, LATEST)
    seconds = (b"2024-07-01T12:00:00", b"2024-07-01T12:00:00", b"Jul  1 12:00:00", b"2024-07-01T12:00:00")
    times, good = stamps.column(seconds, (b".25", b"", b"", b",123456789"), (b"+02:00", b"Z", b"", b"-0130"))
    here = 12 if zone is UTC else 10
    hours = [(time - 1_719_792_000_000_000) / 3.6e9 for time in times.tolist()]
    assert good.all()
    assert hours == pytest.approx([10 + 0.25 / 3600, 12, here, 13.5 + 0.123456 / 3600])
    assert stamps.zoneless == 1


@given(
    st.lists(
        st.binary(min_size=15, max_size=19) | st.sampled_from([b"Nov 20 13:05:09", b"2024-07-01T12:00:00"]), min_size=1
    )
)
def test_any_bytes(texts: list[bytes]) -> None:
    """Whatever stands there is a time or none."""
    stamps = Stamps(MADRID, 2024, LATEST)
    nothing = tuple(b"" for _ in texts)
    times, good = stamps.column(tuple(texts), nothing, nothing)
    assert len(times) == len(good) == len(texts)
