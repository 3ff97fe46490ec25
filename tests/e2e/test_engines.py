"""The same connections through all three engines, judged by what the far side saw: the table in the docs is what each
one recorded here."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, SERVER6, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.load import kernel
from tests.support import pipe_engine
from tests.support.daemon import PROTO, QUICK, Daemon, seconds
from tests.support.waiting import wait_until

ENGINES = ("conntrack", "iptables-log", "nftables-log")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "engines.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

PARTS = {
    "opener": ("src_ip", "src_port"),
    "addressed": ("dst_ip", "dst_port"),
    "seen from outside": ("nat_src_ip", "nat_src_port"),
    "reached": ("nat_dst_ip", "nat_dst_port"),
}
CLOCK = 5.0
"""Seconds that the time of a kernel line may be wrong by on a busy machine: as much as the first line is read late."""


class Scene:
    """A router with every kind of client and server."""

    def __init__(self, world: World, server: Server, server6: Server) -> None:
        self.router = Router(world, instances=3, floating=[1])
        self.world, self.server, self.server6 = world, server, server6
        self.plain, self.floating, _ = self.router.instances
        self.public = self.router.floating_ips[self.floating.address]

    def out(self) -> Made:
        """An instance calls out."""
        return traffic.tcp(self.plain.namespace, self.plain.address, (SERVER, 8080), self.server, by="reset")

    def floating_out(self) -> Made:
        """One with a floating IP calls out."""
        inside = self.floating
        return traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), self.server, by="reset")

    def floating_in(self) -> Made:
        """It is called at its floating IP."""
        with Server(self.floating.namespace, self.floating.address, 2222) as service:
            return traffic.tcp(self.world.namespace, SERVER, (self.public, 2222), service, by="reset")

    def hairpin(self) -> Made:
        """Another instance calls it there."""
        with Server(self.floating.namespace, self.floating.address, 3333) as service:
            return traffic.tcp(self.plain.namespace, self.plain.address, (self.public, 3333), service, by="reset")

    def ipv6(self) -> Made:
        """An instance calls out over IPv6."""
        return traffic.tcp(self.plain.namespace, self.plain.address6, (SERVER6, 8080), self.server6, by="reset")

    def udp(self) -> Made:
        """A datagram and its answer."""
        return traffic.udp(self.plain.namespace, self.plain.address, (SERVER, 8080), self.server)

    def ping(self) -> Made:
        """An echo and its answer."""
        return traffic.ping(self.plain.namespace, self.plain.address, SERVER, self.world.namespace, SERVER)

    def ping6(self) -> Made:
        """The same over IPv6."""
        return traffic.ping(self.plain.namespace, self.plain.address6, SERVER6, self.world.namespace, SERVER6)

    def metadata(self) -> Made:
        """A request that the router itself answers."""
        inside = self.plain
        with Server(self.router.namespace, self.router.address(1), 9697) as service:
            return traffic.tcp(inside.namespace, inside.address, ("169.254.169.254", 80), service, by="reset")


KINDS: dict[str, Callable[[Scene], Made]] = {
    "SNAT, TCP": Scene.out,
    "floating IP, calling out": Scene.floating_out,
    "floating IP, called": Scene.floating_in,
    "hairpin": Scene.hairpin,
    "IPv6, TCP": Scene.ipv6,
    "SNAT, UDP": Scene.udp,
    "SNAT, ICMP echo": Scene.ping,
    "IPv6, ICMP echo": Scene.ping6,
    "metadata request, answered by the router": Scene.metadata,
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """What each engine recorded of each kind of connection, in words; every value on record was compared."""
    with kernel.log_all_netns(), Testbed() as bed:
        world = World(bed)
        with Server(world.namespace, SERVER, 8080) as server, Server(world.namespace, SERVER6, 8080) as server6:
            yield {
                engine: _run(engine, Scene(world, server, server6), tmp_path_factory.mktemp(engine))
                for engine in ENGINES
            }


def _run(engine: str, scene: Scene, folder: Path) -> dict[str, str]:
    """All kinds of connections under one engine."""
    name = scene.router.name
    audit = {"namespaces": [f"^{name}$"], "engine": engine}
    auditor = Daemon(folder, [name], {"audit": audit, **QUICK}).run()
    try:
        auditor.wait_attached([name])
        made = {kind: make(scene) for kind, make in KINDS.items()}
        scene.router.namespace.run("conntrack", "-F")
        auditor.wait_flushed()
    finally:
        assert auditor.stop() == 0, auditor.errors()
    records = auditor.search()
    said = {kind: _said(kind, each, records, auditor) for kind, each in made.items()}
    assert len(records) == sum(text != "-" for text in said.values()), "each is recorded once, and nothing else"
    return said


def _said(kind: str, made: Made, records: list[dict[str, Any]], auditor: Daemon) -> str:
    """What is on record of a connection, in words; whatever is there must be as its ends saw it."""
    found = [r for r in records if (r["src_ip"], r["src_port"]) == (made.src_ip, made.src_port)]
    found = [r for r in found if r["proto"] == PROTO[made.proto] and r["nat_dst_ip"] == made.nat_dst_ip]
    assert len(found) <= 1, (kind, found)
    if not found:
        return "-"
    (record,) = found
    known = []
    for part, fields in PARTS.items():
        values = [record[field] for field in fields]
        if values != [None, None]:
            assert values == [getattr(made, field) for field in fields], (kind, part, record, made)
            known.append(part)
    early, late = made.began / 1e6 - CLOCK, (made.ended or made.began) / 1e6 + CLOCK
    assert early <= seconds(record["start"]) <= late, (kind, record, made)
    if record["end"] is not None:
        known.append("end")
    if record["bytes_out"] is not None:
        known.append("counters")
    logged = [line for log in ("nat", "float") for line in auditor.lines(log) if _is_line_of(line, made)]
    assert len(logged) <= 1, (kind, logged)
    return ", ".join([*known, *(["text log"] if logged else [])])


def _is_line_of(line: str, made: Made) -> bool:
    source, destination, proto = (_value(line, name) for name in ("SRC", "DST", "PROTO"))
    ends = {_packed(made.dst_ip), _packed(made.nat_dst_ip)}
    port = "ID" if made.proto in (1, 58) else "SPT"
    return (
        (_packed(source), proto.lower()) == (_packed(made.src_ip), PROTO[made.proto])
        and _packed(destination) in ends
        and f" {port}={made.src_port} " in f"{line} "
    )


def _value(line: str, name: str) -> str:
    found = re.search(rf" {name}=(\S+) ", line)
    assert found is not None, line
    return found[1]


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def table(recorded: dict[str, dict[str, str]]) -> list[str]:
    """The lines of the table in the docs."""
    head = ["| connection | " + " | ".join(f"`{engine}`" for engine in ENGINES) + " |", "| --- | --- | --- | --- |"]
    rows = [[kind, *(recorded[engine][kind] for engine in ENGINES)] for kind in KINDS]
    return [*head, *("| " + " | ".join(row) + " |" for row in rows)]


@pytest.mark.needs("nft", "iptables", "conntrack")
@pytest.mark.timeout(300)  # others may hold the machine's switch
def test_the_table_in_the_docs_is_true(recorded: dict[str, dict[str, str]]) -> None:
    """What each engine records of the same connections is what the docs say, word for word."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    assert shown == table(recorded), "\n".join(table(recorded))


