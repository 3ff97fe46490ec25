"""The journal for a sink that is none of ours: each row once, wherever the reader dies."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.follow import position, reader
from anetcon.follow.reader import JournalReader
from anetcon.identity import Verdict
from anetcon.journal.write import segments
from anetcon.store import layout
from anetcon.store.followers import needed
from anetcon.store.seal import Sealer
from tests.support.crashing import CrashError, crash_at
from tests.support.receiver import Receiver, Taken
from tests.support.records import T0, Making, end, start


def follow(store: Path, taken: Taken) -> None:
    """Read to the end of what there is."""
    receiver = Receiver(taken)
    try:
        follower = JournalReader(store, "fake", receiver, "sink fake")
        while follower.step():
            pass
        follower.stop()
    finally:
        receiver.close()


@pytest.mark.parametrize(("torn", "every"), [(False, 0.0), (True, 0.0), (True, 1e9)])
def test_a_crash_at_every_step_loses_and_doubles_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool, every: float
) -> None:
    """Wherever the process dies, the receiver has each row once, in the journal's order, judged the same."""
    monkeypatch.setattr(reader, "SAVE_EVERY", every)

    first, repeat, ended = Verdict.FIRST, Verdict.REPEAT, Verdict.END
    wanted = [(1, first), (2, first), (1, ended), (2, repeat), (3, first), (2, ended)]
    steps = number = 1
    while number <= steps:
        making = Making(tmp_path / str(number)).add(start(src_port=1), start(src_port=2)).rotate()
        making.add(end(src_port=1), start(src_port=2)).add(start(src_port=3)).rotate().add(end(src_port=2)).close()
        taken: Taken = []
        with crash_at(number, torn) as done:
            try:
                follow(making.path, taken)
                steps = done()
            except CrashError:
                steps = number + 1
        follow(making.path, taken)
        assert taken == wanted, number
        number += 1
    assert number > 20


EVENTS = st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=4)
"""A flush: of which connection each row is, and whether it is its end."""


@given(
    st.lists(st.one_of(EVENTS, st.none()), max_size=8),
    st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), max_size=4),
)
def test_whatever_the_journal_has_and_however_often_it_dies(
    flushes: list[list[tuple[int, bool]] | None], deaths: list[tuple[int, bool, bool]]
) -> None:
    """Every row is taken once, in order, and of each connection one is the first, whatever repeats."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        making, ports = Making(Path(folder)).add(start(src_port=9)), [9]
        for flush in flushes:
            if flush is None:
                making.rotate()
                continue
            making.add(*((end if ended else start)(src_port=port) for port, ended in flush))
            ports += [port for port, _ in flush]
        making.close()
        taken: Taken = []
        for number, torn, often in deaths:
            patch.setattr(reader, "SAVE_EVERY", 0.0 if often else 1e9)
            patch.setattr(reader, "PIECE_ROWS", 1 + number % 7)
            with crash_at(number, torn), contextlib.suppress(CrashError):
                follow(Path(folder), taken)
        follow(Path(folder), taken)
    assert [port for port, _ in taken] == ports
    firsts = [port for port, verdict in taken if verdict == Verdict.FIRST]
    assert sorted(firsts) == sorted(set(ports))


def test_nothing_is_read_while_the_sink_is_not_ready(tmp_path: Path) -> None:
    """The journal waits for it, and is kept."""
    making = Making(tmp_path).add(start(src_port=1)).rotate().add(start(src_port=2)).rotate()
    receiver = Receiver([])
    receiver.is_ready = False
    follower = JournalReader(tmp_path, "fake", receiver, "sink fake")
    Sealer(tmp_path, lambda: T0).seal()
    assert not follower.step()
    assert (receiver.taken, list(needed(tmp_path))) == ([], [0])
    receiver.is_ready = True
    while follower.step():
        pass
    assert receiver.taken == [(1, Verdict.FIRST), (2, Verdict.FIRST)]
    follower.close()
    making.close()


def test_each_sink_is_where_it_is(tmp_path: Path) -> None:
    """One that is far behind keeps what it needs, and another is as far as it can be; once it is not wanted any more
    nothing is kept for it."""
    making = Making(tmp_path).add(start(src_port=1))
    dead = JournalReader(tmp_path, "dead", Receiver([]), "sink dead")
    taken: Taken = []
    making.rotate().add(start(src_port=2)).rotate().add(start(src_port=3)).rotate()
    follow(tmp_path, taken)
    assert [port for port, _ in taken] == [1, 2, 3]
    assert sorted(needed(tmp_path)) == [0, 4]
    sealer = Sealer(tmp_path, lambda: T0)
    while sealer.seal():
        pass
    journal = layout.journal_folder(tmp_path, "connections")
    there = segments(journal)
    sealer.drop()
    assert segments(journal) == there
    dead.close()
    position.forget(tmp_path, ["fake"])
    sealer.drop()
    assert segments(journal) == there[-2:]
    making.close()
