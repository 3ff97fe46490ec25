"""Kernel lines under a LOG engine: every one is a record or counted as lost, whichever process is stopped or dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.load import kernel
from tests.load.flood import Flood
from tests.support.asking import Answer
from tests.support.daemon import Daemon, seconds
from tests.support.waiting import wait_until

# Others may hold the machine's switch for a while.
pytestmark = [pytest.mark.needs("nft"), pytest.mark.timeout(300)]

ENGINE = "nftables-log"
BURST = 5000
"""Ten times what the kernel's ring holds."""

REST = 200
"""Lines that the ring holds, whoever reads it or does not."""

SLACK = 10.0
"""Seconds that a gap may be wide: as long as a process takes to come back on a busy machine."""


class Scene:
    """A router with LOG rules and a daemon that reads their lines."""

    def __init__(self, bed: Testbed, folder: Path, engine: str = ENGINE) -> None:
        self.world = World(bed)
        self.router = Router(self.world, instances=1, plain=True)
        self.name = self.router.name
        self.folder = folder
        self.auditor = Daemon(folder, [self.name], self.tables(engine)).run()
        self.auditor.wait_attached([self.name])

    def tables(self, engine: str) -> dict[str, dict[str, object]]:
        """The settings under an engine."""
        return {"audit": {"namespaces": [f"^{self.name}$"], "engine": engine}}

    def pid(self, process: str) -> int:
        """Of capture or kmsg; 0 while it is started again."""
        return int(self.auditor.status()[process]["pid"] or 0)

    def connect(self, source_port: int = 0) -> traffic.Made:
        """One connection."""
        inside = self.router.instances[0]
        target = (SERVER, 8080)
        with Server(self.world.namespace, SERVER, 8080) as server:
            return traffic.tcp(inside.namespace, inside.address, target, server, "reset", source_port)

    def wait_on_record(self, made: traffic.Made) -> dict[str, Any]:
        """The record of a connection, once there is one."""
        port = str(made.src_port)
        (record,) = wait_until(lambda: self.auditor.search("--sport", port), 30, f"{made} is on record")
        return record

    def gaps(self, *causes: str) -> list[dict[str, object]]:
        """The gaps of these causes."""
        return [gap for gap in self.auditor.gaps() if gap["cause"] in causes]

    def lost(self) -> int:
        """Messages lost, by all gaps together."""
        gaps = Answer("gaps", "--store", self.auditor.store, "--format", "json").json["gaps"]
        return sum(int(str(gap["lost"] or 0)) for gap in gaps)

    def recorded(self) -> Counter[tuple[str, int]]:
        """How often each inner address and port of the flood is on record."""
        found = self.auditor.search("--src", f"10.{self.router.number}.128.0/17")
        return Counter((record["src_ip"], record["src_port"]) for record in found)

    def wait_accounted(self, flow: Flow) -> Counter[tuple[str, int]]:
        """Until records and losses make up what was made; what is on record. A loss is of messages, so what others had
        the kernel print meanwhile may be among what was lost."""

        def enough() -> bool:
            return sum(self.recorded().values()) + self.lost() >= flow.made

        wait_until(lambda: self.auditor.totals()["starts"] + self.lost() >= flow.made, 60, "all counted", every=0.3)
        wait_until(enough, 60, "all on record or lost", every=0.3)
        self.auditor.wait_flushed()
        recorded = self.recorded()
        assert set(recorded.values()) == {1}
        assert flow.made <= len(recorded) + self.lost() <= flow.made + flow.others
        return recorded


@dataclass(frozen=True)
class Flow:
    """Connections of a flood, and the messages that the kernel printed beside theirs."""

    made: int
    others: int


def next_message() -> int:
    """The number that the kernel's next message will have."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    number = 0
    try:
        while True:
            with contextlib.suppress(BrokenPipeError):  # overwritten meanwhile
                number = int(os.read(log, 8192).split(b",", 2)[1]) + 1
    except BlockingIOError:
        return number
    finally:
        os.close(log)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """One scene, with the machine's switch held."""
    with kernel.log_all_netns(), Testbed() as bed:
        made = Scene(bed, tmp_path)
        yield made
        made.auditor.stop()


def test_more_lines_than_the_ring_holds(scene: Scene) -> None:
    """With the reader stopped, most of a burst is overwritten: what is on record and the gap's count are all there
    was, exactly, and the gap is no wider than the burst."""
    first = scene.connect()
    before = scene.wait_on_record(first)
    late = time.time() - first.began / 1e6  # so late it was read at most, and so wrong the times of lines may be
    reader = scene.pid("kmsg")
    os.kill(reader, signal.SIGSTOP)
    wait_until(lambda: f"{reader} (anetcon-kmsg) T " in Path(f"/proc/{reader}/stat").read_text(), 10, "it is stopped")
    printed = next_message()
    with Flood(scene.router, BURST) as flood:
        flood.send()
        made = flood.made()
    over, printed = time.time(), next_message() - printed
    os.kill(reader, signal.SIGCONT)
    recorded = scene.wait_accounted(Flow(made, printed - made))
    (gap,) = scene.gaps("overrun")
    assert made == BURST
    assert gap["netns"] is None
    assert 0 < len(recorded) < made
    begin, end = seconds(str(gap["from"])), seconds(str(gap["to"]))
    assert first.began / 1e6 - 0.1 <= seconds(before["start"]) <= begin < end <= over + late


