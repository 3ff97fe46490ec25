"""What a seal takes of the journal, and what it finds there."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.gaps import Cause
from anetcon.store import layout
from anetcon.store.intake import Intake, closed_segments
from anetcon.store.state import State
from tests.support.records import SECOND, T0, Making, start

GAP = {"node": "gw1", "netns": None, "from": T0, "to": T0 + SECOND, "cause": "overrun", "lost": 3}


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """Three closed segments of connections with two rows each, and one that is written to; a gap in one of its own."""
    made = Making(tmp_path).add(GAP, table="gaps")
    for number in range(3):
        made.add(start(src_port=number)).add(start(src_port=number + 10)).rotate()
    return made.add(start(src_port=99))


@pytest.mark.parametrize(("most", "taken"), [(1, 1), (2, 1), (3, 2), (99, 3)])
def test_whole_segments_up_to_a_size(making: Making, most: int, taken: int) -> None:
    """Then none further; `through` tells how far that was, of each table for itself."""
    state = State()
    intake = Intake(making.path, state, most)
    assert intake.table("connections").num_rows == 2 * taken
    assert intake.through == {"connections": taken}
    assert sum(line.rows for line in intake.flushed()) == 2 * taken
    assert intake.table("gaps").num_rows == 1
    assert intake.through == {"connections": taken, "gaps": 1 if most == 1 else 3}
    assert (state.through, intake.damaged, intake.torn) == ({}, [], [])


def test_in_pieces(making: Making) -> None:
    """The same rows, no more of them at a time than wanted."""
    intake = Intake(making.path, State(through={"connections": 1}), 99)
    pieces = list(intake.pieces("connections", 1))
    assert [piece.num_rows for piece in pieces if piece.num_rows] == [1] * 4
    assert intake.through["connections"] == 3
    assert list(closed_segments(making.path, State(through={"connections": 1}), "connections")) == [2, 3]
    assert [piece.num_rows for piece in Intake(making.path, State(), 99).pieces("listings", 5)] == [0]


def test_what_cannot_be_read_back_is_a_gap(making: Making) -> None:
    """With the number of rows that are lost; what is behind it in the next segment is taken."""
    index = layout.journal_folder(making.path, "connections") / "0000000002.index"
    data = index.with_suffix(".arrows")
    content = bytearray(data.read_bytes())
    content[int(index.read_text().splitlines()[2].split()[0]) + 40] ^= 1
    data.write_bytes(content)
    intake = Intake(making.path, State(), 99)
    assert intake.table("connections").num_rows == 5
    assert [(gap.cause, gap.lost) for gap in intake.damaged] == [(Cause.JOURNAL_DAMAGED, 1)]
    assert intake.through["connections"] == 3


def test_known_gaps(making: Making) -> None:
    """Also those in segments that are still written to."""
    making.add({**GAP, "from": T0 + 5 * SECOND, "to": None}, table="gaps")
    assert Intake(making.path, State(), 99).gaps().num_rows == 2
    assert Intake(making.path, State(), 99).listings().num_rows == 0
