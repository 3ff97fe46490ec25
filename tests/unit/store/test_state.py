"""What commits add up to, whichever way round they come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.store import layout
from anetcon.store.entry import Entry, Removed, Why, rfc3339
from anetcon.store.saved import Counted
from anetcon.store.state import State, WrongCommitError
from tests.support.examples import examples

NAMES = [
    *(f"node=n/date=2026-11-20/{which}%08d.parquet" for which in ("", "long-", "kept.")),
    "open/%08d.parquet",
    *(f"gaps/{month}.%08d.parquet" for month in ("2026-10", "2026-11")),
    *(f"routes/2026-11-20{part}.%08d.parquet" for part in ("", "-2")),
]
"""Of every kind, for the number of a commit."""


def entry(file: str, **more: Any) -> Entry:
    """A line of a file."""
    known: dict[str, Any] = {"seal": layout.seal_of_file(file), "sha256": "00" * 32, "bytes": 1, "rows": 3}
    return Entry(prev="", kind=layout.kind_of_file(file), file=file, **known | more)


def commit(seal: int, *removes: str, why: Why = Why.SEAL, **more: Any) -> Entry:
    """The line of a commit."""
    return Entry(prev="", kind="commit", why=why, seal=seal, removes=removes, **more)


def saved(state: State) -> State:
    """The same, as if it had been saved and read again."""
    return State(**vars(state) | {"connections": Counted(saved=state.connections.table())})


@examples(3)
@given(data=st.data())
def test_a_state_is_what_was_added_and_not_removed(data: st.DataObject) -> None:
    """A commit is taken if it removes what counts, and nothing is there twice then; else it changes nothing. So it is
    with a state that was saved in between."""
    state, counting = State(), set[str]()
    for _ in range(data.draw(st.integers(1, 6))):
        state = saved(state) if data.draw(st.booleans()) else state
        seal = state.seal + 1
        numbers = st.sampled_from([seal] * 8 + [seal - 1])
        adds = {name % data.draw(numbers) for name in data.draw(st.sets(st.sampled_from(NAMES), max_size=4))}
        removes = {file for file in sorted(counting) if data.draw(st.booleans())}
        removes |= {NAMES[0] % 99} if data.draw(st.integers(0, 9)) == 0 else set()
        left = (counting - removes) | adds
        fits = removes <= counting and all(layout.seal_of_file(file) == seal for file in adds)
        once = len({layout.slot_of_file(file) for file in left}) == len(left)
        try:
            state.require([entry(file) for file in sorted(adds)], commit(seal, *removes))
        except WrongCommitError:
            assert not (fits and once)
        else:
            assert fits
            assert once
            state.commit([entry(file) for file in sorted(adds)], commit(seal, *removes))
            counting = left
        assert state.files() == counting
        assert state.connections.without(counting | {"x"}) == {file for file in counting | {"x"} if "node" not in file}


@pytest.mark.parametrize("is_saved", [False, True])
def test_what_retention_removed_is_told(is_saved: bool) -> None:
    """The connections by number, the time from the earliest start of any; of the other tables only of parts; what other
    commits remove is not told."""
    state = State()
    old, late, month, part = (NAMES[number] % 1 for number in (0, 1, 4, 6))
    adds = [
        entry(old, start=rfc3339(50), end=rfc3339(70)),
        entry(late, start=rfc3339(60), end=rfc3339(90)),
        entry(month, start=rfc3339(1)),
        entry(part, start=rfc3339(40), latest=rfc3339(65)),
    ]
    state.commit(adds, commit(1))
    state = saved(state) if is_saved else state
    state.commit([], commit(2, late))
    told = state.removed
    assert told is None
    state.commit([], commit(2, old, month, part, why=Why.RETENTION, before=rfc3339(80)))
    assert state.removed == Removed(40, 80, 3)
    assert state.files() == set()
    state.commit([], commit(2, why=Why.RETENTION, before=rfc3339(70)))
    assert state.removed == Removed(40, 80, 3)
