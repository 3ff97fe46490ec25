"""Whatever text of others is in a store, no terminal, no spreadsheet and no reader of lines is harmed by it."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from anetcon.cli import doctor
from anetcon.cli import follow as command
from anetcon.cli.output import Format
from anetcon.cli.people import say, warn
from anetcon.doctor.finding import Finding, Severity
from anetcon.query.times import rfc3339
from anetcon.store.live import Live
from anetcon.system.printable import visible
from tests.support.asking import Answer, Terminal
from tests.support.examples import examples
from tests.support.records import SECOND, T0, Making, logged, start

EVIL = "\x1b[31m\n\r\x07\x9b\x7f\u202e\u2066\u200b\u2028 \\=+-@'\",\tnode NAT_SRC=1"
TEXTS = st.one_of(st.text(st.sampled_from(EVIL)), st.text(st.characters(exclude_categories=["Cs"])))
FEW = settings(examples(0.03), phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""A store for each example is too slow to look for the smallest that fails."""

TEXT_COLUMNS = ("node", "netns")


def harmless(said: str) -> bool:
    """Whether the newlines at the ends of lines are all that is not printable."""
    return all(line.isprintable() for line in said.split("\n"))


def made(path: Path, node: str, names: list[str]) -> Path:
    """A store in which every text that others choose is one of these."""
    making = Making(path)
    for number, netns in enumerate(names):
        making.add(start(node=node, netns=netns, src_port=number + 1), logged(node=node, netns=netns, src_port=99))
        gap = {"node": node, "netns": netns, "from": T0, "to": T0 + SECOND, "cause": "overrun", "lost": 1}
        making.add(gap, table="gaps")
        here = {"node": node, "netns": netns, "netns_inode": 1, "interface": netns, "from": T0, "to": None}
        making.add(here | {"address": "203.0.113.7", "prefix": 24}, table="addresses")
        making.add(here | {"address": "10.0.0.5", "mac": bytes(6)}, table="neighbours")
    making.alive(T0 + 20 * SECOND)
    entry = {"netns": names[0], "state": names[-1], "message": names[0]}
    now = rfc3339(time.time_ns() // 1000)
    said: dict[str, Any] = {"node": node, "pid": 1, "started": now, "updated": now, "settings_file": names[0]}
    said |= {"namespaces": [entry], "totals": {names[0]: 1}, "capture": {}, "follow": {}, "engine": names[-1]}
    (making.close() / "status.json").write_text(json.dumps(said))
    return path


def questions(store: Path, name: str) -> list[list[str | Path]]:
    """One of every command that prints what is in a store, with its name where it takes words."""
    at = ["203.0.113.7:40213", "--at", rfc3339(T0 + SECOND)]
    asked = [
        ["who", *at],
        ["who", *at, "--netns", "x", "--to", "198.51.100.9:443"],
        ["search", "--limit", "1"],
        ["search", f"--node={name}"],
        ["search", f"--netns={name}"],
        ["search", f"--src={name}"],
        ["gaps", f"--since={name}"],
        ["gaps"],
        ["status"],
    ]
    return [[*words, "--store", store] for words in asked]


@FEW
@example(["x", EVIL], EVIL)
@given(st.lists(TEXTS, min_size=1, max_size=4, unique=True), TEXTS.filter(lambda text: "\0" not in text))
def test_all_commands_that_print(names: list[str], node: str) -> None:
    """In tables and csv, and on standard error, there is no control character, no bidi control and no line that was not
    ours, whatever is recorded; as JSON there is what was recorded."""
    with tempfile.TemporaryDirectory() as folder:
        store = made(Path(folder, "store"), node, names)
        for words in questions(store, node):
            for form in Format:
                answer = Answer(*words, "--format", form)
                assert harmless(answer.out), (words, form)
                assert harmless(answer.err), (words, form)
        told = Answer("search", "--store", store, "--format", "jsonl").lines
        assert {row["netns"] for row in told} == set(names)
        rows = list(csv.DictReader(io.StringIO(Answer("search", "--store", store, "--format", "csv").out)))
        assert len(rows) == len(told)
        for row, there in zip(rows, told, strict=True):
            for column in TEXT_COLUMNS:
                assert row[column].removeprefix("'") == visible(there[column])
                assert not row[column].startswith(("=", "+", "-", "@", "\t", "\r"))
            assert not any(value.startswith("'") for name, value in row.items() if name not in TEXT_COLUMNS)


@FEW
@example(EVIL)
@given(TEXTS)
def test_follow(name: str) -> None:
    """So is what is printed as it becomes known, of gaps too."""
    with tempfile.TemporaryDirectory() as folder:
        making = Making(Path(folder, "store")).add(start(src_port=1))
        real = Live.poll
        seen: list[bool] = []

        def poll(live: Live) -> Any:
            if not seen:
                seen.append(True)
                making.add(start(src_port=2, netns=name, node=name))
            return real(live)

        with mock.patch.object(Live, "poll", poll), mock.patch.object(command, "POLL_SECONDS", 0.0):
            answer = Answer("follow", "--store", making.path, "--limit", "1")
        assert harmless(answer.out)
        assert len(answer.out.splitlines()) == 2
        assert harmless(answer.err)


@FEW
@example(EVIL, EVIL)
@given(st.text(st.sampled_from(EVIL), min_size=1), st.text(st.sampled_from(EVIL)))
def test_import(name: str, host: str) -> None:
    """So is the report of an import, with names of files, hosts and namespaces that anybody chose."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, name.replace("/", "").replace("\0", "")[:50] + "x")
        text = f"2026-11-20T13:05:09+00:00 {host} anetcon: [ANETCON][X][0a1b2c3d] IN= OUT= SRC=10.0.0.5 DST=1.2.3.4 "
        log.write_text(text + f"PROTO=TCP SPT=1 DPT=2 NETNS={name}\n")
        for form in ("table", "json"):
            answer = Answer("import", log, "--store", Path(folder, "store"), "--format", form, "--hash-file", log)
            assert harmless(answer.out)
            assert harmless(answer.err)
        if not Path(folder, "store", "manifest.jsonl").exists():
            return
        for row in Answer("search", "--store", Path(folder, "store"), "--format", "jsonl").lines:
            assert row["netns"].isprintable()
            assert row["node"].isprintable()


@given(TEXTS, TEXTS, TEXTS)
def test_doctor(netns: str, found: str, remedy: str) -> None:
    """So is what is found in a namespace of any name, on a terminal and off it: colours there are ours."""
    finding = Finding("x", Severity.PROBLEM, found, found, remedy, netns)
    for to in (io.StringIO(), Terminal()):
        with mock.patch("sys.stdout", to), mock.patch("shutil.get_terminal_size", return_value=mock.Mock(columns=80)):
            doctor._table([finding], verbose=False)
        assert harmless(to.getvalue()) or to.isatty()
        assert not set(to.getvalue()) & set("\x07\x9b\u202e\r")


def test_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """A line stays one."""
    say("a\nb", "c")
    warn("\x1b[31m")
    assert capsys.readouterr() == ("a\\x0ab\nc\n", "\\x1b[31m\n")
