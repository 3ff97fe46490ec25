"""A flood of neighbours that is in the journal: it is sealed in the memory that a small seal takes, and goes again when
the store is too large. What the rest of the record says of that time is not lost without a word."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from anetcon.config.model import Config
from anetcon.journal.write import Writer
from anetcon.record import arrow_schema
from anetcon.store import layout, manifest
from anetcon.store.reader import Store
from anetcon.testbed.bed import Testbed
from tests.support.asking import Answer
from tests.support.daemon import QUICK, Daemon
from tests.support.records import DAY, INODE, ROUTER, SECOND, T0, batch
from tests.support.waiting import wait_until

PIECE = 50_000
FEW = 3
LITTLE = 8 << 20
SPARE = 48 << 20
"""Bytes that sealing may take beside what it has when it is idle; a row of the flood takes some 300 in memory."""


def flood(store: Path, rows: int, first: int, segment: int) -> None:
    """Write so many neighbours into the journal, one a millisecond: an address whose MAC changes with each frame."""
    base = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "qr-1", "address": "2001:db8::666"}
    made = batch(
        "neighbours",
        [
            {**base, "mac": b"\2\0" + n.to_bytes(4, "big"), "from": first + n * 1000, "to": first + n * 1000 + 1000}
            for n in range(PIECE)
        ],
    )
    with Writer(layout.journal_folder(store, "neighbours"), "neighbours") as writer:
        for at in range(0, rows, PIECE):
            if writer.rows >= segment:
                writer.rotate()
            writer.append(later(made, at * 1000).slice(0, rows - at), first, first)


def later(rows: pa.RecordBatch, by: int) -> pa.RecordBatch:
    """The same so many microseconds later."""
    names = rows.schema.names
    shift = pa.scalar(by, pa.duration("us"))
    columns = [pc.add(rows[name], shift) if name in ("from", "to") else rows[name] for name in names]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema("neighbours"))


class Follower:
    """The process that seals, idle: it has sealed a little already, and read that again for the next seal."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        resolved: dict[str, Any] = msgspec.to_builtins(Config(node="gw1"))
        resolved["store"]["path"] = str(self.store)
        resolved["logs"]["enabled"] = False
        Writer(layout.journal_folder(self.store, "connections"), "connections").close()
        settings = os.memfd_create("settings")
        os.write(settings, json.dumps(resolved).encode())
        self.said = folder / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "anetcon.follow.main", "--settings", str(settings)],
                pass_fds=[settings],
                stderr=said,
            )
        os.close(settings)
        for number in range(FEW):
            flood(self.store, 1, T0 + number, PIECE)
            self.wait_sealed(number + 1)

    def sealed(self) -> int:
        """How many segments are."""
        return manifest.replay(self.store).through.get("neighbours", 0)

    def wait_sealed(self, rows: int) -> None:
        """Until the store has so many neighbours."""
        folder = layout.journal_folder(self.store, "neighbours")
        last = max(int(path.stem) for path in folder.glob("*.index"))
        wait_until(lambda: self.sealed() == last, 60, f"sealed: {self.said.read_text()}")
        there = manifest.replay(self.store).of("neighbours")
        assert sum(entry.rows for entry in there) == rows

    def status(self, name: str) -> int:
        """A figure of /proc, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024

    def seal(self, rows: int, segment: int, spare: int) -> int:
        """Have it seal a flood with no more than `spare` bytes beside what it has; the most memory that it had."""
        limit = self.status("VmData") + spare
        resource.prlimit(self.process.pid, resource.RLIMIT_DATA, (limit, limit))
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # VmHWM from now on
        self.process.send_signal(signal.SIGSTOP)
        flood(self.store, rows, T0 + SECOND, segment)
        self.process.send_signal(signal.SIGCONT)
        self.wait_sealed(rows + FEW)
        return self.status("VmHWM")

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Callable[[str], Follower]]:
    """Makes processes that seal, each with a store of its own."""
    made: list[Follower] = []

    def make(name: str) -> Follower:
        (tmp_path / name).mkdir()
        made.append(Follower(tmp_path / name))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.mark.slow
def test_sealing_takes_no_more_memory_for_more(follower: Callable[[str], Follower]) -> None:
    """Ten times the rows, in many segments or in one, take hardly more memory, and no limit is met."""
    made = {name: follower(name) for name in ("small", "many", "one")}
    small = made["small"].seal(PIECE, PIECE, SPARE)
    many = made["many"].seal(10 * PIECE, PIECE, SPARE)
    one = made["one"].seal(10 * PIECE, 10 * PIECE, SPARE)
    assert [each.said.read_text() for each in made.values()] == ["", "", ""]
    assert max(many, one) < 1.25 * small, (small, many, one)


@pytest.mark.slow
def test_too_little_memory_loses_nothing(follower: Callable[[str], Follower]) -> None:
    """Where memory does not do for a seal as it is, it goes on with fewer rows, says so, and has all of them."""
    made = follower("little")
    made.seal(3 * PIECE, PIECE, LITTLE)
    said = made.said.read_text()
    assert "sealing: too little memory: goes on with 125000 rows at once; give the service or the machine more" in said
    rows = Store(made.store).intervals("neighbours")
    assert len(rows) == 3 * PIECE + FEW


def test_a_flood_goes_when_the_store_is_too_large(bed: Testbed, tmp_path: Path) -> None:
    """A flood of two days ago is in the journal when the daemon starts: it is sealed, goes by `max_gigabytes`, and what
    is asked about that time is not complete. Neighbours that still last stay, and so does what is recorded now."""
    router = bed.namespace("flooded")
    limits = {"max_gigabytes": 0.0005, "min_free_gigabytes": 0}
    daemon = Daemon(tmp_path, [router.name], {"store": {**QUICK["store"], **limits}})
    past = time.time_ns() // 1000 - 2 * DAY
    base = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "qr-1", "mac": bytes(6), "to": None}
    with Writer(layout.journal_folder(daemon.store, "neighbours"), "neighbours") as writer:
        writer.append(batch("neighbours", [{**base, "address": "10.0.0.5", "from": past}]), past, past)
    flood(daemon.store, 6 * PIECE, past, PIECE)
    daemon.run()
    try:
        daemon.wait_attached([router.name])

        def parts() -> int:
            """How many files the neighbours have; 0 while some of the flood is still in the journal."""
            state = manifest.replay(daemon.store)
            return len(state.of("neighbours")) if state.through.get("neighbours", 0) >= 7 else 0

        wait_until(lambda: parts() == 1, 60, f"only the current part is there; {daemon.errors()}")
        wait_until(lambda: "retention: removed what had ended before" in daemon.errors(), 10, "it is said")
        assert len(list((daemon.store / "neighbours").iterdir())) == 1
        window = ("--since", str(past // SECOND), "--until", str(past // SECOND + 60))
        said = Answer("search", *window, "--store", daemon.store, "--format", "json")
        assert said.status == 3
        assert "retention" in {gap["cause"] for gap in said.json["coverage"]["gaps"]}
        kept = Store(daemon.store).intervals("neighbours").to_pylist()
        assert [row["address"][-1] for row in kept if row["address"].startswith(bytes(10))] == [5]
        assert len(kept) <= PIECE + 1
    finally:
        daemon.stop()
