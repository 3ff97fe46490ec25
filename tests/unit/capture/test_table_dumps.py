"""What dumps add: connections that were open, that have no start time, that go with their namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anetcon.capture.table_dumps import LOOK_AGAIN, Listed, Opened
from tests.support.capture_parts import NOW, Bench, at, events, message


def micro(row: dict[str, Any], name: str) -> int:
    """A time of a row in microseconds."""
    value: int = round(row[name].timestamp() * 1e6)
    return value


def test_open_connections_are_recorded_as_dumped(tmp_path: Path) -> None:
    """What was open at attach is there with the kernel's start time and origin dump."""
    bench = Bench(tmp_path)
    found: list[Opened | None] = []
    bench.tables.opened(bench.space, found.append)
    bench.answer(message(1, start=(NOW - 99) * 1000, counters=((5, 500), (4, 400))), message(2, start=NOW * 1000 - 1))
    assert found == [Opened(2, 2)]
    first = next(row for row in bench.rows() if row["src_port"] == 1)
    assert (first["origin"], first["end"], micro(first, "start"), first["bytes_in"]) == ("dump", None, NOW - 99, 400)
    assert not bench.pipeline.ageless.any(bench.space)


def test_a_start_is_counted_once(tmp_path: Path) -> None:
    """What a dump finds is counted when it is older than our listening: the rest is told by events, and what is listed
    again was counted before."""
    bench = Bench(tmp_path)
    old, new = message(1, start=(NOW - 99) * 1000), message(2, start=(NOW + 5) * 1000)
    bench.tables.opened(bench.space, lambda _: None)
    bench.now += 10
    bench.answer(old, new, message(3))
    bench.pipeline.take(events(new), at(NOW))
    bench.tables.listed(bench.space, [], lambda _: None)
    bench.answer(old, new, message(3))
    assert len(bench.rows()) == 7
    assert bench.pipeline.counted["starts"][bench.space.slot] == 3


def test_open_connections_may_only_be_counted(tmp_path: Path) -> None:
    """Under a LOG engine the first dump tells how many there were before us, and leaves no row behind."""
    bench = Bench(tmp_path)
    found: list[Opened | None] = []
    bench.tables.opened(bench.space, found.append, record=False)
    bench.answer(message(1, start=(NOW - 99) * 1000), message(2))
    assert found == [Opened(2, 2)]
    assert bench.rows() == []
    assert not bench.pipeline.ageless.any(bench.space)


def test_what_began_while_we_listened_already_is_not_older(tmp_path: Path) -> None:
    """The dump tells what was there before us from what came between our listening and the dump."""
    bench = Bench(tmp_path)
    found: list[Opened | None] = []
    bench.tables.opened(bench.space, found.append)
    bench.now += 1_000_000
    bench.answer(message(1, start=(NOW + 5) * 1000), message(2, start=(NOW - 5) * 1000), message(3))
    assert found == [Opened(3, 2)]


def test_a_connection_without_start_ends_when_it_is_gone(tmp_path: Path) -> None:
    """It keeps the time it was first seen, is looked up again, and its end is written when it is no longer there."""
    bench = Bench(tmp_path)
    bench.tables.opened(bench.space, lambda _: None)
    bench.answer(message(1), message(2))
    bench.now += LOOK_AGAIN
    bench.tables.look_again(bench.space, bench.clock())
    bench.answer(message(2))
    ended = [row for row in bench.rows() if row["end"] is not None]
    assert [(r["src_port"], r["end_reason"], micro(r, "start"), micro(r, "end")) for r in ended] == [
        (1, "unknown", NOW, NOW + LOOK_AGAIN)
    ]
    bench.tables.look_again(bench.space, at(bench.now + 1))
    assert bench.requests.waiting() == 0


def test_an_end_event_of_such_a_connection_gets_its_start(tmp_path: Path) -> None:
    """Should the kernel report the end after all, it carries the start of the dump, and is not written twice."""
    bench = Bench(tmp_path)
    bench.tables.opened(bench.space, lambda _: None)
    bench.answer(message(1))
    bench.pipeline.take(events(message(1, destroy=True, start=None, stop=None, happened=(NOW + 50) * 1000)), at(NOW))
    bench.now += LOOK_AGAIN
    bench.tables.look_again(bench.space, bench.clock())
    assert bench.requests.waiting() == 0
    ended = [row for row in bench.rows() if row["end"] is not None]
    assert [(micro(row, "start"), micro(row, "end")) for row in ended] == [(NOW, NOW + 50)]


def test_what_is_open_ends_with_the_namespace(tmp_path: Path) -> None:
    """The last dump's connections end then, because the namespace is gone."""
    bench = Bench(tmp_path)
    bench.tables.opened(bench.space, lambda _: None)
    bench.answer(message(1))
    bench.now += 60_000_000
    answered: list[bool] = []
    bench.tables.ended(bench.space, answered.append)
    bench.answer(message(1), message(2, start=(NOW - 5) * 1000, counters=((1, 2), (3, 4))))
    ended = {row["src_port"]: row for row in bench.rows() if row["end"] is not None}
    assert answered == [True]
    assert {row["end_reason"] for row in ended.values()} == {"namespace-gone"}
    assert [micro(ended[port], "start") for port in (1, 2)] == [NOW, NOW - 5]
    assert ended[2]["bytes_in"] == 4


def test_a_connection_made_while_events_were_off_ends_when_it_is_gone(tmp_path: Path) -> None:
    """Its start is known and its end is never told: it is looked up again, and one of the same tuple is another one."""
    bench = Bench(tmp_path)
    listed: list[Listed | None] = []
    off = (NOW - 500, NOW - 100)
    bench.tables.listed(bench.space, [off], listed.append)
    inside, outside = message(1, start=(NOW - 300) * 1000), message(2, start=(NOW - 50) * 1000)
    bench.answer(inside, outside, message(3, start=(NOW - 300) * 1000))
    assert listed == [Listed(3, 0)]
    bench.now += 1
    bench.tables.look_again(bench.space, bench.clock())
    bench.answer(message(1, start=NOW * 1000), message(3, start=(NOW - 300) * 1000))
    ended = [row for row in bench.rows() if row["end"]]
    assert [(row["src_port"], micro(row, "start"), row["end_reason"]) for row in ended] == [(1, NOW - 300, "unknown")]
    bench.now += LOOK_AGAIN
    bench.tables.look_again(bench.space, bench.clock())
    bench.answer()
    assert {row["src_port"] for row in bench.rows() if row["end"]} == {1, 3}
    bench.now += LOOK_AGAIN
    bench.tables.look_again(bench.space, bench.clock())
    assert bench.requests.waiting() == 0
