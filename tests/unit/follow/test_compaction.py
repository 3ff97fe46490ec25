"""Compaction as a follower: a child now and then, behind everybody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anetcon.follow import compaction
from anetcon.follow.compaction import Compacting
from anetcon.follow.settings import Settings
from anetcon.store import layout, lock, manifest
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from tests.support.records import DAY, T0, Making, whole
from tests.support.waiting import wait_until


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A day of two seals, and a day behind it."""
    making = Making(tmp_path)
    for number, at in enumerate((T0 - 9 * DAY, T0 - 9 * DAY, T0 - 5 * DAY)):
        making.add(*whole(start=at, src_port=number)).rotate()
        assert Sealer(tmp_path, lambda at=at: at).seal()  # type: ignore[misc]
    return making.close()


def files(store: Path) -> list[str]:
    """What the files that count are of."""
    return [layout.span_of_file(entry.file) for entry in manifest.replay(store).connections]


def child(follower: Compacting) -> int:
    """Its process."""
    assert follower._pid is not None
    return follower._pid


def test_a_child_does_it_when_it_is_time(store: Path) -> None:
    """Not before; one at a time; and again later. It comes behind all others and leaves nothing."""
    clock = [0.0]
    follower = Compacting(Settings(store, "gw1"), lambda: clock[0])
    assert not follower.step()
    assert not follower._pid
    clock[0] = compaction.EVERY
    with lock.turn(store, wait=True):  # so that it cannot end before it was looked at
        assert not follower.step()
        pid = child(follower)
        wait_until(lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE, 60, "the child comes last")
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        clock[0] *= 3
        assert not follower.step()
        assert child(follower) == pid
    wait_until(lambda: not follower.step() and follower._pid != pid, 60, "the child has ended")
    assert files(store) == ["", "day"]
    assert Store(store).connections().read_all().num_rows == 3
    follower.stop()
    follower.close()
    follower.reopen()


def test_it_is_killed_at_the_end(store: Path) -> None:
    """Without waiting for it: nothing is half done."""
    follower = Compacting(Settings(store, "gw1"), lambda: 0.0)
    follower._next = 0
    with lock.turn(store, wait=True):
        follower.step()
        pid = child(follower)
        follower.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert files(store) == ["", "", ""]


def test_what_it_cannot_do_is_said(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In the daemon's log, as the reason is; it does not end anything else."""
    follower = Compacting(Settings(store, "gw1", limits=Limits(free=1 << 60)), lambda: 0.0)
    follower._next = 0
    follower.step()
    pid = child(follower)
    wait_until(lambda: not follower.step() and follower._pid != pid, 60, "the child has ended")
    assert "compaction: the disk of" in capfd.readouterr().err
    assert files(store) == ["", "", ""]
