"""What the daemon promises, each judged by a count made outside it."""

from __future__ import annotations

import grp
import signal
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed, owner
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.load.flood import Flood
from tests.support.daemon import Daemon, seconds
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]
FLOOD = 60_000
RULES = 2.0
"""Seconds that a new namespace has for its rules before it is a gap that nothing is tracked in it."""
OURS = f"^qrouter-.*-{owner()}$"
"""The routers that this process makes (anetcon.testbed.bed.router_name)."""


def test_routers_that_come_and_go(bed: Testbed, daemon: Start) -> None:
    """Five routers made under a running daemon, used at once: no connection is missed; deleted ones are let go. What is
    made in one before it is attached, if somebody held the keeper up, is at least in a gap."""
    world = World(bed)
    auditor = daemon(audit={"namespaces": [OURS], "period": 60})  # they are noticed, not found by the next listing
    server = Server(world.namespace, SERVER, 8080)
    routers: list[Router] = []
    made: dict[str, list[Made]] = {}
    ready: dict[str, float] = {}
    for _ in range(5):
        router = Router(world, instances=1, plain=True)
        ready[router.name] = time.time()
        routers.append(router)
        inside = router.instances[0]
        made[router.name] = [traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server) for _ in range(20)]
    auditor.wait_attached(list(made))
    attached = {each["netns"]: seconds(each["since"]) for each in auditor.status()["namespaces"]}
    for router in routers:
        outer = router.link
        router.close()
        wait_until(partial(_is_gone, world, outer), 20, f"{outer} is gone")
    wait_until(
        lambda: all(auditor.states().get(router.name) == "gone" for router in routers), 20, "all are reported gone"
    )
    server.close()
    assert auditor.stop() == 0, auditor.errors()
    found = {(r["netns"], r["src_port"], r["nat_src_port"]): r for r in auditor.search("--dst", SERVER)}
    assert set(found) <= {(name, each.src_port, each.nat_src_port) for name in made for each in made[name]}
    assert {record["end_reason"] for record in found.values()} <= {"closed", "namespace-gone"}
    for name, connections in made.items():
        gaps = [gap for gap in auditor.gaps() if gap["netns"] == name]
        missed = [each for each in connections if (name, each.src_port, each.nat_src_port) not in found]
        if attached[name] * 1e6 <= connections[0].began:
            assert missed == []
            assert gaps == [] or ready[name] - attached[name] > RULES, gaps
        assert all(any(_inside(gap, each) for gap in gaps) for each in missed), (missed, gaps)


def _inside(gap: dict[str, Any], each: Made) -> bool:
    return seconds(gap["from"]) * 1e6 <= each.began <= seconds(gap["to"]) * 1e6


def _is_gone(world: World, link: str) -> bool:
    return link not in world.namespace.run("ip", "-br", "link")


class Asking(threading.Thread):
    """Asks `who` in a loop until told to stop; keeps what went wrong."""

    def __init__(self, auditor: Daemon) -> None:
        super().__init__()
        self.auditor = auditor
        self.asked = 0
        self.wrong: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        """The loop."""
        while not self.over.is_set():
            done = self.auditor.command("who", "203.0.113.2:443", "--at", "now", "--format", "json")
            self.asked += 1
            if done.returncode not in (0, 1, 3):
                self.wrong.append(done.stderr)


def lines_by_port(lines: list[str]) -> Counter[str]:
    """How often each inner address and port stands in the lines."""
    return Counter(" ".join(p for p in line.split() if p.startswith(("SRC=", "SPT="))) for line in lines)


