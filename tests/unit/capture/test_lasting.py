"""Gaps that last are ended once, by whoever knows that they are over, also after a crash."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.lasting import Lasting
from anetcon.gaps import Cause, Gap


def lasting(folder: Path, since: int = 100) -> tuple[Lasting, list[Gap]]:
    """Lasting gaps whose rows are collected."""
    rows: list[Gap] = []
    return Lasting(folder / "lasting.json", rows.append, since), rows


def test_begun_and_ended(tmp_path: Path) -> None:
    """One row when it begins, however often that is said, and one when it ends."""
    gaps, rows = lasting(tmp_path)
    gaps.begin("a", Cause.TRACKING_OFF, 200)
    gaps.begin("a", Cause.TRACKING_OFF, 300)
    assert gaps.lasts("a", Cause.TRACKING_OFF)
    assert gaps.end("a", Cause.TRACKING_OFF, 400)
    assert not gaps.end("a", Cause.TRACKING_OFF, 500)
    assert rows == [Gap("a", 200, None, Cause.TRACKING_OFF), Gap("a", 200, 400, Cause.TRACKING_OFF)]


def test_one_that_is_older_than_this_capture(tmp_path: Path) -> None:
    """It begins where this capture's record does: what was before is told by another gap."""
    gaps, rows = lasting(tmp_path, since=1000)
    gaps.take(Gap("a", 5, None, Cause.NOT_ATTACHED))
    gaps.take(Gap("a", 5, 2000, Cause.NOT_ATTACHED))
    assert rows == [Gap("a", 1000, None, Cause.NOT_ATTACHED), Gap("a", 1000, 2000, Cause.NOT_ATTACHED)]


def test_one_that_is_over_already(tmp_path: Path) -> None:
    """A gap told with its end is written as it is, beside one that lasts."""
    gaps, rows = lasting(tmp_path)
    gaps.begin("a", Cause.OVERRUN, 200)
    gaps.take(Gap("a", 150, 160, Cause.OVERRUN, 7))
    gaps.take(Gap("b", 150, 160, Cause.NOT_ATTACHED))
    assert rows[1:] == [Gap("a", 150, 160, Cause.OVERRUN, 7), Gap("b", 150, 160, Cause.NOT_ATTACHED)]
    assert gaps.lasts("a", Cause.OVERRUN)


def test_what_a_crash_left(tmp_path: Path) -> None:
    """The next capture ends what lasted, at the last flush; what was ended in order is not ended again."""
    gaps, _ = lasting(tmp_path)
    gaps.begin("a", Cause.CONNTRACK_INACTIVE, 200)
    gaps.begin("b", Cause.TRACKING_OFF, 300)
    gaps.begin(None, Cause.LOG_ENGINE, 300)
    gaps.end("b", Cause.TRACKING_OFF, 350)
    gaps.before_flush()
    after, rows = lasting(tmp_path, since=600)
    after.end_those_before(500)
    assert rows == [Gap("a", 200, 500, Cause.CONNTRACK_INACTIVE), Gap(None, 300, 500, Cause.LOG_ENGINE)]
    after.begin("a", Cause.CONNTRACK_INACTIVE, 200)
    assert rows[-1] == Gap("a", 600, None, Cause.CONNTRACK_INACTIVE)
    after.before_flush()
    after.after_flush()
    third, rows = lasting(tmp_path, since=900)
    third.end_those_before(800)
    assert rows == [Gap("a", 600, 800, Cause.CONNTRACK_INACTIVE)]


def test_one_cause_goes_on_after_an_end_in_order(tmp_path: Path) -> None:
    """The next capture ends it, and knows that it has to go on with it."""
    gaps, rows = lasting(tmp_path)
    gaps.begin("a", Cause.STARTS_OFF, 200)
    gaps.begin("a", Cause.TRACKING_OFF, 300)
    gaps.end_all(400)
    assert rows[2:] == [Gap("a", 300, 400, Cause.TRACKING_OFF)]
    gaps.before_flush()
    gaps.after_flush()
    after, rows = lasting(tmp_path, since=400)
    after.end_those_before(400)
    assert rows == [Gap("a", 200, 400, Cause.STARTS_OFF)]
    assert after.left == {("a", Cause.STARTS_OFF)}


def test_an_end_that_the_journal_has_not_told_yet(tmp_path: Path) -> None:
    """A crash between the end of a gap and the flush that tells of it leaves it to be ended by the next capture."""
    gaps, _ = lasting(tmp_path)
    gaps.begin("a", Cause.TRACKING_OFF, 200)
    gaps.before_flush()
    gaps.after_flush()
    gaps.end("a", Cause.TRACKING_OFF, 350)
    gaps.before_flush()
    after, rows = lasting(tmp_path, since=600)
    after.end_those_before(500)
    assert rows == [Gap("a", 200, 500, Cause.TRACKING_OFF)]
    after.after_flush()
    last, rows = lasting(tmp_path, since=900)
    last.end_those_before(800)
    assert rows == []


@given(st.binary(max_size=64))
def test_a_damaged_file_is_passed_over(tmp_path_factory: object, content: bytes) -> None:
    """Whatever is in the file, capture starts."""
    folder = tmp_path_factory.mktemp("lasting")  # type: ignore[attr-defined]
    (folder / "lasting.json").write_bytes(content)
    lasting(folder)[0].end_those_before(500)


def test_a_full_disk_does_not_stop_it(tmp_path: Path) -> None:
    """A file that cannot be written is no failure; it is tried again with the next change."""
    gaps, _ = lasting(tmp_path / "missing")
    gaps.begin("a", Cause.TRACKING_OFF, 200)
    gaps.before_flush()
    (tmp_path / "missing").mkdir()
    gaps.before_flush()
    assert (tmp_path / "missing" / "lasting.json").exists()
