"""The sealer's turns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from anetcon.follow import sealing
from anetcon.follow.sealing import Sealing
from anetcon.follow.settings import Settings
from anetcon.journal.write import segments
from anetcon.store import layout, manifest, parts
from anetcon.store.reader import Store
from tests.support.records import DAY, T0, Making, whole


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


def test_too_little_memory_is_met_with_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A seal that runs out of memory is done again with fewer rows, and it is said; when fewer do not help, it is a
    failure. The journal waits, and in the end the store has everything."""
    row = {"node": "gw1", "netns": "a", "netns_inode": 7, "interface": "qr", "mac": bytes(6), "from": T0, "to": T0}
    making = Making(tmp_path).add(*({**row, "address": f"10.0.0.{n}"} for n in range(9)), table="neighbours").rotate()
    real, room = parts.divided, [30_000]

    def divided(known: pa.Table, pieces: Iterable[pa.Table], gaps: pa.Table, most: int) -> Iterator[pa.Table]:
        """As it is, where there is memory enough for so many rows."""
        if most > room[0]:
            raise pa.ArrowMemoryError("malloc of size 134217792 failed")
        return real(known, pieces, gaps, most)

    monkeypatch.setattr(parts, "divided", divided)
    follower = Sealing(Settings(tmp_path, "gw1"))
    steps = [follower.step() for _ in range(5)]
    assert steps == [True, True, True, True, False]
    said = capfd.readouterr().err.splitlines()
    assert [line.split("goes on with ")[1].split()[0] for line in said] == ["125000", "31250", "7812"]
    assert "give the service or the machine more memory" in said[0]
    assert manifest.replay(tmp_path).through == {"neighbours": 1}
    assert len(Store(tmp_path).intervals("neighbours")) == 9
    room[0] = 100
    making.add({**row, "address": "10.0.0.10"}, table="neighbours").close()
    follower = Sealing(Settings(tmp_path, "gw1"))
    assert all(follower.step() for _ in range(4))
    with pytest.raises(MemoryError):
        follower.step()
    assert segments(layout.journal_folder(tmp_path, "neighbours"))
    assert len(Store(tmp_path).intervals("neighbours")) == 10
