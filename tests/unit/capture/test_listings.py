"""A table is listed again when its loss is over, and that is only told when it is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anetcon.capture.listings import AGAIN, MOST, PAUSE, SETTLED, SHARE, Listings
from anetcon.capture.losses import Losses
from anetcon.capture.namespace import Namespace
from anetcon.identity.reconcile import TOLERANCE
from anetcon.system.clock import Moment
from tests.support.capture_parts import NOW, Bench, message, namespace

SECOND = 1_000_000


class Listing(Bench):
    """A namespace that is listed, and what was drained of it."""

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self.journals = self.pipeline.journals
        self.drained = 0
        self.losses = Losses(self.pipeline.counted["drops"], self.clock)
        self.losses.begin(self.space, NOW, self.clock())
        self.look = self.losses._looks[self.space]
        self.listings = Listings(self.tables, self.journals, self.losses, self.clock, self.drain)

    def drain(self, _namespace: Namespace, _now: Moment) -> int:
        """Count."""
        self.drained += 1
        return 0

    def tick(self, microseconds: int = SECOND) -> None:
        """Time passes, and everything is flushed."""
        self.now += microseconds
        self.pipeline.flush(self.clock())
        self.listings.tick(self.clock())

    def told(self) -> list[dict[str, Any]]:
        """The rows of the table listings that wait to be written."""
        return self.journals.small["listings"]

    def list_once(self) -> None:
        """Ask, answer with one connection, and wait until it is settled."""
        self.tick(SETTLED)
        self.answer(message(1, start=NOW * 1000))
        self.tick(SETTLED)


def test_a_listing(tmp_path: Path) -> None:
    """What is open is recorded as dumped, the socket is drained, and when all of it is on disk that is told."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    begun = bench.now
    bench.answer(message(1, start=NOW * 1000))
    assert bench.drained == 1
    bench.tick(SETTLED - 1)
    assert bench.told() == []
    bench.tick(1)
    (row,) = bench.told()
    assert (row["from"], row["to"], row["netns_inode"]) == (begun, bench.journals.flushed.wall, bench.space.inode)
    assert [r["origin"] for r in bench.rows()] == ["dump"]
    assert bench.listings.waiting() == 0


def test_a_loss_that_is_not_over_is_waited_for(tmp_path: Path) -> None:
    """Nothing is listed before the kernel has refused no event for a while."""
    bench = Listing(tmp_path)
    bench.look.moved = bench.now + SECOND
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    bench.tick(SECOND - 1)
    assert bench.requests.waiting() == 0
    bench.tick(1)
    assert bench.requests.waiting() == 1


def test_what_was_lost_is_older_than_those_that_are_spared(tmp_path: Path) -> None:
    """A listing ends nothing that began in the last second before it: the latest loss is further back, set clock or
    not."""
    assert SETTLED > TOLERANCE
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED - 1)
    bench.listings.want(bench.space)
    bench.tick(SETTLED - 1)
    bench.journals.stepped(SECOND)
    bench.tick(0)
    assert bench.requests.waiting() == 0
    bench.tick(1)
    assert bench.requests.waiting() == 1


def drop(bench: Listing) -> None:
    """The kernel refused an event meanwhile."""
    bench.look.drops += 1


def shed(bench: Listing) -> None:
    """The disk was full and rows were dropped."""
    bench.journals.backlog.sheds += 1


def rotate(bench: Listing) -> None:
    """Another segment was begun."""
    bench.journals.segments._writers["connections"].rotate()


def step(bench: Listing) -> None:
    """The clock was set."""
    bench.journals.stepped(5)


@pytest.mark.parametrize("spoil", [drop, shed, rotate, step])
def test_what_comes_between_spoils_it(tmp_path: Path, spoil: Callable[[Listing], None]) -> None:
    """Then nothing is claimed, and the table is listed once more."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    bench.answer(message(1, start=NOW * 1000))
    spoil(bench)
    bench.tick(SETTLED)
    assert bench.told() == []
    assert bench.listings.waiting() == 1
    bench.list_once()
    assert len(bench.told()) == 1


def test_a_message_that_cannot_be_read_spoils_it(tmp_path: Path) -> None:
    """A connection in a message that was not understood must not seem to be absent."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    bench.answer(message(1, start=NOW * 1000)[:40].ljust(64, b"\xff"))
    bench.tick(SETTLED)
    assert bench.told() == []


def test_it_is_given_up_after_some_tries(tmp_path: Path) -> None:
    """A namespace that never settles costs no more than so many listings."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    for _ in range(MOST):
        assert bench.listings.waiting() == 1
        bench.answer(message(1, start=NOW * 1000))
        drop(bench)
        bench.tick(SETTLED)
    assert bench.listings.waiting() == 0
    assert bench.told() == []


def test_a_loss_during_a_listing_is_listed_as_well(tmp_path: Path) -> None:
    """The listing that is under way is told, and another one follows."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    bench.listings.want(bench.space)
    bench.answer(message(1, start=NOW * 1000))
    bench.tick(SETTLED)
    assert len(bench.told()) == 1
    assert bench.listings.waiting() == 1


def test_it_takes_a_hundredth_of_the_time(tmp_path: Path) -> None:
    """After a listing of 50 ms the next one waits for 5 s, after a quick one a moment."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    bench.now += 50_000
    bench.answer(message(1, start=NOW * 1000))
    done = bench.now
    bench.tick(SETTLED)
    bench.listings.want(bench.space)
    bench.tick(done + SHARE * 50_000 - bench.now - 1)
    assert bench.requests.waiting() == 0
    bench.tick(1)
    assert bench.requests.waiting() == 1
    assert PAUSE < SHARE * 50_000


def test_a_namespace_that_goes_is_forgotten(tmp_path: Path) -> None:
    """Also in the middle of its listing."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    bench.tick(SETTLED)
    bench.listings.forget(bench.space)
    bench.answer(message(1, start=NOW * 1000))
    bench.tick(SETTLED)
    assert bench.told() == []
    assert bench.listings.waiting() == 0


def test_a_loss_that_goes_on_is_listed_now_and_then(tmp_path: Path) -> None:
    """Every ten seconds what is open is recorded, and nothing is claimed before the loss is over."""
    bench = Listing(tmp_path)
    bench.listings.want(bench.space)
    asked = 0
    for _ in range(3 * AGAIN // SECOND):
        bench.look.moved = bench.now + SECOND
        bench.tick()
        if bench.requests.waiting():
            asked += 1
            bench.answer(message(1, start=NOW * 1000))
    assert asked == 3
    assert bench.told() == []
    bench.tick(SETTLED)
    bench.answer(message(1, start=NOW * 1000))
    bench.tick(SETTLED)
    assert len(bench.told()) == 1


def test_the_next_does_not_wait_until_the_one_before_is_settled(tmp_path: Path) -> None:
    """Where many are to be listed, one is asked for a moment after the other."""
    bench = Listing(tmp_path)
    other, _, requests = namespace("qrouter-2", slot=1)
    bench.pipeline.add(other)
    bench.losses.begin(other, NOW, bench.clock())
    bench.listings.want(bench.space)
    bench.listings.want(other)
    bench.tick(SETTLED)
    bench.answer(message(1, start=NOW * 1000))
    bench.tick(PAUSE)
    assert requests.recv(4096)
    assert bench.told() == []
