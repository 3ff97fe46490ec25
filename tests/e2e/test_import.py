"""`anetcon import` as an operator runs it: half a million old lines in every form, text of a real rsyslogd and a real
conntrack, a kill in the middle, beside a running daemon."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from anetcon.store import layout, manifest
from anetcon.store.entry import microseconds
from anetcon.testbed import traffic
from anetcon.testbed.bed import Namespace
from anetcon.testbed.topology import SERVER, SERVER6, Router, World
from anetcon.testbed.traffic import Made, Server
from bench import old_lines
from tests.e2e.conftest import Start
from tests.load import kernel
from tests.load.flood import Flood
from tests.support.daemon import PROGRAM, PROTO
from tests.support.logging_rules import hashed
from tests.support.machine import PATH
from tests.support.rooms import belongs_to
from tests.support.waiting import wait_until

pytestmark = [belongs_to("history"), pytest.mark.timeout(200)]

FIRST = 1_703_800_000
"""2023-12-28T21:46:40Z: a week from here crosses New Year."""

WEEK = 7 * 86_400
FLOOD, STEP = 6_000, 100

BESIDE = 20_000
"""Old lines that are imported beside a daemon."""

SLACK = 1_100_000
"""Microseconds that a stamp to the second may be before what it is of."""

EACH = 125_000
PARTS = 4


class Old:
    """A store that old text is imported into."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        self.names = old_lines.namespaces(40)
        self.hashes = folder / "namespace.hash"
        self.hashes.write_text(old_lines.hash_file(self.names))

    def run(self, *words: str | Path, store: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Any command on it."""
        command = [PROGRAM, *words, "--store", store or self.store]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT)

    def take(self, *words: str | Path, status: int = 0, store: Path | None = None) -> dict[str, Any]:
        """Import, and the report."""
        done = self.run("import", *words, "--hash-file", self.hashes, "--format", "json", store=store)
        assert done.returncode == status, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def found(self, *words: str) -> list[dict[str, Any]]:
        """What a search finds."""
        said = self.run("search", *words, "--limit", "0", "--format", "jsonl").stdout
        return [json.loads(line) for line in said.splitlines()]

    def count(self) -> int:
        """Connections in the store."""
        return sum(entry.rows for entry in manifest.replay(self.store).of("connections"))


ENVIRONMENT = {"PATH": PATH, "TZ": "UTC"}


@pytest.fixture
def old(tmp_path: Path) -> Old:
    """An empty one."""
    return Old(tmp_path)


def write(old: Old, lines: list[old_lines.Line]) -> list[Path]:
    """Half a million lines over a week, rotated: the oldest in zstd, then gzip, then plain; stamps of both kinds."""
    paths = [old.folder / f"anetcon.log{end}" for end in (".3.zst", ".2.gz", ".1", "")]
    for number, path in enumerate(paths):
        some = lines[number * EACH : (number + 1) * EACH]
        text = "".join(old_lines.texts(iter(some), rfc3339=number == 3, older=number == 0)).encode()
        if path.suffix == ".zst":
            with pa.CompressedOutputStream(str(path), "zstd") as stream:
                stream.write(text)
        else:
            path.write_bytes(gzip.compress(text, 1, mtime=0) if path.suffix == ".gz" else text)
        os.utime(path, (some[-1].time, some[-1].time))
    return paths


@pytest.mark.slow
def test_half_a_million_old_lines(old: Old) -> None:
    """In files of every form, over New Year: each line is a connection, found by who and search; again, under another
    name and grown by some lines, they add those lines."""
    lines = list(old_lines.generate(PARTS * EACH, FIRST, WEEK, old.names))
    paths = write(old, lines)
    said = old.take(*paths)
    total = said["total"]
    assert (total["lines"], total["added"]) == (PARTS * EACH, PARTS * EACH)
    assert (total["unreadable"], total["others"], total["already"]) == (0, 0, 0)
    assert (said["unknown_namespaces"], said["unreadable_in"]) == ({}, None)
    digests = {path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths}
    assert {Path(part["file"]).name: (part["bytes"], part["sha256"]) for part in said["files"]} == digests
    manifest_lines = map(json.loads, layout.manifest_path(old.store).read_text().splitlines())
    brought = [source for each in manifest_lines for source in each.get("sources", [])]
    assert {source["name"]: (source["bytes"], source["sha256"]) for source in brought} == {
        str(path): digests[path.name] for path in paths
    }
    years = {Path(part["file"]).name: (part["year"] or "-").partition(" (")[0] for part in said["files"]}
    assert years == {
        "anetcon.log.3.zst": "2023",
        "anetcon.log.2.gz": "2023 to 2024",
        "anetcon.log.1": "2024",
        "anetcon.log": "-",
    }
    for line in (lines[1], next(line for line in lines[::-1] if line.float_)):
        _is_found(old, line)
    gaps = json.loads(old.run("gaps", "--since", "2023-01-01", "--format", "json").stdout)["gaps"]
    assert [gap["cause"] for gap in gaps] == ["never-recorded", "imported-lines", "never-recorded"]
    again = old.take(*paths)["total"]
    assert (again["added"], again["already"]) == (0, PARTS * EACH)
    more = "".join(old_lines.texts(old_lines.generate(9, FIRST + WEEK, 60, old.names, seed=2), rfc3339=True))
    grown = old.folder / "restored.log.gz"
    rest = paths[3].read_text().splitlines(keepends=True)[-5_000:]
    grown.write_bytes(gzip.compress("".join([*rest, more]).encode(), 1))
    counted = old.take(grown)["total"]
    assert (counted["added"], counted["already"]) == (9, 5_000)
    assert old.count() == PARTS * EACH + 9


def test_a_pipe_is_named_with_what_was_read(old: Old) -> None:
    """Size and digest of compressed standard input are of the bytes that came, as those of a file would be."""
    text = "".join(old_lines.texts(old_lines.generate(100, FIRST, 60, old.names), rfc3339=True))
    packed = gzip.compress(text.encode())
    command: list[str | Path] = [PROGRAM, "import", "-", "--store", old.store, "--hash-file", old.hashes]
    done = subprocess.run(command, input=packed, capture_output=True, timeout=60, check=True, env=ENVIRONMENT)
    digest = hashlib.sha256(packed).hexdigest()
    assert f"{len(packed)} bytes, SHA-256 {digest}" in done.stdout.decode()
    lines = map(json.loads, layout.manifest_path(old.store).read_text().splitlines())
    brought = [source for each in lines for source in each.get("sources", [])]
    assert brought == [{"name": "-", "bytes": len(packed), "sha256": digest}]


def _is_found(old: Old, line: old_lines.Line) -> None:
    """By who, with its other end and without it; and by search."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(line.time))
    other = f"{line.src}:{line.sport}" if line.float_ else f"{line.dst}:{line.dport}"
    inside = f"{line.dst}:{line.dport}" if line.float_ else f"{line.src}:{line.sport}"
    said = old.run("who", "203.0.113.7:40213", "--at", at, "--to", other, "--within", "2s")
    assert said.returncode == 0, said
    assert f"{inside} in {line.netns}" in said.stdout
    assert "possible, not proven" in said.stdout
    alone = old.run("who", "203.0.113.7:40213", "--at", at, "--within", "2s")
    assert (alone.returncode, "name the other end with --to" in alone.stdout) == (3, True)
    assert f"on {old_lines.HOST}: imported text, no public ports" in alone.stdout
    rows = old.found(
        "--src", line.src, "--sport", str(line.sport), "--since", at, "--until", at.replace("Z", ".999999Z")
    )
    assert {(row["origin"], row["netns"], row["end_reason"], row["nat_src_ip"]) for row in rows} == {
        ("import", line.netns, "unknown", None)
    }


def test_killed_in_the_middle(old: Old) -> None:
    """kill -9 at any moment leaves a whole store; the import is simply run again, and each line is in it once."""
    paths = [old.folder / f"{part}.log" for part in range(4)]
    for part, path in enumerate(paths):
        generated = old_lines.generate(30_000, FIRST + part * 3600, 3600, old.names, seed=part)
        path.write_text("".join(old_lines.texts(generated, rfc3339=True)))
    command: list[str | Path] = [PROGRAM, "import", *paths, "--store", old.store, "--hash-file", old.hashes]
    for _ in range(3):
        _kill(command, old)
    assert old.take(*paths)["total"]["lines"] == 4 * 30_000
    assert old.count() == 4 * 30_000
    counted = {entry.file for entry in manifest.replay(old.store).of("connections")}
    there = {str(file.relative_to(old.store)) for file in old.store.glob("node=*/date=*/*")}
    assert there == counted
    assert len(old.found("--since", "2023-12-28T22:00:00Z", "--until", "2023-12-28T22:00:59.999999Z")) == 500


def _kill(command: Sequence[str | Path], old: Old) -> None:
    """Start an import and kill it while it writes."""
    before = old.count()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT) as process:

        def writes() -> bool:
            files = list(old.store.glob("node=*/date=*/*.new"))
            return process.poll() is not None or bool(files) or old.count() > before

        wait_until(writes, 60, "it writes", every=0.0005)
        process.send_signal(signal.SIGKILL)


