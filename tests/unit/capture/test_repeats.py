"""Copies of ends tell of a listener that is stuck; ends that come once do not."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.capture.repeats import ENOUGH, QUIET, WHAT, Repeats, repeated
from anetcon.decode.columns import Columns
from anetcon.gaps import Cause, Gap
from anetcon.link.messages import Remark
from tests.support.capture_parts import NOW, at, events, keeper, message, namespace, pipeline


def columns(store: Path, *ports: int) -> Columns:
    """The ends of connections, told apart by their ports."""
    made = pipeline(store)
    made.add(namespace()[0])
    made.take(events(message(9999), *(message(port, destroy=True) for port in ports)), at(NOW))
    return made.columns


@given(ports=st.lists(st.integers(1, 20), max_size=60))
def test_copies_are_counted(tmp_path_factory: object, ports: list[int]) -> None:
    """Exactly those beyond the first of each; too few to tell count as none."""
    found = repeated(columns(tmp_path_factory.mktemp("store"), *ports))  # type: ignore[attr-defined]
    copies = len(ports) - len(set(ports))
    assert found == ({0: copies} if copies and len(ports) >= ENOUGH else {})


def test_a_stuck_listener(tmp_path: Path, said: list[str]) -> None:
    """A gap that lasts and something to show, until no copy came for a while; it ends when the last one came."""
    rows: list[Gap] = []
    gaps = Lasting(tmp_path / "lasting.json", rows.append, 0)
    space, _, _ = namespace()
    codes: list[Namespace | None] = [space]
    told, channel = keeper()
    repeats = Repeats(gaps, told)
    repeats.look(columns(tmp_path / "a", *range(1, 100)), codes, NOW, at(NOW + 5))
    assert rows == []
    stuck = columns(tmp_path / "b", *[7] * (ENOUGH + 1))
    for time in (10, 20):
        repeats.look(stuck, codes, NOW + time - 5, at(NOW + time))
    assert rows == [Gap(space.netns, NOW + 5, None, Cause.LISTENER_STUCK)]
    repeats.look(Columns(1), codes, NOW + 20, at(NOW + 20 + QUIET))
    assert len(rows) == 1
    repeats.look(Columns(1), codes, NOW + 20, at(NOW + 21 + QUIET))
    assert rows[1:] == [Gap(space.netns, NOW + 5, NOW + 20, Cause.LISTENER_STUCK)]
    assert [channel.receive() for _ in range(3)] == [
        (Remark(space.slot, Cause.LISTENER_STUCK, WHAT), []),
        (Remark(space.slot, Cause.LISTENER_STUCK, None), []),
        None,
    ]
    assert "reliable mode" in WHAT
    assert len(said) == 2
