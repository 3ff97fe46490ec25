"""A gap lasts while starts are missing, and ends as none once the table has been listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.capture.lasting import Lasting
from anetcon.capture.listings import AGAIN, Listings
from anetcon.capture.namespace import Namespace
from anetcon.capture.starts import Starts
from anetcon.gaps import Cause, Gap
from anetcon.system.clock import Moment
from tests.support.capture_parts import at, namespace

Row = tuple[int | None, int | None, int | None]


class Wanted(Listings):
    """Listings that are only wanted."""

    def __init__(self) -> None:
        self.wanted: list[Namespace] = []

    def want(self, namespace: Namespace, silent: object = None) -> None:  # noqa: ARG002 - that of Listings
        """Note it."""
        self.wanted.append(namespace)

    def waits(self, namespace: Namespace) -> bool:
        """Whether it is."""
        return namespace in self.wanted


class Bench:
    """One namespace."""

    def __init__(self, folder: Path, *, wanted: bool = True) -> None:
        self.rows: list[Row] = []
        self.lasting = Lasting(folder / "lasting.json", self.take, 0)
        self.listings = Wanted()
        self.starts = Starts(self.lasting, self.listings, wanted)
        self.space, *_ = namespace()

    def take(self, gap: Gap) -> None:
        """A row of gaps."""
        assert (gap.netns, gap.cause) == (self.space.netns, Cause.STARTS_OFF)
        self.rows.append((gap.start, gap.end, gap.lost))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One for a test."""
    return Bench(tmp_path)


def test_dropped_starts_are_a_gap_until_the_table_was_listed(bench: Bench) -> None:
    """A listing that began before the last one was dropped does not count; one afterwards ends it with none lost."""
    bench.starts.missed(bench.space, 10, at(20))
    bench.starts.missed(bench.space, 30, at(40))
    assert bench.rows == [(10, None, None)]
    assert bench.listings.wanted
    bench.starts.listed(bench.space, at(39))
    assert len(bench.rows) == 1
    bench.starts.listed(bench.space, at(40))
    assert bench.rows[1:] == [(10, 40, 0)]
    bench.starts.listed(bench.space, at(50))
    assert len(bench.rows) == 2


def test_while_they_are_off_the_gap_goes_on_from_each_listing(bench: Bench) -> None:
    """What was open at a listing is on record; it is over with one after they came back."""
    bench.starts.off(bench.space, 10)
    bench.starts.listed(bench.space, at(50))
    assert bench.rows[1:] == [(10, 50, 0), (50, None, None)]
    bench.starts.on(bench.space, at(60))
    bench.starts.listed(bench.space, at(55))
    assert len(bench.rows) == 3
    bench.starts.listed(bench.space, at(70))
    assert bench.rows[3:] == [(50, 70, 0)]


def test_where_ends_were_lost_too_it_stays_a_gap_until_then(bench: Bench) -> None:
    """Who began and ended meanwhile is known by nothing; what began later is."""
    bench.starts.off(bench.space, 10)
    bench.starts.lost(bench.space, 30)
    bench.starts.on(bench.space, at(40))
    bench.starts.listed(bench.space, at(50))
    assert bench.rows == [(10, None, None), (10, 30, None), (30, None, None), (30, 50, 0)]


@pytest.mark.parametrize(("whole", "lost"), [(True, 0), (False, None)])
def test_a_namespace_that_goes(bench: Bench, whole: bool, lost: int | None) -> None:
    """Its last listing ends the gap; where there is none it stays one."""
    bench.starts.missed(bench.space, 10, at(20))
    bench.starts.gone(bench.space, 30, whole=whole)
    bench.starts.gone(bench.space, 40, whole=True)
    assert bench.rows[1:] == [(10, 30, lost)]


def test_it_is_listed_again_until_all_is_known(bench: Bench) -> None:
    """While they are off, and where a listing was given up."""
    bench.starts.off(bench.space, 10)
    bench.starts.tick(at(20))
    bench.listings.wanted.clear()
    bench.starts.tick(at(20 + AGAIN - 1))
    assert not bench.listings.wanted
    bench.starts.tick(at(20 + AGAIN))
    assert bench.listings.wanted


def test_a_clock_that_is_set(bench: Bench) -> None:
    """Whether a listing began before the last start was dropped is no matter of the wall clock."""
    bench.starts.missed(bench.space, 10, at(20))
    bench.starts.listed(bench.space, Moment(110, 10))
    assert len(bench.rows) == 1
    bench.starts.listed(bench.space, Moment(15, 20))
    assert bench.rows[1:] == [(10, 15, 0)]


def test_starts_that_are_not_recorded_are_never_missing(tmp_path: Path) -> None:
    """With `record = ["end"]`."""
    bench = Bench(tmp_path, wanted=False)
    bench.starts.missed(bench.space, 10, at(20))
    bench.starts.off(bench.space, 10)
    assert bench.rows == []
