"""Times as people write them, and how they are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.query.times import SECOND, duration, moment, rfc3339, spoken, zone_named

NOW = 1_795_179_909_000_000
"""2026-11-20T13:05:09Z."""
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-20T13:05:09Z", NOW),
        ("2026-11-20t13:05:09z", NOW),
        ("2026-11-20 13:05:09", NOW),
        ("2026-11-20 13:05:09 UTC", NOW),
        ("2026-11-20T14:05:09+01:00", NOW),
        ("2026-11-20T12:35:09-0030", NOW),
        ("2026-11-20 13:05", NOW - 9 * SECOND),
        ("2026-11-20", NOW - 47109 * SECOND),
        ("2026-11-20T13:05:09.25Z", NOW + 250_000),
        ("2026-11-20T13:05:09.1234567Z", NOW + 123_456),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND),
        ("1795179909", NOW),
        ("1795179909.5", NOW + 500_000),
        ("now", NOW),
        ("  10 minutes  ago ", NOW - 600 * SECOND),
        ("1.5 hours ago", NOW - 5400 * SECOND),
        ("a day ago", NOW - 86400 * SECOND),
        ("2w ago", NOW - 14 * 86400 * SECOND),
        ("today 13:00", NOW - 309 * SECOND),
        ("yesterday", NOW - (47109 + 86400) * SECOND),
        ("yesterday 13:05:09", NOW - 86400 * SECOND),
    ],
)
def test_what_a_time_means(text: str, read: int) -> None:
    """Each way of writing a time is read, without a zone as UTC."""
    assert moment(text, now=NOW).us == read


@pytest.mark.parametrize(
    "text",
    ["", "soon", "20/11/2026", "2026-13-01", "2026-11-20 25:00", "2026-11-20 13:05:61", "2026-11-20T13:05:09+99:00",
     "1795179909000", "-5", "1e9", "10 ago", "1969-12-31", "99999999 weeks ago",
     "٣ minutes ago", "٢٠٢٦-11-20", "1795179٩09", "2026-11-20T13:05:09+0٣:00"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    """Anything else is a ValueError that names what was written."""
    with pytest.raises(ValueError, match="'"):
        moment(text, now=NOW)


@given(MOMENTS, OFFSETS)
def test_rfc3339_reads_back(at: datetime, zone: timezone) -> None:
    """A time with an offset is read to the microsecond, whatever --tz says."""
    at = at.replace(tzinfo=zone)
    expected = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert moment(at.isoformat(), zone_named("Asia/Tokyo")).us == expected
    assert moment(rfc3339(expected)).us == expected


@given(MOMENTS, OFFSETS)
def test_a_time_without_zone_is_in_the_zone_asked_for(at: datetime, zone: timezone) -> None:
    """--tz gives the zone of a time that names none."""
    assert moment(at.isoformat(" "), zone) == moment(at.replace(tzinfo=zone).isoformat())


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """No text ends in anything but a moment of the years 1970 to 2200, or a ValueError."""
    try:
        assert 0 <= moment(text).us <= 7_258_118_400 * SECOND
    except ValueError as error:
        assert str(error)  # noqa: PT017 - nearly every text is refused


def test_clocks_put_back_and_forward() -> None:
    """A local time that was twice is read as the first, and one that never was is said to be none."""
    madrid = zone_named("Europe/Madrid")
    twice = moment("2026-10-25 02:30", madrid)
    assert rfc3339(twice.us) == "2026-10-25T00:30:00.000000Z"
    assert "2026-10-25 01:30:00 UTC" in twice.note
    assert "never" in moment("2026-03-29 02:30", madrid).note
    assert moment("2026-07-01 12:00", madrid).note == ""


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "+99:00", "Europe"])
def test_zones_that_are_none(name: str) -> None:
    """A zone nobody knows is refused by name."""
    with pytest.raises(ValueError, match=r"zone|offset"):
        zone_named(name)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("60s", 60),
        ("60", 60),
        ("5m", 300),
        ("1.5h", 5400),
        ("1d", 86400),
        ("500ms", 0.5),
        ("1 min", 60),
        ("2w", 1209600),
    ],
)
def test_lengths_of_time(text: str, length: float) -> None:
    """A length has a unit, or is in seconds."""
    assert duration(text) == length * SECOND


@pytest.mark.parametrize("text", ["", "-1s", "1y", "long", "1h30m", "9" * 30 + "w"])
def test_what_is_no_length(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="'"):
        duration(text)


@pytest.mark.parametrize(
    ("us", "people"),
    [(NOW, "2026-11-20 13:05:09"), (NOW + 250_000, "2026-11-20 13:05:09.25"), (0, "1970-01-01 00:00:00")],
)
def test_for_people_and_for_programs(us: int, people: str) -> None:
    """People read a date and a time with as much of a second as there is; programs RFC 3339 with microseconds."""
    assert spoken(us) == spoken(rfc3339(us)) == people
