"""Times of stamps: the year from the order of lines, the hour that was twice, zones."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.history.stamps import Stamps

MADRID = ZoneInfo("Europe/Madrid")


def read(*texts: str, year: int = 2024, zone: tzinfo = UTC) -> list[str | None]:
    """Stamps without a fraction, as UTC; None: no time."""
    stamps = Stamps(zone)
    stamps.year = year
    seconds = tuple(text.encode() for text in texts)
    times, good = stamps.column(seconds, tuple(b"" for _ in texts), tuple(b"" for _ in texts))
    return [
        f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M:%S}" if fine else None
        for time, fine in zip(times.tolist(), good.tolist(), strict=True)
    ]


def test_years_of_their_own() -> None:
    """Beside stamps of the year that was given, others say theirs."""
    assert read("Dec 31 23:59:59", "2021-01-01T00:00:00", "Jan  1 00:00:00") == [
        *("2024-12-31 23:59:59", "2021-01-01 00:00:00", "2024-01-01 00:00:00"),
    ]


def test_another_year() -> None:
    """What was read for one year is not taken for the next."""
    stamps = Stamps(UTC)
    for year, expected in ((2024, 1_704_067_200_500_000), (2025, 1_735_689_600_500_000)):
        stamps.year = year
        assert stamps.column((b"Jan  1 00:00:00",), (b".5",), (b"",))[0].tolist() == [expected]


def test_lines_that_are_read_again() -> None:
    """They count once, and are of the same hour."""
    stamps = Stamps(MADRID)
    stamps.year = 2024
    texts = (b"Oct 27 02:59:00", b"Oct 27 02:10:00")
    mark = stamps.mark()
    times = []
    for _ in range(2):
        stamps.back(mark)
        times.append(stamps.column(texts, (b"", b""), (b"", b""))[0].tolist())
    assert times[0] == times[1]
    assert (stamps.zoneless, stamps.folded) == (2, 2)


def test_29_february() -> None:
    """It is a day in a leap year, and no time in another."""
    assert read("Feb 29 01:02:03", year=2024) == ["2024-02-29 01:02:03"]
    assert read("Feb 29 01:02:03", "Mar  1 00:00:00", year=2025) == [None, "2025-03-01 00:00:00"]


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
    stamps = Stamps(zone)
    stamps.year = 2024
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
    stamps = Stamps(MADRID)
    stamps.year = 2024
    nothing = tuple(b"" for _ in texts)
    times, good = stamps.column(tuple(texts), nothing, nothing)
    assert len(times) == len(good) == len(texts)
