"""The engine conntrack in process: what it reads once more at the end, and what was lost in between."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anetcon.capture import losses
from anetcon.capture.engine import ct_events
from anetcon.capture.namespace import Namespace
from anetcon.system import clock
from anetcon.system.clock import Moment
from tests.support import capture_parts as parts
from tests.support.capture_parts import Capture


class Socket:
    """A namespace's, whose kernel holds ends back in some looks; told when it is looked at and read."""

    def __init__(self, looks: list[float], dropping: range) -> None:
        self.looks, self.dropping = looks, dropping
        self.resumed, self.slot = False, 0
        self.read: list[int] = []

    def counted(self) -> int:
        """The drop counter."""
        return sum(look in self.dropping for look in range(len(self.looks) + 1))


@pytest.mark.parametrize(("late", "looks"), [(range(0), 76), (range(40, 60), 135), (range(40, 10_000), 301)])
def test_what_is_held_back_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: range, looks: int) -> None:
    """Every namespace is read until none has anything held back: also one that begins to while another is waited for.
    Where that does not end, it is given up."""
    made, slept = Capture(tmp_path).conntrack, list[float]()
    namespaces: Any = {Socket(slept, dropping): None for dropping in (range(1), late, range(0))}
    for each in namespaces:
        made.losses.begin(each, 0, Moment(0, 0))
    made._namespaces = namespaces
    monkeypatch.setattr(ct_events, "time", SimpleNamespace(monotonic=lambda: 1 + sum(slept), sleep=slept.append))
    monkeypatch.setattr(losses, "dropped", Socket.counted)
    monkeypatch.setattr(made, "_drain", lambda each, _: each.read.append(len(slept)))
    made._read_held_back()
    for each in namespaces:
        assert each.read == list(range(len(each.read)))
        assert abs(len(each.read) - looks) <= 1


@pytest.mark.parametrize("ends", [False, True])
def test_a_loss_in_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """What was lost is a gap until the counter was read, however long after the turn's beginning that is; also what was
    lost between the last look and the end."""
    made, late = Capture(tmp_path), 0
    made.recording.settings = dataclasses.replace(made.recording.settings, hold=False, period=3)

    def drops(_space: Namespace) -> int:
        nonlocal late
        late = 100_000  # it is held up there
        return 7

    wall = clock.now_us
    monkeypatch.setattr(clock, "now_us", lambda: wall() + late)
    space = made.attach()
    begin = made.conntrack.losses._looks[space].at
    monkeypatch.setattr(losses, "dropped", drops)
    if ends:
        made.loop._finish()
    else:
        made.loop._every_second(clock.now())
        made.loop._flush(clock.now())
    (gap,) = [gap for gap in parts.rows(tmp_path, "gaps") if gap["cause"] == "overrun"]
    assert gap["lost"] == 7
    assert round(gap["from"].timestamp() * 1e6) == begin
    assert round(gap["to"].timestamp() * 1e6) >= begin + late


@pytest.mark.parametrize("resumed", [False, True])
def test_a_loss_between_two_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool) -> None:
    """What the kernel dropped after the capture before had looked last, or since the socket was opened, and before
    this one has looked is a gap as well."""
    made, seen = Capture(tmp_path), 5 if resumed else 0
    recording = made.recording
    before = recording.began.started.wall - 1_000_000
    recording.settings = dataclasses.replace(recording.settings, hold=False, period=3)
    recording.began = recording.began._replace(before=before)
    monkeypatch.setattr(losses, "dropped", lambda _: 12)
    recording.pipeline.counted["drops"][0] = seen
    space = made.attach(resumed=resumed, attached=recording.began.started.wall - 1000)
    made.loop._flush(clock.now())
    (gap,) = [gap for gap in parts.rows(tmp_path, "gaps") if gap["cause"] == "overrun"]
    assert gap["lost"] == 12 - seen
    assert round(gap["from"].timestamp() * 1e6) == (before if resumed else space.attached)
