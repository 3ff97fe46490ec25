"""The demo finds a wrong answer: what it prints last is checked, not assumed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from typing import Any, cast

import pytest

from anetcon import protocols
from anetcon.cli import demo
from anetcon.testbed.daemon import Daemon
from anetcon.testbed.traffic import Made

MADE = Made(
    6, "10.1.0.11", 40000, "198.51.100.10", 443, "203.0.113.2", 50000, "198.51.100.10", 443, 1_795_179_909_000_000
)


def record(**changes: Any) -> dict[str, Any]:
    """MADE as a record, with some fields changed."""
    return {**asdict(MADE), "proto": protocols.name(MADE.proto), **changes}


class Answers:
    """Stands in for the daemon: what `search` and `who` say."""

    def __init__(self, searched: list[dict[str, Any]], verdict: str, who: list[dict[str, Any]]) -> None:
        self._said = {
            "search": {"connections": searched},
            "who": {"verdict": verdict, "connections": who},
            "status": {},
        }

    def ask(self, command: str, *_: str) -> subprocess.CompletedProcess[str]:
        """What it would print."""
        return subprocess.CompletedProcess([], 0, json.dumps(self._said[command]), "")


def wrong(searched: list[dict[str, Any]], verdict: str, who: list[dict[str, Any]]) -> str:
    """What the demo finds wrong with such answers."""
    return demo._answer(cast(Daemon, Answers(searched, verdict, who)), [MADE])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FOUND_WITHIN", 0.01)


def test_the_right_answer_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is wrong, and the report and the proof are printed."""
    assert wrong([record()], "one", [record()]) == ""
    said = capsys.readouterr().out
    assert '"203.0.113.2 port 50000 attacked 198.51.100.10:443 at 2026-11-20T13:05:09Z"' in said
    assert "it was 10.1.0.11" in said


@pytest.mark.parametrize("field", demo.FIELDS)
def test_a_record_that_differs_in_one_field_is_wrong(field: str) -> None:
    """Every address and port must be as both sides saw it, in what is recorded and in the answer."""
    changed = record(**{field: "192.0.2.9" if field.endswith("_ip") else 9})
    assert "not recorded: tcp" in wrong([changed], "one", [record()])
    assert "it was 10.1.0.11" in wrong([record()], "one", [changed])


def test_no_answer_is_wrong() -> None:
    """`none` and `several` are no answers here."""
    assert wrong([record()], "none", []) == "`who` said 'none', it was 10.1.0.11"
    assert wrong([record()], "several", [record()]) == "`who` said 'several', it was 10.1.0.11"


def test_an_icmp_line_shows_ids_not_ports() -> None:
    """An echo has an identifier where others have a port."""
    echo = Made(1, "10.1.0.11", 7, "198.51.100.10", 2048, "203.0.113.2", 8, "198.51.100.10", 2048, 0)
    assert demo._line(echo) == "icmp   10.1.0.11 id 7 -> 198.51.100.10, seen there as 203.0.113.2 id 8"
