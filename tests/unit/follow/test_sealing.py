"""The sealer's turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.follow import sealing
from anetcon.follow.sealing import Sealing
from anetcon.follow.settings import Settings
from anetcon.journal.write import segments
from anetcon.store import layout
from tests.unit.store.records import DAY, T0, Making, whole


def test_a_turn_is_a_seal_and_later_drops_what_others_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything closed there is nothing to do, but segments passed meanwhile are dropped now and then."""
    path = layout.follower_path(tmp_path, "text")
    layout.make_folder(path.parent)
    path.write_text('{"keep": 1}')
    making = Making(tmp_path).add(*whole()).rotate()
    monkeypatch.setattr(sealing, "DROP_EVERY", 0.0)
    follower = Sealing(Settings(tmp_path, "gw1"))
    folder = layout.journal_folder(tmp_path, "connections")
    assert follower.step()
    assert segments(folder) == [1, 2]
    path.write_text('{"keep": 2}')
    making.alive(T0 + DAY)  # what was written last is never dropped
    assert not follower.step()
    assert segments(folder) == [2]
    making.add(*whole(src_port=1)).rotate()
    path.unlink()
    assert follower.step()
    follower.reopen()
    follower.stop()
    follower.close()
    making.close()
