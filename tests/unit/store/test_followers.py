"""What is kept of the journal for followers that are behind, and what is given up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anetcon.journal.write import segments
from anetcon.store import followers, layout
from anetcon.store.coverage import Question, coverage
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from tests.support.records import SECOND, T0, Making, whole


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five segments of one connection each, ten seconds apart."""
    making = Making(tmp_path / "store").audited().alive(T0)
    for number in range(5):
        making.add(*whole(src_port=number)).alive(T0 + (number + 1) * 10 * SECOND).rotate()
    return making.alive(making.clock + 1).close()


def follower(store: Path, name: str, keep: object) -> None:
    """A follower that still needs a segment."""
    path = layout.follower_path(store, name)
    layout.make_folder(path.parent)
    path.write_text(json.dumps({"keep": keep}))


def kept(store: Path) -> list[int]:
    """The segments of connections there are."""
    return segments(layout.journal_folder(store, "connections"))


def sealed(store: Path, limit: int) -> Sealer:
    """All of it, with so many bytes kept for followers."""
    sealer = Sealer(store, lambda: T0 + 60 * SECOND, Limits(journal=limit, free=0), "gw1")
    while sealer.seal():
        pass
    return sealer


def test_what_each_follower_needs(store: Path) -> None:
    """The oldest segment of each; all, when it cannot be told."""
    assert list(followers.needed(store)) == []
    follower(store, "text", 3)
    follower(store, "other", "x")
    assert sorted(followers.needed(store)) == [0, 3]


def test_the_journal_waits_for_who_is_behind(store: Path) -> None:
    """Up to the size there may be, nothing is given up, and there is no gap."""
    follower(store, "text", 2)
    sealed(store, 10**6)
    assert kept(store) == [2, 3, 4, 5, 6]
    assert coverage(Store(store), Question(T0, T0 + SECOND, everything=True), T0 + SECOND).complete


def test_beyond_its_size_the_oldest_is_given_up(store: Path) -> None:
    """The oldest segments go, as many as are too much; the gap tells from when to when and how many rows, and leaves
    the record complete."""
    follower(store, "text", 1)
    follower(store, "quick", 6)
    size = followers.size(store, "connections", 3)
    sealer = sealed(store, round(2.5 * size))
    assert kept(store) == [4, 5, 6]
    assert len(Store(store).connections().read_all()) == 5
    (gap,) = Store(store).intervals("gaps").to_pylist()
    assert (gap["node"], gap["cause"], gap["lost"], gap["netns"]) == ("gw1", "sink-behind", 6, None)
    assert gap["to"].timestamp() * 1e6 == T0 + 30 * SECOND
    now = T0 + 40 * SECOND
    assert coverage(Store(store), Question(T0, now), now).complete
    assert coverage(Store(store), Question(T0, now, everything=True), now).gaps["cause"].to_pylist() == ["sink-behind"]
    sealer.drop()
    assert kept(store) == [4, 5, 6]


def test_what_nobody_needs_is_nobodys_gap(store: Path) -> None:
    """Without a follower, or with all of them past it, nothing is given up."""
    assert followers.give_up(store, 5, 0) is None
    follower(store, "text", 6)
    assert followers.give_up(store, 5, 0) is None
    follower(store, "text", 5)
    given = followers.give_up(store, 5, 0)
    assert given is not None
    assert (given.segment, given.rows) == (5, 2)


def test_a_disk_without_room_keeps_little(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the floor of free space no more is kept for followers than what one of them needs a moment for."""
    monkeypatch.setattr(followers, "PRESSED", 1)
    follower(store, "text", 1)
    sealer = Sealer(store, lambda: T0, Limits(free=1 << 60), "gw1")
    assert sealer.seal()
    assert kept(store) == [6]
