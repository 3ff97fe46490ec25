"""The machine's one switch: switched on, watched, and put back to what it was, by whoever comes last."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from anetcon.keeper.log_engine import nf_log
from anetcon.keeper.log_engine.nf_log import Printing
from anetcon.link import log_switch
from anetcon.link.ledger import Ledger, LogSwitch
from anetcon.link.log_switch import Switch
from anetcon.system.clock import now_us
from anetcon.system.netns import Home


@pytest.fixture
def switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the kernel's."""
    path = tmp_path / "nf_log_all_netns"
    path.write_text("0\n")
    monkeypatch.setattr(log_switch, "SWITCH", path)
    monkeypatch.setattr(Home, "enter", lambda self, _: self.inode)
    return path


def test_it_is_put_back_to_what_was_found(switch: Path, tmp_path: Path) -> None:
    """On while we run; flipped by somebody it is on again, and that is told; off again afterwards."""
    ours = Switch(Home(), Ledger(tmp_path))
    assert not ours.on()
    assert switch.read_text() == "1"
    assert not ours.on()
    switch.write_text("0")
    assert ours.on()
    assert ours.problem is None
    assert ours.put_back() is None
    assert switch.read_text() == "0"
    assert Ledger(tmp_path).of(LogSwitch) == []


def test_it_stays_on_where_it_was_on(switch: Path, tmp_path: Path) -> None:
    """An operator's own setting is not taken away."""
    switch.write_text("1\n")
    ours = Switch(Home(), Ledger(tmp_path))
    assert not ours.on()
    assert ours.put_back() is None
    assert switch.read_text() == "1"


def test_after_a_crash_the_next_one_knows(switch: Path, tmp_path: Path) -> None:
    """What the first found is put back by the second, which found it on; not after a boot."""
    Switch(Home(), Ledger(tmp_path)).on()
    second = Switch(Home(), Ledger(tmp_path))
    second.on()
    file = tmp_path / "ledger.jsonl"
    (noted,) = file.read_text().splitlines()
    assert second.put_back() is None
    assert switch.read_text() == "0"
    switch.write_text("1")
    file.write_text(json.dumps(json.loads(noted) | {"boot_id": "another"}) + "\n")
    assert Switch(Home(), Ledger(tmp_path)).put_back() is None
    assert switch.read_text() == "1"


def test_what_cannot_be_noted_is_not_set(switch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody would put it back after a crash; once the disk takes the line it is set."""
    ours = Switch(Home(), Ledger(tmp_path))
    with monkeypatch.context() as full:
        full.setattr(os, "write", _full)
        assert not ours.on()
    assert "No space" in str(ours.problem)
    assert switch.read_text() == "0\n"
    assert not ours.on()
    assert (switch.read_text(), ours.found()) == ("1", "0")


def test_what_cannot_be_set_is_a_problem_in_words(switch: Path, tmp_path: Path) -> None:
    """One clear sentence; gone once it can be set."""
    ours = Switch(Home(), Ledger(tmp_path))
    switch.unlink()
    assert not ours.on()
    assert ours.problem is not None
    assert "its LOG rules would print nothing, since nf_log_all_netns cannot be set" in ours.problem
    switch.write_text("0")
    ours.on()
    assert ours.problem is None


def test_times_without_it_are_told(switch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flipped: a time that is over. Out of reach: one that lasts, until it is on again; the first is not concerned."""
    told: list[tuple[int, int | None]] = []
    said: list[str] = []
    monkeypatch.setattr(nf_log, "report", said.append)
    ours = Switch(Home(), Ledger(tmp_path))
    printing = Printing(ours, lambda since, to: told.append((since, to)))
    assert printing.problem(1) is None
    assert (switch.read_text(), told) == ("1", [])
    switch.write_text("0")
    printing.look()
    ((since, to),) = told
    assert to is not None
    assert since <= to
    switch.unlink()
    switch.mkdir()
    printing.look()
    printing.look()
    assert [to for _, to in told[1:]] == [None]
    assert told[1][0] >= since
    assert printing.dark == told[1][0]
    assert ours.first is not None
    assert "cannot be set" in (printing.problem(ours.first + 1) or "")
    assert printing.problem(ours.first) is None
    switch.rmdir()
    switch.write_text("1")
    printing.look()
    assert told[2][0] == told[1][0]
    assert told[2][1] is not None
    assert (len(told), len(said)) == (3, 2)


def test_switched_off_right_after_it_was_seen_on(switch: Path, tmp_path: Path) -> None:
    """The time without begins when it was seen on, not a moment later."""
    told: list[tuple[int, int | None]] = []
    off: list[int] = []

    class Flipped(Switch):
        """Somebody switches it off before we go on."""

        def on(self) -> bool:
            found = super().on()
            if not off:
                off.append(now_us())
                switch.write_text("0")
                threading.Event().wait(0.01)
            return found

    printing = Printing(Flipped(Home(), Ledger(tmp_path)), lambda *gap: told.append(gap))
    printing.look()
    printing.look()
    assert [since <= off[0] for since, _ in told] == [True]


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
