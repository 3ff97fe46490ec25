"""Which files become one, and when."""

from __future__ import annotations

from typing import Any

import pytest

from anetcon.record import FORMAT
from anetcon.store import layout
from anetcon.store.compactable import REMEMBERED, jobs
from anetcon.store.entry import COMMIT, Entry, Why, rfc3339
from anetcon.store.state import State
from tests.support.records import DAY, SECOND, T0

HOUR, MINUTE = 3600 * SECOND, 60 * SECOND
MIDNIGHT = T0 - T0 % DAY
NOON = MIDNIGHT + DAY // 2


def committed(state: State, *ends: int, why: Why = Why.SEAL, long: bool = False, **values: Any) -> State:
    """One commit more, with a file of connections for each of these ends."""
    seal = state.seal + 1
    adds = [
        Entry(
            prev="",
            kind="connections",
            seal=seal,
            file=layout.connections_file("gw1", layout.day_of(end), seal, long),
            start=rfc3339(end - MINUTE),
            end=rfc3339(end),
            **{"rows": 100, "bytes": 1000, "format": FORMAT, **values},
        )
        for end in ends
    ]
    state.commit(adds, Entry(prev="", kind=COMMIT, why=why, seal=seal, time=rfc3339(max(ends))))
    return state


def compacted(state: State, now: int) -> State:
    """Everything that is to be done then, done."""
    for job in jobs(state, now):
        seal = state.seal + 1
        adds = [
            Entry(
                prev="",
                kind="connections",
                seal=seal,
                file=layout.compacted_file(group[0].file, job.span, seal),
                start=min(entry.start or "" for entry in group),
                end=max(entry.end or "" for entry in group),
                rows=sum(entry.rows for entry in group),
                format=FORMAT,
            )
            for group in job.groups
        ]
        last = Entry(prev="", kind=COMMIT, why=Why.COMPACTION, seal=seal, removes=tuple(job.files), time=rfc3339(now))
        state.require(adds, last)
        state.commit(adds, last)
    return state


def files(state: State, now: int) -> list[list[int]]:
    """The commits of the files of each group that is to become one."""
    return [[entry.seal for entry in group] for job in jobs(state, now) for group in job.groups]


def hour_of_seals(state: State, begin: int, number: int = 6) -> State:
    """Ten-minute seals of an hour."""
    for at in range(number):
        committed(state, begin + (at + 1) * 10 * MINUTE - 1)
    return state


def test_an_hour_that_is_over() -> None:
    """Once what came behind it is sealed, and nothing of it is remembered; not a moment before."""
    state = hour_of_seals(State(), NOON)
    assert files(state, NOON + HOUR + 1) == []
    committed(state, NOON + HOUR + REMEMBERED - SECOND)
    assert files(state, NOON + HOUR + 10 * MINUTE) == []
    committed(state, NOON + HOUR + REMEMBERED)
    assert files(state, NOON + HOUR - 1) == []
    assert files(state, NOON + HOUR) == [[1, 2, 3, 4, 5, 6]]


def test_what_lasted_long_is_apart() -> None:
    """In the same commit; one file alone stays as it is."""
    state = hour_of_seals(State(), NOON, 3)
    for at in (1, 2):
        committed(state, NOON + at * MINUTE, long=True)
    committed(state, NOON + 2 * HOUR)
    (job,) = jobs(state, NOON + 2 * HOUR)
    assert [[entry.seal for entry in group] for group in job.groups] == [[1, 2, 3], [4, 5]]
    assert layout.compacted_file(job.groups[1][0].file, job.span, 9).endswith("long-hour.00000009.parquet")
    one = committed(committed(State(), NOON), NOON + 2 * HOUR)
    assert files(one, NOON + 2 * HOUR) == []


def test_an_hour_is_compacted_once() -> None:
    """What comes later of it waits for the day."""
    state = committed(hour_of_seals(State(), NOON), NOON + 2 * HOUR)
    compacted(state, NOON + 2 * HOUR)
    committed(state, NOON + MINUTE)
    committed(state, NOON + 3 * HOUR)
    assert files(state, NOON + 3 * HOUR) == []


def test_a_day_that_is_over() -> None:
    """An hour later all of it becomes one, and what comes then waits until it is a tenth."""
    state = State()
    for hour in range(20, 24):
        hour_of_seals(state, MIDNIGHT + hour * HOUR)
    committed(state, MIDNIGHT + DAY + HOUR - 1)
    compacted(state, MIDNIGHT + DAY + HOUR - 1)
    assert [layout.span_of_file(entry.file) for entry in state.connections] == ["", "hour", "hour", "hour", "hour"]
    compacted(state, MIDNIGHT + DAY + HOUR)
    assert [layout.span_of_file(entry.file) for entry in state.connections] == ["", "day"]
    committed(state, MIDNIGHT + MINUTE, rows=200)
    committed(state, MIDNIGHT + DAY + 2 * HOUR)
    assert files(state, MIDNIGHT + DAY + 3 * HOUR) == []
    committed(state, MIDNIGHT + MINUTE, rows=40)
    committed(state, MIDNIGHT + DAY + 3 * HOUR)
    compacted(state, MIDNIGHT + DAY + 3 * HOUR)
    (day,) = [entry for entry in state.connections if layout.span_of_file(entry.file) == "day"]
    assert day.rows == 24 * 100 + 240


def test_the_last_seal_is_never_touched() -> None:
    """Whatever is in it, and however old: the sealer reads its files by its number. A compaction is no seal."""
    state = committed(hour_of_seals(State(), NOON - DAY, 2), NOON - DAY, NOON)
    assert files(state, NOON + 9 * DAY) == [[1, 2]]
    compacted(state, NOON + 9 * DAY)
    assert (state.last_seal(), state.seal) == (3, 4)
    assert files(state, NOON + 9 * DAY) == []


@pytest.mark.parametrize("number", range(1, FORMAT))
def test_old_formats_become_new(number: int) -> None:
    """A file alone, too, when its day is over."""
    state = committed(committed(State(), NOON, format=number), NOON + 2 * DAY)
    assert files(state, NOON + DAY // 2) == []
    assert files(state, NOON + 2 * DAY) == [[1]]
    assert files(compacted(state, NOON + 2 * DAY), NOON + 2 * DAY) == []


def test_imports_are_apart() -> None:
    """Never in one file with a seal's; by the day alone; what comes of them is an import's again."""
    state = hour_of_seals(State(), NOON, 2)
    for _ in range(2):
        committed(state, NOON, why=Why.IMPORT)
    committed(state, NOON + 3 * DAY)
    assert sorted(files(state, NOON + 3 * DAY)) == [[1, 2], [3, 4]]
    compacted(state, NOON + 3 * DAY)
    assert sorted(entry.seal in state.imports for entry in state.connections) == [False, False, True]
    assert state.last_seal() == 5
    assert {*state.leaving} == {layout.connections_file("gw1", layout.day_of(NOON), n, False) for n in range(1, 5)}
