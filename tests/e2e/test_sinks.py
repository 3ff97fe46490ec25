"""A JSON file as a sink: each real connection at its start and at its end, whatever happens to who writes."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from anetcon.config.load import load
from anetcon.journal.write import segment_path
from anetcon.store.layout import journal_folder
from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router, World
from tests.e2e.conftest import Start
from tests.load.flood import Flood
from tests.support.daemon import Daemon
from tests.support.rotation import Rotation, texts
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

FLOOD, TURNS = 20_000, 5


def sink(path: Path) -> dict[str, dict[str, Any]]:
    """The table of the configuration."""
    return {"sinks.siem": {"type": "json", "form": "anetcon", "to": f"file:{path}"}}


def lines(folder: Path) -> list[dict[str, Any]]:
    """Of the file and of what it was rotated to."""
    return [json.loads(line) for line in texts(folder, "connections.json")]


def of(line: dict[str, Any]) -> tuple[Any, ...]:
    """Which connection a line tells of."""
    keys = ("node", "netns", "zone", "proto", "src_ip", "src_port", "dst_ip", "dst_port")
    return tuple(line[key] for key in keys)


def follow_pid(auditor: Daemon) -> int | None:
    """The process of the followers."""
    pid: int | None = auditor.status()["follow"]["pid"]
    return pid


def kill_follow(auditor: Daemon) -> None:
    """kill -9, until another runs."""
    killed = wait_until(lambda: follow_pid(auditor), 20, "follow runs")
    assert killed
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: follow_pid(auditor) not in (None, killed), 20, "follow runs again")


@pytest.mark.needs("logrotate")
def same(line: dict[str, Any], row: dict[str, Any], but: Collection[str]) -> bool:
    """Whether both say the same, but for some keys."""
    return all(line[key] == row.get(key) for key in line if key not in but)


def test_each_connection_once_over_kills_and_rotations(daemon: Start, world: World, tmp_path: Path) -> None:
    """Thousands of connections while follow is killed and the file is rotated, by turns: a start and an end each, none
    twice, in the words of `search`; and the text logs have each once, too."""
    router = Router(world, plain=True)
    path = tmp_path / "siem" / "connections.json"
    auditor = daemon(router.name, **sink(path))
    auditor.wait_attached([router.name])
    rotation = Rotation(tmp_path, load(auditor.settings).config)
    with Flood(router, FLOOD) as flood:
        for turn in range(TURNS):
            flood.send(turn * FLOOD // TURNS, (turn + 1) * FLOOD // TURNS)
            wait_until(lambda: path.exists() and path.stat().st_size, 20, "lines are written", every=0.001)
            for disturb in [lambda: kill_follow(auditor), rotation.rotate][:: 1 if turn % 2 else -1]:
                disturb()
        made = flood.made()
        auditor.wait_recorded(lambda totals: totals["ends"] >= made)
    assert auditor.stop() == 0, auditor.errors()
    said = lines(path.parent)
    starts, ends = ([line for line in said if line["type"] == kind] for kind in ("start", "end"))
    assert (made, len(said) - len(starts) - len(ends)) == (FLOOD, 0)
    assert set(Counter(map(of, ends)).values()) == {1}
    assert set(Counter(map(of, starts)).values()) == {1}
    assert {of(line) for line in starts} <= {of(line) for line in ends}
    found = {of(row): row for row in auditor.search("--netns", router.name)}
    unlike = {"type", "ct_id"}  # what is sealed has none
    assert {of(line) for line in ends} == {*found}
    assert [of(line) for line in ends if not same(line, found[of(line)], unlike)] == []
    assert len(found) == FLOOD
    written = texts(auditor.logs, "anetcon.nat.log")
    assert (len(written), len(set(written))) == (FLOOD, FLOOD)
    assert len(list(path.parent.glob("connections.json.*"))) >= TURNS // 2, "one that is empty is not rotated"


def test_a_path_that_cannot_be_written(daemon: Start, world: World, tmp_path: Path) -> None:
    """Is said in the log and in the status; recording, sealing and the text logs go on, and the sink catches up by
    itself once it can. Taken out of the configuration, nothing is kept for it."""
    router = Router(world, instances=1, plain=True)
    router.namespace.sysctl(netfilter__nf_conntrack_tcp_timeout_close=1)  # its end comes soon
    path = tmp_path / "siem" / "connections.json"
    path.mkdir(parents=True)
    auditor = daemon(router.name, **sink(path), store={"seal_minutes": 0.02, "flush_seconds": 0.1})
    auditor.wait_attached([router.name])
    inside = router.instances[0]
    with traffic.Server(world.namespace, SERVER, 8080) as server:
        traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
    wait_until(lambda: auditor.lines("nat"), 20, "the text log has it")
    wrong = f"sink siem: {path}: Is a directory"
    assert any(wrong in each for each in auditor.json("status")["wrong"])
    assert f"{wrong}; trying again, nothing is lost" in auditor.errors()
    wait_until(
        lambda: list(auditor.store.glob("node=*/date=*/*.parquet")), 150, "it is sealed"
    )  # gc_worker looks once a minute
    assert segment_path(journal_folder(auditor.store, "connections"), 1).exists(), "it is kept for the sink"
    path.rmdir()
    auditor.process.send_signal(signal.SIGHUP)
    wait_until(lambda: path.is_file() and len(lines(path.parent)) == 2, 40, "the sink has caught up")
    assert [line["type"] for line in lines(path.parent)] == ["start", "end"]
    wait_until(lambda: auditor.json("status")["wrong"] == [], 20, "nothing is wrong any more")
    before, _, behind = auditor.settings.read_text().partition("[sinks.siem]")
    auditor.settings.write_text(before + behind[behind.index("[") :])
    auditor.process.send_signal(signal.SIGHUP)
    gone = auditor.store / "followers" / "siem.json"
    wait_until(lambda: not gone.exists(), 20, "it is forgotten")
    assert auditor.stop() == 0, auditor.errors()
