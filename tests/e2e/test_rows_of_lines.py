"""Connections learnt from kernel lines beside others: written as capture writes them, sealed, asked by every command.

No namespace and no daemon: what is tested is everything behind the journal. Questions are asked in this process.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from anetcon.capture import batch
from anetcon.decode.columns import NONE, Columns
from anetcon.follow.settings import Settings
from anetcon.follow.sinks.kinds import text_logs
from anetcon.journal.write import Writer
from anetcon.record import TABLES, Class, EndReason, Family, Origin
from anetcon.store import layout
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.daemon import PROGRAM
from tests.support.records import DAY, ROUTER, SECOND, T0, packed

AT = "2026-11-20T13:05:09Z"
PUBLIC, REMOTE = "203.0.113.7:40213", "198.51.100.9:443"
FLOATING = "203.0.113.9:22"

ZEROS = ("0.0.0.0", '"::"', ",::,", "[::]", ":".join(["0000"] * 8), '_port": 0', ":0 ", "PT=0 ", "PT=0\n")  # noqa: S104
"""How a null that leaked as zeros would look, in one format or another."""


class Made(NamedTuple):
    """A row as capture's columns have it: what is not known is zero."""

    port: int
    origin: Origin
    kind: Class = Class.NAT
    start: int = T0
    ended: bool = False
    six: bool = False


def columns(rows: list[Made]) -> Columns:
    """The columns with these rows. An instance calls REMOTE (class nat), or is called by 192.0.2.1 (float)."""
    made = Columns(max(len(rows), 1))
    made.rows = len(rows)
    for number, row in enumerate(rows):
        line = row.origin in (Origin.LOG, Origin.IMPORT)
        values: dict[str, Any] = {"start": row.start, "netns": 0, "netns_inode": 4026532500, "proto": 6}
        values |= {"class": row.kind, "origin": row.origin, "src_port": row.port}
        values |= {"family": Family.IPV6 if row.six else Family.IPV4, "reply": NONE}
        values |= {"end": row.start + SECOND if row.ended else NONE}
        values["end_reason"] = EndReason.CLOSED if row.ended else EndReason.UNKNOWN if line else NONE
        if row.six:
            sides = {"src": ("2001:db8::5", row.port), "nat_dst": ("2001:db8:9::1", 443)}
        elif row.kind == Class.NAT:
            sides = {"src": ("10.0.0.5", row.port), "nat_dst": ("198.51.100.9", 443)}
        else:
            sides = {"src": ("192.0.2.1", row.port), "nat_dst": ("10.0.0.9", 22)}
        if row.kind == Class.NAT:
            sides["dst"] = sides["nat_dst"]
        elif not line:
            sides["dst"] = ("203.0.113.9", 22)
        if not line:
            sides["nat_src"] = ("203.0.113.7", 40213) if row.kind == Class.NAT else sides["src"]
        for side, (address, port) in sides.items():
            values |= {f"{side}_ip": np.frombuffer(packed(address), np.uint8), f"{side}_port": port}
        for name, value in values.items():
            made.of[name][number] = value
        for mask in made.given.values():
            mask[number] = row.ended
    return made


class Node:
    """A store in the making, and the program that reads it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self._writers = {table: Writer(layout.journal_folder(self.store, table), table) for table in TABLES}
        limit = {"node": "gw1", "netns": None, "from": T0 - DAY, "to": None, "cause": "log-engine", "lost": None}
        self._writers["gaps"].append(batch.rows("gaps", [limit]), T0, T0)

    def record(self, *rows: Made) -> None:
        """One flush of capture's, and the daemon alive for a day after it."""
        writer = self._writers["connections"]
        writer.append(batch.connections(columns(list(rows)), "gw1", [ROUTER]), T0 - DAY, T0)
        writer.heartbeat(T0, T0 + DAY)

    def seal(self) -> None:
        """What there is so far goes into the store."""
        for writer in self._writers.values():
            writer.rotate()
        self._writers["connections"].heartbeat(T0, T0 + DAY)
        assert Sealer(self.store, clock=lambda: T0 + 60 * SECOND).seal()

    def close(self) -> None:
        """The writers' last words."""
        for writer in self._writers.values():
            writer.close()

    def ask(self, *words: str) -> Answer:
        """The program's answer. A defect is a failure."""
        answer = Answer(*words, "--store", self.store)
        assert answer.status in (0, 1, 3), answer.err
        return answer

    def found(self, *words: str) -> list[dict[str, Any]]:
        """What a search finds."""
        return self.ask("search", *words, "--format", "jsonl").lines


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """Lines and events side by side: ports 1 to 3 are lines, one of them twice, 11 to 13 are events, one still open."""
    made, where = Node(tmp_path), getattr(request, "param", "half and half")
    made.record(Made(1, Origin.LOG), Made(11, Origin.EVENT), Made(2, Origin.LOG, Class.FLOAT))
    if where != "in the journal":
        made.seal()
    later = T0 + 30 * SECOND
    made.record(
        Made(11, Origin.EVENT, ended=True),
        Made(12, Origin.EVENT, start=later),
        Made(1, Origin.LOG),
        Made(3, Origin.LOG, start=later, six=True),
        Made(13, Origin.EVENT, Class.FLOAT, start=later, ended=True),
    )
    if where == "sealed":
        made.seal()
    yield made
    made.close()