def test_torn_and_missing_files(old: Old) -> None:
    """What is before the damage is imported and said, with exit status 12; a missing file stops all at first."""
    text = "".join(old_lines.texts(old_lines.generate(20_000, FIRST, 3600, old.names), rfc3339=True)).encode()
    torn = old.folder / "torn.gz"
    packed = gzip.compress(text)
    torn.write_bytes(packed[: len(packed) // 2])
    said = old.take(torn, status=12)
    assert said["files"][0]["damage"].startswith("torn off")
    assert 8_000 < said["total"]["added"] == said["total"]["lines"] - said["total"]["unreadable"] < 12_000
    missing = old.run("import", torn, old.folder / "nowhere.log")
    assert (missing.returncode, "nothing was imported" in missing.stderr) == (12, True)


@contextmanager
def rsyslog(folder: Path, world: World, stamp: str) -> Iterator[Path]:
    """A real rsyslogd that writes the kernel's own lines, of these namespaces, to a file."""
    file, pid = folder / f"kernel-{stamp}.log", folder / f"{stamp}.pid"
    settings = folder / f"{stamp}.conf"
    template = {"traditional": "RSYSLOG_TraditionalFileFormat", "rfc3339": "RSYSLOG_FileFormat"}[stamp]
    settings.write_text(
        f'global(workDirectory="{folder}")\nmodule(load="imklog")\n'
        f'if ($msg contains "[ANETCON]") then {{ action(type="omfile" file="{file}" template="{template}") }}\n'
    )
    command = ["rsyslogd", "-n", "-f", str(settings), "-i", str(pid)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        wait_until(pid.exists, 60, "rsyslogd runs")
        yield file
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert world


def _opened(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells the connections of one instance apart: a port may be an echo's identifier, too."""
    return row["proto"], row["src_ip"], row["src_port"]


def log(namespace: Namespace) -> None:
    """The rules of the readme, for every protocol."""
    namespace.run("iptables-nft", "-t", "nat", "-N", "anetcon")
    namespace.run("iptables-nft", "-t", "nat", "-I", "POSTROUTING", "1", "-j", "anetcon")
    for way, negation in (("D", []), ("X", ["!"])):
        state = ["-m", "state", "--state", "NEW", "-m", "conntrack", *negation, "--ctstate", "DNAT"]
        prefix = f"[ANETCON][{way}]{hashed(namespace.name)} "
        namespace.run("iptables-nft", "-t", "nat", "-A", "anetcon", *state, "-j", "LOG", "--log-prefix", prefix)


def connect(router: Router) -> list[Made]:
    """Connections of every kind."""
    world, (one, other) = router.world.namespace, router.instances
    public = router.floating_ips[other.address]
    with (
        Server(world, SERVER, 8080) as web,
        Server(world, SERVER6, 8080) as web6,
        Server(other.namespace, other.address, 2222) as shell,
    ):
        return [
            traffic.tcp(one.namespace, one.address, (SERVER, 8080), web),
            traffic.tcp(other.namespace, other.address, (SERVER, 8080), web),
            traffic.tcp(world, SERVER, (public, 2222), shell),
            traffic.udp(one.namespace, one.address, (SERVER, 8080), web),
            traffic.ping(one.namespace, one.address, SERVER, world, SERVER),
            traffic.tcp(one.namespace, one.address6, (SERVER6, 8080), web6),
        ]


@pytest.mark.needs("rsyslogd", "iptables")
@pytest.mark.parametrize("stamp", ["traditional", "rfc3339"])
def test_lines_that_a_real_rsyslogd_wrote(old: Old, world: World, stamp: str) -> None:
    """The kernel's lines of real connections, through a real rsyslogd: each is what its ends saw, at its time, once."""
    router = Router(world, instances=2, floating=[1])
    old.hashes.write_text(f"{router.name} {hashed(router.name)}\n")
    with kernel.log_all_netns(), rsyslog(old.folder, world, stamp) as file:
        log(router.namespace)
        made = connect(router)
        mark = hashed(router.name)
        wait_until(lambda: file.exists() and file.read_text().count(mark) >= len(made) - 1, 60, "lines are written")
        written = time.time_ns() // 1000
    ours = old.folder / "ours.log"
    ours.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if mark in line))
    old.take(ours, "--node", "gw1")
    rows = old.found("--node", "gw1")
    assert {row["netns"] for row in rows} == {router.name}
    for each in made[:-1]:  # the rules are of IPv4
        (row,) = (r for r in rows if _opened(r) == (PROTO[each.proto], each.src_ip, each.src_port))
        assert (row["nat_dst_ip"], row["nat_dst_port"]) == (each.nat_dst_ip, each.nat_dst_port)
        assert row["class"] == ("float" if each.dst_ip != each.nat_dst_ip else "nat")
        assert row["dst_ip"] == (None if row["class"] == "float" else each.dst_ip)
        assert row["nat_src_ip"] is None
        assert each.began - SLACK <= microseconds(row["start"]) <= written
    assert len(rows) == len(made) - 1
    assert old.take(ours, "--node", "gw1")["total"]["added"] == 0


@pytest.mark.needs("conntrack")
@pytest.mark.parametrize("options", ["timestamp", "timestamp,id,extended", "timestamp,ktimestamp", "ktimestamp"])
def test_text_of_a_real_conntrack(old: Old, world: World, options: str) -> None:
    """Events as `conntrack -E` prints them: both sides of the translation as the two ends saw it, and the end."""
    router = Router(world, instances=2, floating=[1])
    for name, value in {"timestamp": 1, "acct": 1}.items():
        router.namespace.run("sysctl", "-qw", f"net.netfilter.nf_conntrack_{name}={value}")
    file = old.folder / "events.txt"
    command = ["ip", "netns", "exec", router.name, "stdbuf", "-oL", "conntrack", "-E", "-o", options]
    with file.open("w") as text, subprocess.Popen(command, stdout=text, stderr=subprocess.DEVNULL) as listener:
        try:
            wait_until(lambda: listener.pid in kernel.queued(router.namespace), 60, "it listens")
            made = connect(router)
            router.namespace.run("conntrack", "-F")
            wait_until(lambda: file.read_text().count("[DESTROY]") >= len(made), 60, "all ended")
            ended = time.time_ns() // 1000
        finally:
            listener.send_signal(signal.SIGINT)
    said = old.take(file, "--netns", router.name, "--node", "gw1")
    assert said["total"]["unreadable"] == 0
    rows = old.found("--netns", f"^{router.name}$")
    for each in made:
        (row,) = (r for r in rows if _opened(r) == (PROTO[each.proto], each.src_ip, each.src_port))
        for name in ("src", "dst", "nat_src", "nat_dst"):
            ends = (row[f"{name}_ip"], row[f"{name}_port"])
            assert ends == (getattr(each, f"{name}_ip"), getattr(each, f"{name}_port")), (name, each)
        assert row["class"] == ("float" if each.dst_ip != each.nat_dst_ip else "nat")
        assert (row["origin"], row["packets_out"] > 0) == ("import", True)
        assert each.began - SLACK <= microseconds(row["start"]) <= ended
        assert row["end"] >= row["start"]
    assert len(rows) == len(made) == said["total"]["added"]
    assert old.take(file, "--netns", router.name, "--node", "gw1")["total"]["added"] == 0
    public = f"{made[0].nat_src_ip}:{made[0].nat_src_port}"
    who = old.run("who", public, "--at", rows[0]["start"], "--within", "10s")
    assert f"was {made[0].src_ip}:{made[0].src_port} in {router.name}" in who.stdout
    assert ("imported text with both sides" in who.stdout, "--to" in who.stdout) == (True, False), who.stdout


def sealed(store: Path) -> int:
    """The last segment whose connections are sealed."""
    return manifest.replay(store).through.get("connections", 0)


@pytest.mark.needs("nft")
def test_beside_a_running_daemon(old: Old, daemon: Start, world: World) -> None:
    """While the daemon records and seals, an import adds to the same store: nothing of either is lost or twice; and the
    daemon's own text logs, whose connections it has, add nothing."""
    router = Router(world, plain=True)
    auditor = daemon(router.name, store={"seal_minutes": 0.02})
    auditor.wait_attached([router.name])
    path = old.folder / "a.log"
    path.write_text("".join(old_lines.texts(old_lines.generate(BESIDE, FIRST, 3600, old.names), rfc3339=True)))
    command: list[str | Path] = [PROGRAM, "import", path, "--store", auditor.store, "--hash-file", old.hashes]
    with Flood(router, FLOOD) as flood:
        for turn in range(3):
            sent = range(turn * FLOOD // 3, (turn + 1) * FLOOD // 3, STEP)
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT) as process:
                for first in sent:
                    flood.send(first, first + STEP)
                    wait_until(lambda: flood.made() >= first + STEP, 60, "they are made")  # noqa: B023
            assert process.returncode == 0
            wait_until(lambda: sealed(auditor.store) > turn, 30, "it seals", every=0.1)  # noqa: B023
        made = flood.made()
    auditor.wait_recorded(lambda totals: totals["ends"] >= made)
    wait_until(lambda: len(auditor.lines("nat")) >= made, 60, "all are in the text log")
    said = old.take(auditor.logs / "anetcon.nat.log", store=auditor.store)["total"]
    assert (said["lines"], said["added"], said["already"]) == (made, 0, made)
    assert len(auditor.search("--netns", f"^{router.name}$")) == made
    assert len(auditor.search("--node", old_lines.HOST)) == BESIDE
    assert auditor.stop() == 0, auditor.errors()
    assert "seal" not in auditor.errors()
    lines = [json.loads(line) for line in layout.manifest_path(auditor.store).read_text().splitlines()]
    why = [line.get("why") for line in lines]
    assert why.index("import") < len(why) - 1 - why[::-1].index("seal"), "the daemon sealed after an import"
    assert len(auditor.search("--limit", "0")) == made + BESIDE
