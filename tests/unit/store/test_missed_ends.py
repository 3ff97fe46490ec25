"""A connection whose end was lost ends with the listing that does not have it; any other stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import connections
from anetcon.identity.tuples import columns_of
from anetcon.store import missed_ends
from anetcon.store.missed_ends import Listing
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from tests.support.records import DAY, INODE, ROUTER, SECOND, T0, Making, batch, end, start

LISTED, DONE = T0 + 100 * SECOND, T0 + 103 * SECOND


def listing(**values: Any) -> dict[str, Any]:
    """A row of the table listings."""
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "from": LISTED, "to": DONE}
    return row | {name.rstrip("_"): value for name, value in values.items()}


def lives(making: Making, last: int) -> list[tuple[int, float | None, str | None]]:
    """Port, seconds and reason of every connection, once all is sealed."""
    making.rotate()
    assert Sealer(making.path, clock=lambda: last).seal()
    rows = Store(making.path).connections().read_all().to_pylist()
    return sorted(
        (row["src_port"], row["end"] and (row["end"] - row["start"]).total_seconds(), row["end_reason"]) for row in rows
    )


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A journal of three connections of which one was in the table later, one not, and one had ended."""
    making = Making(tmp_path / "store").alive(T0)
    making.add(start(src_port=1), start(src_port=2), *[start(src_port=3), end(5, src_port=3)])
    return making.alive(LISTED + SECOND).add(start(src_port=1, origin="dump"), start(src_port=4, start=LISTED))


def test_what_a_listing_does_not_have_has_ended(making: Making) -> None:
    """It ended for an unknown reason, when the listing began at the latest; the others are as they were."""
    making.add(listing(), table="listings").alive(DONE)
    assert lives(making, DONE) == [(1, None, None), (2, 100.0, "unknown"), (3, 5.0, "closed"), (4, None, None)]


def test_the_last_of_several_listings_counts(making: Making) -> None:
    """What an earlier listing had and a later one has not ended between the two."""
    making.add(listing(), table="listings").alive(LISTED + 8 * SECOND).alive(LISTED + 10 * SECOND).add(
        start(src_port=4, start=LISTED, origin="dump")
    )
    later = listing(from_=LISTED + 9 * SECOND, to=LISTED + 12 * SECOND)
    making.add(later, table="listings").alive(LISTED + 12 * SECOND)
    assert lives(making, DONE) == [(1, 109.0, "unknown"), (2, 109.0, "unknown"), (3, 5.0, "closed"), (4, None, None)]


def test_rows_of_a_flush_that_is_not_whole(making: Making) -> None:
    """Capture had more to read, so the flush with what the later listing found ends when the one before did: it has it
    nevertheless."""
    making.add(listing(), table="listings").alive(LISTED + 8 * SECOND)
    making.add(start(src_port=1, origin="dump"), start(src_port=4, start=LISTED, origin="dump"))
    later = listing(from_=LISTED + 9 * SECOND, to=LISTED + 12 * SECOND)
    making.add(later, table="listings").alive(LISTED + 12 * SECOND)
    assert lives(making, DONE) == [(1, None, None), (2, 109.0, "unknown"), (3, 5.0, "closed"), (4, None, None)]


def test_an_end_that_comes_late_wins(making: Making) -> None:
    """The kernel's own end, read before the seal, is the one on record; one that comes again later changes nothing."""
    making.add(listing(), table="listings").alive(DONE).add(end(7, src_port=2)).alive(DONE + SECOND)
    expected = [(1, None, None), (2, 7.0, "closed"), (3, 5.0, "closed"), (4, None, None)]
    assert lives(making, DONE) == expected
    making.add(end(7, src_port=2)).alive(DONE + 2 * SECOND)
    assert lives(making, DONE) == expected


def test_an_end_behind_the_seal_makes_no_second_connection(making: Making) -> None:
    """When the kernel's end comes after the other one was sealed, the connection is still one."""
    making.add(listing(), table="listings").alive(DONE)
    lives(making, DONE)
    making.add(end(7, src_port=2)).alive(DONE + SECOND)
    assert [life for life in lives(making, DONE + SECOND) if life[0] == 2] == [(2, 100.0, "unknown")]


@pytest.mark.parametrize(
    "other",
    [{"from_": LISTED - DAY}, {"to": DONE + SECOND}, {"netns_inode": INODE + 1}, {"from_": T0 + SECOND // 2}],
    ids=["begun in an earlier segment", "not all read yet", "of another namespace", "before it began"],
)
def test_listings_that_say_nothing(making: Making, other: dict[str, Any]) -> None:
    """A listing that is not whole among what is sealed, or about something else, ends nothing."""
    making.add(listing(**other), table="listings").alive(DONE)
    assert (2, None, None) in lives(making, DONE)


def test_what_was_open_at_an_earlier_seal(making: Making) -> None:
    """A connection carried along as open ends as well, be it known by an earlier listing alone: that is not this."""
    making.add(start(src_port=5, origin="dump")).alive(LISTED - SECOND + 2 * SECOND)
    lives(making, LISTED)
    making.alive(LISTED + 20 * SECOND).add(start(src_port=1, origin="dump"))
    again = listing(from_=LISTED + 19 * SECOND, to=LISTED + 21 * SECOND)
    making.add(again, table="listings").alive(LISTED + 21 * SECOND)
    found = lives(making, LISTED + 30 * SECOND)
    gone = [(4, 19.0, "unknown"), (5, 119.0, "unknown")]
    assert found == [(1, None, None), (2, 119.0, "unknown"), (3, 5.0, "closed"), *gone]


KINDS = ("gone", "there", "ended", "ended later", "younger", "elsewhere")


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_only_what_is_gone_ends(kinds: list[str], chosen: Any) -> None:
    """In whatever order rows come: exactly the connections without an end, a row in the listing, or youth are ended."""
    before, after = [], []
    for port, kind in enumerate(kinds):
        began = LISTED + SECOND if kind == "younger" else T0 - port * 5 * SECOND
        inode = INODE + 1 if kind == "elsewhere" else INODE
        named = {"src_port": port, "start": began, "netns_inode": inode}
        before.append(start(**named))
        if kind == "there":
            after.append(start(**named, origin="dump"))
        elif kind.startswith("ended"):
            (after if kind == "ended later" else before).append(end(3, **named))
    chosen.shuffle(before)
    chosen.shuffle(after)
    table = pa.Table.from_batches([batch("connections", before), *([batch("connections", after)] if after else [])])
    table = table.unify_dictionaries().combine_chunks()
    columns = columns_of(table)
    opened = connections.settle(columns).open
    rows, ends = missed_ends.absent(columns, opened, len(before), [Listing(INODE, LISTED, 0)])
    gone = {port for port, kind in enumerate(kinds) if kind == "gone"}
    assert set(table["src_port"].take(pa.array(rows)).to_pylist()) == gone
    merged, still = connections.merge(pa.concat_tables([table, missed_ends.ended(table, rows, ends)]))
    assert len(merged) + len(still) == len(kinds)
    reasons = dict(zip(merged["src_port"].to_pylist(), merged["end_reason"].to_pylist(), strict=True))
    assert {port for port, reason in reasons.items() if reason == "unknown"} == gone
    assert np.all(ends == LISTED)
