"""Capture's start and end, in process: what its clocks are compared with, what it reads once more. What it records is
tested with real namespaces."""

from __future__ import annotations

import dataclasses
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anetcon.capture import auditor
from anetcon.capture.clock_steps import THRESHOLD
from anetcon.capture.namespace import Namespace
from anetcon.capture.settings import Settings
from anetcon.gaps import Cause, Gap
from anetcon.journal.write import segment_path
from anetcon.link.channel import Channel, pair
from anetcon.link.messages import Attach
from anetcon.system.clock import now_us
from tests.support import capture_parts as parts
from tests.support.capture_parts import RESOLVED


def auditing(folder: Path, said: list[str]) -> auditor.Auditor:
    """One that has begun, without namespaces."""
    (folder / "lock").touch()  # the store is there
    settings = Settings.of({**RESOLVED, "store": {**RESOLVED["store"], "path": str(folder)}})  # type: ignore[dict-item]
    return auditor.Auditor(settings, parts.shared(), now_us, said.append)


def test_a_start_that_takes_long_is_no_step_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened first, on a slow disk or a busy machine, takes time; that is no gap, and nothing is said of it."""
    said: list[str] = []

    def slow(_folder: Path) -> None:
        threading.Event().wait((THRESHOLD + 50_000) / 1e6)

    monkeypatch.setattr(auditor, "last_flush", slow)
    made = auditing(tmp_path, said)
    assert made._now() >= made.started
    assert said == []
    made.journals.flush(made.pipeline.columns, [], made._now())
    assert [gap["cause"] for gap in parts.rows(tmp_path, "gaps")] == ["never-recorded", "left-out"]  # ends alone


@pytest.mark.parametrize("left", [None, b"", b"\0" * 4096])
def test_what_of_a_first_start_is_listed(tmp_path: Path, left: bytes | None) -> None:
    """Nothing, since nothing is on record. A journal of which nothing can be read back is no first start: what is
    sealed of it may have ended."""
    if left is not None:
        for table in ("connections", "listings"):
            path = segment_path(tmp_path / "journal" / table, 1, "index")
            path.parent.mkdir(parents=True)
            path.write_bytes(left)
    made = auditing(tmp_path, [])
    space, *_ = parts.namespace()
    sockets = [space.events, space.requests, space.route]
    told = Attach(0, "qrouter-1", space.inode, made.started, made.started, newborn=False, resumed=False)
    made._attach(told, sockets, made.started)
    assert made.listings.waiting() == (left is not None)


def test_what_the_keeper_said_last_is_heard(tmp_path: Path) -> None:
    """Told to end before it has heard what the keeper said, capture hears it first: the count of what was lost; and
    the sockets of a namespace, for which the kernel may keep something."""
    made = auditing(tmp_path, [])
    space, far_events, _ = parts.namespace()
    ours, theirs = map(Channel, pair())
    handed = [each.fileno() for each in (space.events, space.requests, space.route)]
    ours.send(Attach(0, "qrouter-1", space.inode, 1, 1, newborn=False, resumed=True), handed)
    ours._socket.send(b'{"op":"of a later version"}')
    ours.send(Gap("qrouter-1", 1, 2, Cause.OVERRUN, 7))
    far_events.send(parts.message(1, destroy=True))
    made.stop()
    made.run(theirs)
    ours.close()
    theirs.close()
    made.namespaces[0].close()
    assert [gap["lost"] for gap in parts.rows(tmp_path, "gaps") if gap["cause"] == "overrun"] == [7]
    assert [row["src_port"] for row in parts.rows(tmp_path, "connections")] == [1]


class Socket:
    """A namespace's, whose kernel holds ends back in some looks; told when it is looked at and read."""

    def __init__(self, looks: list[float], dropping: range) -> None:
        self.looks, self.dropping = looks, dropping
        self.drops, self.dropped = 0, 0
        self.read: list[int] = []

    def counted(self) -> int:
        """The drop counter."""
        return sum(look in self.dropping for look in range(len(self.looks) + 1))


@pytest.mark.parametrize(("late", "looks"), [(range(0), 76), (range(40, 60), 135), (range(40, 10_000), 301)])
def test_what_is_held_back_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: range, looks: int) -> None:
    """Every namespace is read until none has anything held back: also one that begins to while another is waited for.
    Where that does not end, it is given up."""
    made, slept = auditing(tmp_path, []), list[float]()
    clock = SimpleNamespace(monotonic=lambda: 1 + sum(slept), sleep=slept.append)
    namespaces: Any = {slot: Socket(slept, dropping) for slot, dropping in enumerate((range(1), late, range(0)))}
    made.namespaces = namespaces
    monkeypatch.setattr(auditor, "time", clock)
    monkeypatch.setattr(auditor, "_drops", Socket.counted)
    monkeypatch.setattr(made, "_drain", lambda each, _: each.read.append(len(slept)))
    made._read_held_back()
    for each in namespaces.values():
        assert each.read == list(range(len(each.read)))
        assert abs(len(each.read) - looks) <= 1


@pytest.mark.parametrize("ends", [False, True])
def test_a_loss_in_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """What was lost is a gap until the counter was read, however long after the turn's beginning that is; also what was
    lost between the last look and the end."""
    made, late = auditing(tmp_path, []), 0

    def drops(_space: Namespace) -> int:
        nonlocal late
        late = 100_000  # it is held up there
        return 7

    made.clock = lambda: now_us() + late
    monkeypatch.setattr(auditor, "_drops", drops)
    monkeypatch.setattr(made, "settings", dataclasses.replace(made.settings, hold=False, period=3))
    space, *_ = parts.namespace()
    made.namespaces[space.slot] = space
    made.pipeline.add(space)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        made.channel = Channel(ours)
        begin = space.looked = made._tick
        if ends:
            made._finish()
        else:
            made._every_second(begin)
            made._flush(made.clock())
    (gap,) = [gap for gap in parts.rows(tmp_path, "gaps") if gap["cause"] == "overrun"]
    assert gap["lost"] == 7
    assert round(gap["from"].timestamp() * 1e6) == begin
    assert round(gap["to"].timestamp() * 1e6) >= begin + late


@pytest.mark.parametrize("resumed", [False, True])
def test_a_loss_between_two_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool) -> None:
    """What the kernel dropped after the capture before had looked last, or since the socket was opened, and before
    this one has looked is a gap as well."""
    made, seen = auditing(tmp_path, []), 5 if resumed else 0
    monkeypatch.setattr(auditor, "_drops", lambda _: 12)
    monkeypatch.setattr(made, "settings", dataclasses.replace(made.settings, hold=False, period=3))
    monkeypatch.setattr(made, "_route", lambda *_: None)
    space, *_ = parts.namespace()
    made.pipeline.shared[space.slot, auditor.DROPS] = seen
    made._before, space.attached = made.started - 1_000_000, made.started - 1000
    told = {key: getattr(space, key) for key in Attach._fields if key != "resumed"}
    with space.events, space.requests, space.route:
        made._attach(Attach(**told, resumed=resumed), [space.events, space.requests, space.route], now_us())
        made._flush(made.clock())
    (gap,) = [gap for gap in parts.rows(tmp_path, "gaps") if gap["cause"] == "overrun"]
    assert gap["lost"] == 12 - seen
    assert round(gap["from"].timestamp() * 1e6) == (made._before if resumed else space.attached)
