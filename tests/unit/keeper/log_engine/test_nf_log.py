"""The machine's one switch: switched on, watched, and put back to what it was, by whoever comes last."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from anetcon.keeper.log_engine.nf_log import Printing
from anetcon.link import log_switch
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
    kept = tmp_path / "kept.json"
    ours = Switch(Home(), kept)
    assert not ours.on()
    assert switch.read_text() == "1"
    assert not ours.on()
    switch.write_text("0")
    assert ours.on()
    assert ours.problem is None
    assert ours.put_back() is None
    assert switch.read_text() == "0"
    assert not kept.exists()


def test_it_stays_on_where_it_was_on(switch: Path, tmp_path: Path) -> None:
    """An operator's own setting is not taken away."""
    switch.write_text("1\n")
    ours = Switch(Home(), tmp_path / "kept.json")
    assert not ours.on()
    assert ours.put_back() is None
    assert switch.read_text() == "1"


def test_after_a_crash_the_next_one_knows(switch: Path, tmp_path: Path) -> None:
    """What the first found is put back by the second, which found it on; not after a boot."""
    kept = tmp_path / "kept.json"
    Switch(Home(), kept).on()
    second = Switch(Home(), kept)
    second.on()
    note = json.loads(kept.read_text())
    assert second.put_back() is None
    assert switch.read_text() == "0"
    switch.write_text("1")
    kept.write_text(json.dumps(note | {"boot_id": "another"}))
    assert Switch(Home(), kept).put_back() is None
    assert switch.read_text() == "1"


def test_what_cannot_be_set_is_a_problem_in_words(switch: Path, tmp_path: Path) -> None:
    """One clear sentence; gone once it can be set."""
    ours = Switch(Home(), tmp_path / "kept.json")
    switch.unlink()
    assert not ours.on()
    assert ours.problem is not None
    assert "its LOG rules would print nothing, since nf_log_all_netns cannot be set" in ours.problem
    switch.write_text("0")
    ours.on()
    assert ours.problem is None


def test_times_without_it_are_told(switch: Path, tmp_path: Path) -> None:
    """Flipped: a time that is over. Out of reach: one that lasts, until it is on again; the first is not concerned."""
    told: list[tuple[int, int | None]] = []
    said: list[str] = []
    ours = Switch(Home(), tmp_path / "kept.json")
    printing = Printing(ours, lambda since, to: told.append((since, to)), said.append)
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

    printing = Printing(Flipped(Home(), tmp_path / "kept.json"), lambda *gap: told.append(gap), lambda _: None)
    printing.look()
    printing.look()
    assert [since <= off[0] for since, _ in told] == [True]