@pytest.mark.needs("nft", "iptables", "conntrack")
@pytest.mark.timeout(300)
def test_conntrack_alone_knows_everything(recorded: dict[str, dict[str, str]]) -> None:
    """Under it nothing is missing of any kind; the LOG engines know the instance and whom it reached of all but one."""
    whole = [*PARTS, "end", "counters", "text log"]
    metadata = "metadata request, answered by the router"
    for kind in KINDS:
        expected = whole[:-1] if kind == metadata else whole
        assert recorded["conntrack"][kind] == ", ".join(expected)
        for engine in ENGINES[1:]:
            words = recorded[engine][kind].split(", ")
            assert words == ["-"] if kind == metadata else {"opener", "reached", "text log"} <= set(words)


def test_a_third_engine_is_a_line_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that learns connections from a pipe is configured, run, shown, and asked as the others are, also after a
    crash. The keeper does for it what its line says: nothing to sysctls, to rules, to the kernel's log."""
    pipe = pipe_engine.install(tmp_path / "engine", monkeypatch)
    with Testbed() as bed:
        name = bed.namespace("inside").name
        auditor = Daemon(
            tmp_path, [name], {"audit": {"engine": pipe_engine.NAME, "on_overload": "hold"}, **QUICK}
        ).run()
        try:
            auditor.wait_attached([name])
            pipe.write_text("10.0.0.5 40000 198.51.100.9 443\n")
            wait_until(auditor.search, 20, f"it is on record: {auditor.errors()}")
            crashed = auditor.capture_pid()
            auditor.signal_capture(signal.SIGKILL)
            wait_until(lambda: auditor.capture_pid() not in (None, crashed), 20, "there is another capture")
            auditor.wait_flushed()
            pipe.write_text("10.0.0.5 40001 198.51.100.9 443\n")
            wait_until(lambda: len(auditor.search()) == 2, 20, f"it is on record: {auditor.errors()}")
            wait_until(lambda: auditor.totals()["ends"] == 2, 20, "both are counted")
            said = auditor.status()
        finally:
            assert auditor.stop() == 0, auditor.errors()
    assert said["engine"] == pipe_engine.NAME
    assert "kmsg" not in said
    assert not (auditor.store / "sysctls.jsonl").exists()
    assert not (auditor.store / "rules.jsonl").exists()
    found = sorted(auditor.search(), key=lambda record: record["src_port"])
    assert [(record["netns"], record["src_ip"], record["src_port"]) for record in found] == [
        (name, "10.0.0.5", 40000),
        (name, "10.0.0.5", 40001),
    ]
    assert len(auditor.lines("nat")) == 2
