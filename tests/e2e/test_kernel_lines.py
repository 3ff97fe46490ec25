"""Kernel lines under a LOG engine: every one is a record or counted as lost, whichever process is stopped or dies."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.testbed import kernel, traffic
from anetcon.testbed.flood import Flood
from anetcon.testbed.namespaces import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.e2e.daemon import Daemon, seconds
from tests.netns.waiting import wait_until
from tests.unit.cli.asking import Answer

# Others may hold the machine's switch for a while.
pytestmark = [pytest.mark.needs("nft"), pytest.mark.timeout(300)]

ENGINE = "nftables-log"
BURST = 5000
"""Ten times what the kernel's ring holds."""

CLOCK = 0.5
"""Seconds that the time of a kernel line may be wrong by on a busy machine."""

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
        """Of capture or kmsg."""
        return int(self.auditor.status()[process]["pid"])

    def connect(self) -> traffic.Made:
        """One connection."""
        inside = self.router.instances[0]
        with Server(self.world.namespace, SERVER, 8080) as server:
            return traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")

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

    def wait_accounted(self, made: int) -> Counter[tuple[str, int]]:
        """Until records and losses make up the number that was made; what is on record."""
        wait_until(lambda: self.auditor.totals()["starts"] + self.lost() >= made, 60, "all accounted for", every=0.3)
        self.auditor.wait_flushed()
        return self.recorded()


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
    scene.auditor.wait_flushed()
    os.kill(scene.pid("kmsg"), signal.SIGSTOP)
    with Flood(scene.router, BURST) as flood:
        flood.send()
        made = flood.made()
    over = time.time()
    os.kill(scene.pid("kmsg"), signal.SIGCONT)
    recorded = scene.wait_accounted(made + 1)
    (gap,) = scene.gaps("overrun")
    assert made == BURST
    assert gap["netns"] is None
    assert set(recorded.values()) == {1}
    assert len(recorded) + int(str(gap["lost"])) == made
    assert 0 < len(recorded) < made
    assert first.began / 1e6 - CLOCK <= seconds(str(gap["from"])) < seconds(str(gap["to"])) <= over + CLOCK


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
    scene.auditor.wait_flushed()
    scene.auditor.wait_flushed()
    assert [record["src_port"] for record in scene.auditor.search()] == [real.src_port]
    assert scene.gaps("overrun", "undecodable") == []


def _in_full_flow(scene: Scene, count: int, fault: Callable[[], None]) -> int:
    """A flood with a fault in its middle; how many connections were made."""
    with Flood(scene.router, count) as flood:
        sending = threading.Thread(target=flood.send)
        sending.start()
        wait_until(lambda: flood.made() > count // 3, 30, "the flood flows")
        fault()
        sending.join()
        return flood.made()


@pytest.mark.parametrize("process", ["capture", "kmsg"])
def test_killed_in_full_flow(scene: Scene, process: str) -> None:
    """kill -9 of capture or of the reader: each line is on record once, or counted in a gap."""
    pid = scene.pid(process)
    made = _in_full_flow(scene, 40_000, lambda: os.kill(pid, signal.SIGKILL))
    wait_until(lambda: scene.pid(process) != pid, 20, "started again")
    recorded = scene.wait_accounted(made)
    assert set(recorded.values()) == {1}
    assert len(recorded) + scene.lost() == made
    assert len(recorded) > made // 3
    down = [gap for gap in scene.gaps("capture-down") if gap["lost"]]
    for gap in down:
        assert seconds(str(gap["to"])) - seconds(str(gap["from"])) < SLACK


def test_replaced_in_place_under_load(scene: Scene) -> None:
    """SIGUSR2 in the middle of a flood: the same descriptors go on, all children are new, everything is accounted for,
    and no time without a daemon or capture is on record."""
    before = {process: scene.pid(process) for process in ("capture", "kmsg")}
    made = _in_full_flow(scene, 40_000, lambda: os.kill(scene.auditor.process.pid, signal.SIGUSR2))
    wait_until(lambda: all(scene.pid(p) not in (before[p], 0) for p in before), 20, "all children are new")
    recorded = scene.wait_accounted(made)
    assert set(recorded.values()) == {1}
    assert len(recorded) + scene.lost() == made
    assert scene.gaps("capture-down", "daemon-down") == []


def test_another_engine_by_reload(tmp_path: Path) -> None:
    """SIGHUP changes the engine either way: each connection is on record as that engine learns it, once."""
    with kernel.log_all_netns(), Testbed() as bed:
        scene = Scene(bed, tmp_path, "conntrack")
        auditor, origins = scene.auditor, []
        for engine in ("conntrack", ENGINE, "conntrack"):
            Daemon(tmp_path, [scene.name], scene.tables(engine))  # writes the file
            before = auditor.capture_pid()
            if engine != auditor.status()["engine"]:
                os.kill(auditor.process.pid, signal.SIGHUP)
                wait_until(lambda: auditor.capture_pid() not in (before, None), 20, "capture is new")  # noqa: B023
                wait_until(lambda: auditor.status()["engine"] == engine, 30, "the engine is another")  # noqa: B023
                auditor.wait_attached([scene.name])
                auditor.wait_written()
            port = str(scene.connect().src_port)
            (record,) = wait_until(lambda: auditor.search("--sport", port), 30, "it is on record")  # noqa: B023
            origins.append(record["origin"])
        assert origins == ["event", "log", "event"]
        spans = scene.gaps("log-engine")
        assert len(spans) == 1
        assert spans[0]["to"] is not None
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
