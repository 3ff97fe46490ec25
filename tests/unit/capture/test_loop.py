"""Capture's start and end, in process: what its clocks are compared with, what it hears once more. What it records is
tested with real namespaces."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from anetcon.capture import beginning
from anetcon.capture.clock_steps import THRESHOLD
from anetcon.gaps import Cause, Gap
from anetcon.journal.read import last_flush
from anetcon.link.channel import Channel, pair
from anetcon.link.messages import Attach
from anetcon.system import clock
from tests.support import capture_parts as parts
from tests.support.capture_parts import Capture


def test_a_start_that_takes_long_is_no_step_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """What is opened first, on a slow disk or a busy machine, takes time; that is no gap, and nothing is said of it."""

    def slow(_folder: Path) -> None:
        threading.Event().wait((THRESHOLD + 50_000) / 1e6)

    monkeypatch.setattr(beginning, "last_flush", slow)
    made = Capture(tmp_path)
    assert made.loop.now() >= made.recording.began.started
    assert said == []
    made.recording.journals.flush(made.recording.pipeline.columns, [], made.loop.now())
    assert [gap["cause"] for gap in parts.rows(tmp_path, "gaps")] == ["never-recorded", "left-out"]  # ends alone


def test_a_clock_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """It is a gap, and said; what is due stays due, and what is recorded until now is so on the clock as it is now."""
    made = Capture(tmp_path)
    before = made.loop.now()
    made.recording.journals.flush(made.recording.pipeline.columns, [], before)
    wall = clock.now_us
    monkeypatch.setattr(clock, "now_us", lambda: wall() - 3_600_000_000)
    now = made.loop.now()
    assert -3_600_000_000 < now.wall - before.wall < -3_590_000_000
    assert before.steady <= now.steady < before.steady + 10_000_000
    made.recording.journals.flush(made.recording.pipeline.columns, [], now)
    assert [gap["cause"] for gap in parts.rows(tmp_path, "gaps")][2:] == ["clock-step"]
    assert "wall clock was set by -3600" in said[0]


def test_what_the_keeper_said_last_is_heard(tmp_path: Path, said: list[str]) -> None:
    """Told to end before it has heard what the keeper said, capture hears it first: the count of what was lost; and
    the sockets of a namespace, for which the kernel may keep something."""
    ours, theirs = map(Channel, pair())
    made = Capture(tmp_path, theirs)
    space, far_events, _ = parts.namespace()
    ours.send(Attach(0, "qrouter-1", space.inode, 1, 1, newborn=False, resumed=True), parts.handed(space))
    ours._socket.send(b'{"op":"of a later version"}')
    ours.send(Gap("qrouter-1", 1, 2, Cause.OVERRUN, 7))
    far_events.send(parts.message(1, destroy=True))
    made.loop.stop()
    made.loop.run()
    ours.close()
    theirs.close()
    made.loop.lifecycle.namespaces[0].close()
    assert [gap["lost"] for gap in parts.rows(tmp_path, "gaps") if gap["cause"] == "overrun"] == [7]
    assert [row["src_port"] for row in parts.rows(tmp_path, "connections")] == [1]
    assert ["later version" in line for line in said] == [True, False]


def test_what_waits_for_a_capture_is_not_on_record(tmp_path: Path) -> None:
    """Until a new capture has read all that it is handed, it says no more than the one before: should it die, the gap
    begins there."""
    Capture(tmp_path).loop._finish()
    before = last_flush(journal := tmp_path / "journal/connections")
    ours, theirs = map(Channel, pair())
    made = Capture(tmp_path, theirs, handed=2)
    made.loop._flush(made.recording.clock())
    assert last_flush(journal) == before
    for slot in range(2):
        space, far_events, _ = parts.namespace(slot=slot)
        far_events.send(parts.message(slot + 1, destroy=True))
        ours.send(Attach(slot, f"qrouter-{slot}", space.inode, 1, 1, newborn=False, resumed=True), parts.handed(space))
        now = made.loop.now()
        made.loop._keeper_speaks(now)
        made.loop._flush(now)
        assert last_flush(journal) == (now.wall if slot else before)
        assert len(parts.rows(tmp_path, "connections")) == slot + 1  # and with it what waited there
    ours.close()
    theirs.close()
    for namespace in made.loop.lifecycle.namespaces.values():
        namespace.close()


def test_a_keeper_that_is_gone(tmp_path: Path, said: list[str]) -> None:
    """Capture ends, and says so once."""
    ours, theirs = map(Channel, pair())
    made = Capture(tmp_path, theirs)
    ours.close()
    begun = time.monotonic()
    made.loop.run()
    theirs.close()
    assert time.monotonic() - begun < 5
    assert said == ["the keeper is gone; stopping"]