def test_forged_lines_are_not_taken(scene: Scene) -> None:
    """What user space writes to the kernel's log with our prefix, whatever level it claims, is no record."""
    digest = hashlib.md5(scene.name.encode(), usedforsecurity=False).hexdigest()[:8]
    with Path("/dev/kmsg").open("wb", buffering=0) as log:
        for level in (0, 4, 6):
            log.write(
                b"<%d>[ANETCON][X][%s] IN=a OUT=b SRC=10.9.9.9 DST=198.51.100.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 "
                b"DF PROTO=TCP SPT=666 DPT=443 WINDOW=1 RES=0x00 SYN URGP=0 \n" % (level, digest.encode())
            )
    real = scene.connect()
    scene.wait_on_record(real)
    assert [record["src_port"] for record in scene.auditor.search()] == [real.src_port]
    assert scene.gaps("overrun", "undecodable") == []


def _in_full_flow(scene: Scene, count: int, fault: Callable[[], None]) -> tuple[Flow, set[tuple[str, int]]]:
    """A flood with a fault in its middle; the last of it comes when the fault is over. What was made, and the last."""
    over = threading.Event()
    with Flood(scene.router, count) as flood:
        printed, last = next_message(), len(flood) - REST

        def send() -> None:
            flood.send(0, last)
            over.wait()
            flood.send(last)

        sending = threading.Thread(target=send)
        sending.start()
        try:
            wait_until(lambda: flood.made() > count // 3, 30, "the flood flows")
            fault()
        finally:
            over.set()
            sending.join()
        made = flood.made()
        addresses = (".".join(map(str, address)) for address in flood.truth.src_ip[last:].tolist())
        ends = set(zip(addresses, flood.truth.src_port[last:].tolist(), strict=True))
    assert made == count
    return Flow(made, next_message() - printed - made), ends


@pytest.mark.parametrize("process", ["capture", "kmsg"])
def test_killed_in_full_flow(scene: Scene, process: str) -> None:
    """kill -9 of capture or of the reader: each line is on record once, or counted in a gap; whoever comes after it
    goes on."""
    pid = scene.pid(process)

    def kill() -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: scene.pid(process) not in (pid, 0), 20, "started again")

    flow, last = _in_full_flow(scene, 40_000, kill)
    assert last <= set(scene.wait_accounted(flow))
    down = [gap for gap in scene.gaps("capture-down") if gap["lost"]]
    for gap in down:
        assert seconds(str(gap["to"])) - seconds(str(gap["from"])) < SLACK


def test_replaced_in_place_under_load(scene: Scene) -> None:
    """SIGUSR2 in the middle of a flood: the same descriptors go on, all children are new, everything is accounted for,
    and no time without a daemon or capture is on record. (The kernel may overwrite lines meanwhile: those are counted.)
    """
    before = {process: scene.pid(process) for process in ("capture", "kmsg")}

    def replace() -> None:
        os.kill(scene.auditor.process.pid, signal.SIGUSR2)
        wait_until(lambda: all(scene.pid(p) not in (before[p], 0) for p in before), 20, "all children are new")

    flow, last = _in_full_flow(scene, 40_000, replace)
    assert last <= set(scene.wait_accounted(flow))
    assert [gap for gap in scene.gaps("capture-down", "daemon-down") if not gap["lost"]] == []


def test_another_engine_by_reload(tmp_path: Path) -> None:
    """SIGHUP changes the engine either way: each connection is on record as that engine learns it, once. (A daemon that
    was started with conntrack has given up what LOG rules need.)"""
    with kernel.log_all_netns(), Testbed() as bed:
        scene = Scene(bed, tmp_path)
        auditor, origins = scene.auditor, []
        for port, engine in enumerate((ENGINE, "conntrack", ENGINE), 40_001):
            Daemon(tmp_path, [scene.name], scene.tables(engine))  # writes the file
            before = auditor.capture_pid()
            if engine != auditor.status()["engine"]:
                os.kill(auditor.process.pid, signal.SIGHUP)
                wait_until(lambda: auditor.capture_pid() not in (before, None), 20, "capture is new")  # noqa: B023
                wait_until(lambda: auditor.status()["engine"] == engine, 30, "the engine is another")  # noqa: B023
                auditor.wait_attached([scene.name])
                auditor.wait_written()
            origins.append(scene.wait_on_record(scene.connect(port))["origin"])
        assert origins == ["log", "event", "log"]
        assert [span["to"] is None for span in scene.gaps("log-engine")] == [False, True]
        assert auditor.stop() == 0, auditor.errors()


def test_the_engine_is_said_with_every_answer(scene: Scene) -> None:
    """While it runs a gap lasts that says what lines do not tell; stopped in order, it has its end."""
    scene.connect()
    scene.auditor.wait_flushed()
    (open_gap,) = scene.gaps("log-engine")
    assert (open_gap["netns"], open_gap["to"]) == (None, None)
    assert scene.auditor.stop() == 0, scene.auditor.errors()
    (closed,) = scene.gaps("log-engine")
    assert closed["from"] == open_gap["from"]
    assert closed["to"] is not None
