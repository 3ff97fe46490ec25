"""Copies of ends tell of a listener that is stuck; ends that come once do not."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.capture.repeats import ENOUGH, QUIET, Repeats, repeated
from anetcon.decode.columns import Columns
from anetcon.gaps import Cause, Gap
from tests.support.capture_parts import NOW, events, message, namespace, pipeline


def columns(store: Path, *ports: int) -> Columns:
    """The ends of connections, told apart by their ports."""
    made = pipeline(store)
    made.add(namespace()[0])
    made.take(events(message(9999), *(message(port, destroy=True) for port in ports)))
    return made.columns


@given(ports=st.lists(st.integers(1, 20), max_size=60))
def test_copies_are_counted(tmp_path_factory: object, ports: list[int]) -> None:
    """Exactly those beyond the first of each; too few to tell count as none."""
    found = repeated(columns(tmp_path_factory.mktemp("store"), *ports))  # type: ignore[attr-defined]
    copies = len(ports) - len(set(ports))
    assert found == ({0: copies} if copies and len(ports) >= ENOUGH else {})


def test_a_stuck_listener(tmp_path: Path) -> None:
    """A gap that lasts and something to show, until no copy came for a while; it ends when the last one came."""
    rows: list[Gap] = []
    shown: list[str | None] = []
    lines: list[str] = []
    gaps = Lasting(tmp_path / "lasting.json", rows.append, 0)
    space, _, _ = namespace()
    codes: list[Namespace | None] = [space]
    repeats = Repeats(gaps, lines.append, lambda _space, _cause, what: shown.append(what))
    repeats.look(columns(tmp_path / "a", *range(1, 100)), codes, NOW, NOW + 5)
    assert rows == []
    stuck = columns(tmp_path / "b", *[7] * (ENOUGH + 1))
    for time in (10, 20):
        repeats.look(stuck, codes, NOW + time - 5, NOW + time)
    assert rows == [Gap(space.netns, NOW + 5, None, Cause.LISTENER_STUCK)]
    repeats.look(Columns(1), codes, NOW + 20, NOW + 20 + QUIET)
    assert len(rows) == 1
    repeats.look(Columns(1), codes, NOW + 20, NOW + 21 + QUIET)
    assert rows[1:] == [Gap(space.netns, NOW + 5, NOW + 20, Cause.LISTENER_STUCK)]
    assert shown[1:] == [None]
    assert "reliable mode" in str(shown[0])
    assert len(lines) == 2