@pytest.mark.parametrize("node", ["in the journal", "sealed", "half and half"], indirect=True)
def test_each_once_with_its_nulls(node: Node) -> None:
    """Every line is one connection, null in it what it does not tell; other connections are as they ever were."""
    rows = node.found()
    assert sorted(row["src_port"] for row in rows) == [1, 1, 2, 3, 11, 12, 13]
    unknown = {
        row["src_port"]: {name for name in ("dst_ip", "dst_port", "nat_src_ip", "nat_src_port") if row[name] is None}
        for row in rows
    }
    public = {"nat_src_ip", "nat_src_port"}
    assert unknown == {1: public, 2: public | {"dst_ip", "dst_port"}, 3: public, 11: set(), 12: set(), 13: set()}
    assert {row["src_port"]: row["end_reason"] for row in rows} == {
        **dict.fromkeys((1, 2, 3), "unknown"),
        11: "closed",
        12: None,
        13: "closed",
    }


def test_no_null_is_shown_as_a_number(node: Node) -> None:
    """In no format and no text log is there an address or a port that nobody saw."""
    texts = [node.ask("search", "--format", form).out for form in ("table", "json", "jsonl", "csv")]
    logs = text_logs(Settings(node.store, "gw1", folder=node.store / "log"))
    while logs.step():
        pass
    logs.stop()
    texts += [path.read_text() for path in sorted((node.store / "log").glob("*.log"))]
    assert len(texts) == 6
    for text in texts:
        assert not [zero for zero in ZEROS if zero in text], text
    for row in csv.DictReader(io.StringIO(texts[3])):
        empty = {name for name, value in row.items() if value == ""}
        assert ("nat_src_ip" in empty, "dst_port" in empty) == (row["origin"] == "log", row["src_port"] == "2")
    shown = [line for line in texts[0].splitlines() if " ? " in line]
    assert len(shown) == 4
    assert not any("open" in line for line in shown)


def test_filters(node: Node) -> None:
    """A value that is not known is in no network and in no range, and the row is found by what is known of it."""
    for words, ports in (
        (["--nat-src", "0.0.0.0/0"], [11, 12, 13]),
        (["--nat-src", "::/0"], []),
        (["--nat-sport", "0-65535"], [11, 12, 13]),
        (["--dst", "0.0.0.0/0"], [1, 1, 11, 12, 13]),
        (["--dport", "0-65535"], [1, 1, 3, 11, 12, 13]),
        (["--nat-dst", "0.0.0.0/0"], [1, 1, 2, 11, 12, 13]),
        (["--host", "10.0.0.9"], [2, 13]),
        (["--host", "192.0.2.0/24", "--class", "float"], [2, 13]),
        (["--host", "203.0.113.7"], [11, 12]),
        (["--src", "2001:db8::/32"], [3]),
        (["--since", "2026-11-20T13:05:20Z"], [3, 12, 13]),
        (["--until", "2026-11-20T13:05:20Z"], [1, 1, 2, 11]),
    ):
        assert sorted(row["src_port"] for row in node.found(*words)) == ports, words


def test_who(node: Node) -> None:
    """By the other end: possible; by the public side of what is recorded: certain; each says which it is."""
    said = node.ask("who", FLOATING, "--at", AT, "--to", "192.0.2.1:2", "--format", "json").json
    assert ([row["src_port"] for row in said["connections"]], said["verdict"], said["possible"]) == ([2], "one", 1)
    assert [gap["cause"] for gap in said["coverage"]["gaps"]] == ["log-engine"]
    sure = node.ask("who", PUBLIC, "--at", AT, "--to", REMOTE)
    assert sure.status == 0
    assert sure.out.splitlines()[0] == f"{PUBLIC} at 2026-11-20 13:05:09 UTC was 10.0.0.5:11 in {ROUTER}"
    other = node.ask("who", "203.0.113.8:9", "--at", AT, "--to", REMOTE)
    assert "may have been 10.0.0.5:1 in" in other.out
    assert "this is possible, not proven" in other.out
    nothing = node.ask("who", "203.0.113.8:9", "--at", AT)
    assert (nothing.status, "name the other end with --to" in nothing.out) == (3, True)


def test_gaps_and_status(node: Node) -> None:
    """The gaps list the time in which lines are all there is; status says that nothing runs."""
    gaps = {
        gap["cause"]: (gap["netns"], gap["to"]) for gap in node.ask("gaps", "--until", AT, "--format", "jsonl").lines
    }
    assert gaps["log-engine"] == (None, None)
    assert gaps.keys() == {"log-engine", "not-audited"}, "this store has no namespace"
    assert "not running" in node.ask("status").out


def test_follow(tmp_path: Path) -> None:
    """A line is told at once, each time it comes, and never again."""
    made = Node(tmp_path)
    made.record(Made(1, Origin.LOG))
    command = [str(PROGRAM), "follow", "--ends", "--limit", "3", "--format", "jsonl", "--store", str(made.store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        assert "not running" in follower.stderr.readline()  # said once what was there is known
        made.record(Made(1, Origin.LOG), Made(11, Origin.EVENT), Made(2, Origin.LOG, Class.FLOAT))
        told = [json.loads(follower.stdout.readline()) for _ in range(3)]
        assert [(row["src_port"], row["end_reason"]) for row in told] == [(1, "unknown"), (11, None), (2, "unknown")]
        assert follower.wait(20) == 0
    made.close()
