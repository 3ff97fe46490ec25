"""A disk that is full, read-only or gone under the daemon, in the middle of connections."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anetcon.errors import AlreadyRunningError, StoreError
from anetcon.testbed.topology import SERVER, Router
from anetcon.testbed.traffic import Server, udp
from tests.e2e.faults.conftest import Weaken
from tests.load.flood import Flood
from tests.support.daemon import PROGRAM, Daemon, seconds
from tests.support.disk import SmallDisk, on_disk
from tests.support.ledger import Ledger, UnaccountedError, bounded
from tests.support.waiting import wait_until

SOME, MANY = 30_000, 180_000
"""Connections while the disk is full: fewer than memory holds the records of, and more than LITTLE does."""
RATE = 60_000
LITTLE = 4
"""Megabytes, the least there may be."""
NO_COUNT = """
from anetcon.capture import backlog as waiting
waiting.Shed.drop = lambda self, columns, until: setattr(columns, "rows", 0)
"""
NO_MEMORY = """
from anetcon.capture import backlog as waiting
waiting.Waiting.add = lambda *_: None
"""

Make = Callable[..., Daemon]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """A daemon that is not started yet."""

    def make(*names: str, **tables: dict[str, Any]) -> Daemon:
        return Daemon(tmp_path, names, {"": {"node": "testnode"}, **tables})

    return make


def unwritten(auditor: Daemon) -> bool:
    """Whether the daemon says that it cannot write its journal."""
    return bool(auditor.status()["capture"]["unwritten"])


def memory_full(auditor: Daemon) -> bool:
    """Whether the daemon says that it drops records."""
    return "memory is full as well" in auditor.errors()


def full_under_load(
    auditor: Daemon, disk: SmallDisk, router: Router, count: int, told: bool = True
) -> tuple[Ledger, tuple[float, float]]:
    """Connections before, while and after the disk is full; and from when to when it was. What `status` says of it is
    looked at if it is to be `told`: a heartbeat may still fit where no record does."""
    auditor.run().wait_attached([router.name])
    capture = auditor.capture_pid()
    with Flood(router, count + 4_000) as flood:
        ledger = Ledger(flood)
        ledger.send(2_000)
        auditor.wait_recorded(lambda totals: totals["ends"] >= ledger.sent)
        began = time.time()
        stranger = disk.fill()
        ledger.send(count, rate=RATE)
        wait_until(lambda: auditor.totals()["ends"] >= ledger.sent, 30, "all are read")
        wait_until(lambda: "cannot write the journal" in auditor.errors(), 20, "capture has tried to write them")
        if told:
            wait_until(lambda: unwritten(auditor), 20, "that is said")
            status = auditor.command("status")
            assert status.returncode == 1
            assert "the journal cannot be written since" in status.stdout, status.stdout
            assert "No space left on device" in status.stdout
        stranger.unlink()
        ended = time.time()
        wait_until(lambda: not unwritten(auditor), 20, "the journal is written again")
        auditor.wait_written()
        ledger.send()
        auditor.wait_recorded(lambda totals: totals["ends"] >= ledger.sent)
        assert flood.made() == ledger.sent
        assert flood.failures() == {}
    assert auditor.capture_pid() == capture, auditor.errors()
    assert auditor.stop() == 0, auditor.errors()
    return ledger, (began, ended)


@pytest.mark.timeout(120)
def test_a_full_disk_is_waited_out_in_memory(made: Make, router: Router) -> None:
    """What fits into memory is on record, each connection once with its end; there is no gap, and it is said."""
    auditor = made(router.name, store={"seal_minutes": 1 / 60})
    with on_disk(auditor, 16) as disk:
        ledger, _ = full_under_load(auditor, disk, router, SOME)
        ledger.whole(auditor)
        lines = Counter(line.partition(" SRC=")[2].partition(" NETNS=")[0] for line in auditor.lines("nat"))
        assert len(lines) == ledger.sent
        assert set(lines.values()) == {1}
        assert [gap for gap in auditor.gaps("--until", "now") if gap["cause"] == "disk-full"] == []
    said = auditor.errors()
    assert said.count("cannot write the journal: No space left on device; make room") == 1, said
    assert said.count("the journal is written again") == 1, said
    assert "Traceback" not in said


@pytest.mark.timeout(120)
def test_a_full_disk_without_memory_is_found_out(made: Make, router: Router, weakened: Weaken) -> None:
    """The control: what waits nowhere is missed by the count."""
    weakened("anetcon.capture.main", NO_MEMORY)
    auditor = made(router.name)
    with on_disk(auditor, 16) as disk:
        ledger, _ = full_under_load(auditor, disk, router, SOME, told=False)
        with pytest.raises(UnaccountedError):
            ledger.whole(auditor)


@pytest.mark.timeout(180)
def test_what_no_longer_fits_is_counted(made: Make, router: Router) -> None:
    """With little memory: made = recorded + counted, exactly, in one gap from when memory was full to when there was
    room."""
    auditor = made(router.name, store={"memory_megabytes": LITTLE})
    with on_disk(auditor, 24) as disk:
        ledger, (began, ended) = full_under_load(auditor, disk, router, MANY)
        (gap,) = [gap for gap in auditor.gaps("--until", "now") if gap["cause"] == "disk-full"]
        assert gap["lost"] > MANY // 10
        recorded = ledger.explained(auditor, [gap])
        assert recorded.connections + gap["lost"] == ledger.sent
        with pytest.raises(UnaccountedError):
            bounded(gap, began, ended)  # memory lasted for a while
        assert began < seconds(gap["from"]) < seconds(gap["to"]) < ended + 2


@pytest.mark.timeout(180)
def test_what_is_dropped_without_a_count_is_found_out(made: Make, router: Router, weakened: Weaken) -> None:
    """The control: a capture that drops and does not count."""
    weakened("anetcon.capture.main", NO_COUNT)
    auditor = made(router.name, store={"memory_megabytes": LITTLE})
    with on_disk(auditor, 24) as disk:
        ledger, _ = full_under_load(auditor, disk, router, MANY)
        (gap,) = [gap for gap in auditor.gaps("--until", "now") if gap["cause"] == "disk-full"]
        assert ledger.each_once(auditor).connections + gap["lost"] < ledger.sent


@pytest.mark.timeout(120)
def test_a_connection_whose_start_was_dropped_is_found(made: Make, router: Router) -> None:
    """One that began while records were dropped, and lasts, is on record soon after there is room: from a listing."""
    inside = router.instances[0]
    auditor = made(router.name, store={"memory_megabytes": LITTLE})
    with (
        on_disk(auditor, 24) as disk,
        Flood(router, 2 * MANY) as flood,
        Server(router.world.namespace, SERVER, 8080) as server,
    ):
        auditor.run().wait_attached([router.name])
        stranger = disk.fill()
        ledger = Ledger(flood)
        router.namespace.sysctl(netfilter__nf_conntrack_udp_timeout=600)  # it lasts, however slow the machine
        ledger.send(2 * MANY - 5_000, rate=RATE, enough=lambda: memory_full(auditor))
        wait_until(lambda: memory_full(auditor), 30, "memory is full")
        udp(inside.namespace, inside.address, (SERVER, 8080), server)
        ledger.send(5_000)
        wait_until(lambda: auditor.totals()["ends"] >= ledger.sent, 20, "all are read")
        stranger.unlink()
        found = wait_until(lambda: auditor.search("--proto", "udp", "--src", inside.address), 25, "it is found")
        assert [(record["origin"], record["end"]) for record in found] == [("dump", None)]


@pytest.mark.timeout(120)
def test_started_and_stopped_on_a_full_disk(made: Make, router: Router) -> None:
    """A daemon that is stopped while the disk is full ends in good order, and one that starts then attaches, listens
    and records as soon as there is room; what was lost with the first is inside a gap."""
    auditor = made(router.name)
    with on_disk(auditor, 16) as disk, Flood(router, 20_000) as flood:
        ledger = Ledger(flood)
        auditor.run().wait_attached([router.name])
        ledger.send(5_000)
        auditor.wait_recorded(lambda totals: totals["ends"] >= ledger.sent)
        stranger = disk.fill()
        ledger.send(5_000)
        wait_until(lambda: auditor.totals()["ends"] >= ledger.sent, 20, "all are read")
        assert auditor.stop() == 0, auditor.errors()
        first = auditor.errors()
        auditor.start()
        pid = auditor.process.pid
        wait_until(lambda: auditor.status()["pid"] == pid and unwritten(auditor), 20, "it says that the disk is full")
        auditor.wait_attached([router.name])
        ledger.send(5_000)
        wait_until(lambda: auditor.totals()["ends"] >= 5_000, 20, f"all are read {auditor.errors()}")
        stranger.unlink()
        auditor.wait_written()
        ledger.send()
        auditor.wait_recorded(lambda totals: totals["ends"] >= 10_000)
        assert auditor.stop() == 0, auditor.errors()
        recorded = ledger.explained(auditor)
        assert recorded.connections >= 15_000
        assert [gap["cause"] for gap in auditor.gaps("--until", "now")].count("daemon-down") >= 1
        assert "Traceback" not in auditor.errors(), (first, auditor.errors())


@pytest.mark.timeout(120)
def test_a_store_whose_mount_vanishes(made: Make, router: Router) -> None:
    """Nothing is written into the empty folder that is left; when the mount is back, everything is on record."""
    auditor = made(router.name)
    with on_disk(auditor, 64) as disk, Flood(router, 15_000) as flood:
        ledger = Ledger(flood)
        auditor.run().wait_attached([router.name])
        ledger.send(5_000)
        auditor.wait_recorded(lambda totals: totals["ends"] >= ledger.sent)
        disk.run("umount", "--lazy", str(disk.folder))
        wait_until(lambda: "not in their place" in auditor.errors(), 20, "it is noticed")
        ledger.send(5_000)
        wait_until(auditor.status, 20, "it says how it is, where the store was")
        wait_until(lambda: auditor.totals()["ends"] >= ledger.sent, 20, "all are read")
        assert not {path.suffix for path in disk.outside.rglob("*")} & {".arrows", ".index", ".jsonl", ".parquet"}
        disk.run("mount", "--bind", str(disk.folder) + ".backing", str(disk.folder))
        auditor.wait_written()
        ledger.send()
        auditor.wait_recorded(lambda totals: totals["ends"] >= ledger.sent)
        assert auditor.stop() == 0, auditor.errors()
        ledger.whole(auditor)


def test_a_read_only_store(made: Make, router: Router) -> None:
    """Is refused at the start, in one sentence and with the status of a store that cannot be used."""
    auditor = made(router.name)
    disk = SmallDisk(auditor.store, 4)
    try:
        disk.run("mount", "-o", "remount,bind,ro", str(disk.folder))
        command = [*disk.enter, str(PROGRAM), "run", "-c", str(auditor.settings)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == StoreError.exit_status
        assert "read-only" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    finally:
        disk.close()


def test_two_daemons_on_one_store(made: Make, router: Router) -> None:
    """The second refuses, naming the first's process, also when that was replaced in place; after kill -9 of the first
    the next one starts at once, whatever its children still hold."""
    auditor = made(router.name)
    auditor.run()

    def refused() -> None:
        done = auditor.command("run", "-c", str(auditor.settings))
        assert done.returncode == AlreadyRunningError.exit_status
        assert f"process id {auditor.process.pid} " in done.stderr

    try:
        refused()
        capture = auditor.capture_pid()
        auditor.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: auditor.capture_pid() not in (None, capture), 20, "it is replaced")
        refused()
        os.kill(auditor.process.pid, signal.SIGKILL)
        auditor.process.wait(10)
        auditor.run()
        refused()
    finally:
        assert auditor.stop() == 0, auditor.errors()