@pytest.mark.timeout(150)
def test_flood_sealing_and_questions_together(bed: Testbed, daemon: Start) -> None:
    """A flood while the journal is sealed and `who` asks: each connection once, with its end, and one line."""
    world = World(bed)
    router = Router(world, plain=True)
    auditor = daemon(router.name, store={"seal_minutes": 1 / 60})
    auditor.wait_attached([router.name])
    asking = Asking(auditor)
    asking.start()
    flood = Flood(router, FLOOD)
    try:
        flood.send()
        auditor.wait_recorded(lambda totals: totals["ends"] >= FLOOD, seconds=60)
        wait_until(lambda: asking.asked > 3, 60, "several questions are answered")
    finally:
        asking.over.set()
        asking.join()
        flood.close()
    assert asking.wrong == []
    assert flood.made() == FLOOD
    assert auditor.stop() == 0, auditor.errors()
    found = auditor.search("--dport", "1-9000", "--proto", "tcp")
    sources = zip(flood.truth.src_ip.tolist(), flood.truth.src_port.tolist(), strict=True)
    truth = {(".".join(map(str, address)), port) for address, port in sources}
    assert len(found) == FLOOD
    assert {(r["src_ip"], r["src_port"]) for r in found} == truth
    assert {r["end_reason"] for r in found} == {"reset"}
    lines = lines_by_port(auditor.lines("nat"))
    assert len(lines) == FLOOD
    assert set(lines.values()) == {1}


def test_stopped_and_started(bed: Testbed, daemon: Start) -> None:
    """While the daemon is stopped is a gap, with the right bounds; before it first ran as well."""
    world = World(bed)
    router = Router(world, plain=True)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    stopping = time.time()
    assert auditor.stop() == 0
    stopped = time.time()
    empty = auditor.command("who", "203.0.113.2:1", "--at", "now")
    assert empty.returncode == 3, empty.stdout
    auditor.run()
    auditor.wait_flushed()
    again = time.time()
    gaps = {gap["cause"]: gap for gap in auditor.gaps("--since", "1 hour ago") if gap["netns"] is None}
    assert gaps["never-recorded"]["from"] is None
    down = gaps["daemon-down"]
    assert stopping - 0.5 <= seconds(down["from"]) <= stopped
    assert stopped <= seconds(down["to"]) <= again


def test_group_adm_may_read_everything(bed: Testbed, daemon: Start) -> None:
    """Whoever is in group adm can read journal, store, status and logs; nobody else can, and only root writes."""
    router = Router(World(bed), instances=1, plain=True)
    auditor = daemon(router.name, store={"seal_minutes": 1 / 60})
    auditor.wait_attached([router.name])
    assert auditor.stop() == 0
    group = grp.getgrnam("adm").gr_gid
    everything = (auditor.store, *auditor.store.rglob("*"), auditor.logs, *auditor.logs.rglob("*"))
    for path in everything:
        status = path.stat()
        if path.name in ("lock", "sealing.lock"):  # whoever may read it could hold it for ever
            assert stat.S_IMODE(status.st_mode) == 0o600
        elif path.parent.name != "followers":  # what followers keep for themselves
            assert (path, status.st_gid) == (path, group)
            assert (path, stat.S_IMODE(status.st_mode)) == (path, 0o750 if path.is_dir() else 0o640)


def test_logs_are_reopened(bed: Testbed, daemon: Start) -> None:
    """After logs were renamed and SIGHUP, lines go into new files; no line is lost and none is there twice."""
    world = World(bed)
    router = Router(world, instances=1, plain=True)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    inside, log = router.instances[0], auditor.logs / "anetcon.nat.log"
    with Server(world.namespace, SERVER, 8080) as server:

        def connect() -> str:
            made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
            return f"SPT={made.src_port} "

        before = connect()
        wait_until(lambda: any(before in line for line in auditor.lines("nat")), 30, "the first line")
        log.rename(log.with_suffix(".1"))
        auditor.process.send_signal(signal.SIGHUP)
        wait_until(log.exists, 30, "a new file")
        after = connect()
        wait_until(lambda: any(after in line for line in auditor.lines("nat")), 30, "the second line")
    assert auditor.stop() == 0
    assert before in log.with_suffix(".1").read_text()
    assert len(log.read_text().splitlines()) + len(log.with_suffix(".1").read_text().splitlines()) == 2


def test_a_bad_configuration_starts_nothing(tmp_path: Path) -> None:
    """One sentence naming file and key, an exit status, and no store made."""
    bad = Daemon(tmp_path, [], {"audit": {"perod": 3}})
    done = bad.command("run", "-c", str(bad.settings))
    assert done.returncode == 5
    assert "perod" in done.stderr
    assert "period" in done.stderr
    assert "Traceback" not in done.stderr
    assert not bad.store.exists()
