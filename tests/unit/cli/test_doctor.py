"""How findings are printed, and which exit status they make."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from anetcon.cli import doctor
from anetcon.doctor.finding import Finding, Severity, unchecked
from tests.support.asking import Answer

WELL = Finding("disk", Severity.OK, "74.6 GiB free")
NOTE = Finding("sysctls", Severity.NOTE, "nf_conntrack_acct is 0", "no bytes", "run `sysctl -w x=1`", "qrouter-1")
WARNING = Finding("clock", Severity.WARNING, "not synchronised", "times drift", "run `timedatectl set-ntp true`")
PROBLEM = Finding("table", Severity.PROBLEM, "full", "refused", "run `sysctl -w y=2`", "qrouter-1")
Found = Callable[..., None]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    """Sets what the checks find."""

    def give(*findings: Finding) -> None:
        monkeypatch.setattr(doctor, "examine", lambda *_: list(findings))

    return give


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([WELL], 0),
        ([WELL, NOTE, WARNING], 0),
        ([WELL, PROBLEM], 1),
        ([WELL, unchecked("rules", "no", "be root")], 3),
        ([PROBLEM, unchecked("rules", "no", "be root")], 1),
    ],
)
def test_the_exit_status(found: Found, findings: list[Finding], status: int) -> None:
    """A problem is 1; none, but something not looked at, 3; warnings and notes are 0."""
    found(*findings)
    assert Answer("doctor").status == status


def test_what_is_well_is_not_listed(found: Found) -> None:
    """One line says how many checks there were; -v lists them."""
    found(WELL, WELL)
    assert Answer("doctor").out == "2 checks, all well\n"
    assert "74.6 GiB free" in Answer("doctor", "-v").out


def test_the_worst_comes_first(found: Found) -> None:
    """Each finding says what it means and, uncut, what to do."""
    found(NOTE, WELL, WARNING, PROBLEM)
    lines = Answer("doctor").out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["problem", "warning", "note", "4"]
    assert lines[:3] == ["problem  qrouter-1: full", "         refused", "         -> run `sysctl -w y=2`"]
    assert lines[-1] == "4 checks, 1 problem, 1 warning, 1 note, 1 well"


def test_many_namespaces_with_the_same_finding_are_one(found: Found) -> None:
    """Three are named, the others counted; the command is that of the first."""
    many = [
        Finding("rules", Severity.WARNING, "notrack", "hidden", f"run `nsenter --net=/run/netns/q-{n} x`", f"q-{n}")
        for n in range(500)
    ]
    found(*many)
    out = Answer("doctor").out
    assert out.count("notrack") == 1
    assert "warning  500 namespaces: notrack\n         in q-0, q-1, q-2 and 497 more\n" in out
    assert "netns/q-0 x` (so in each of the 500)" in out
    assert len(Answer("doctor", "--format", "jsonl").lines) == 500


def test_json(found: Found) -> None:
    """The shape that docs/reference/json.md promises."""
    found(WELL, NOTE, unchecked("rules", "no permission", "be root", "qrouter-1"))
    answer = Answer("doctor", "--format", "json").json
    assert {key: answer[key] for key in ("version", "worst", "complete")} == {
        "version": 1,
        "worst": "note",
        "complete": False,
    }
    assert answer["counts"] == {"ok": 1, "note": 2, "warning": 0, "problem": 0}
    well, note, missing = answer["findings"]
    assert well == {
        "severity": "ok",
        "check": "disk",
        "subject": "host",
        "netns": None,
        "checked": True,
        "found": "74.6 GiB free",
        "means": None,
        "remedy": None,
    }
    assert (note["subject"], note["netns"], note["remedy"]) == ("namespace", "qrouter-1", "run `sysctl -w x=1`")
    assert missing["checked"] is False


def test_lines_and_csv(found: Found) -> None:
    """One finding a line, those that are well included."""
    found(WELL, NOTE)
    lines = Answer("doctor", "--format", "jsonl").lines
    head, *rows = csv.reader(io.StringIO(Answer("doctor", "--format", "csv").out))
    assert head == list(lines[0])
    assert [row[head.index("check")] for row in rows] == ["disk", "sysctls"]
    assert json.dumps(lines[1]["netns"]) == '"qrouter-1"'


def test_a_namespace_that_is_not_there() -> None:
    """It is an error of one sentence."""
    answer = Answer("doctor", "no-such-namespace")
    assert (answer.status, len(answer.err.splitlines())) == (4, 1)
    assert "ip netns list" in answer.err


def test_on_a_terminal_sentences_are_wrapped_and_commands_are_not() -> None:
    """Words stay whole, the lines below the first are indented."""
    wrapped = doctor._wrapped("warning  host: " + "word " * 40, 60)
    assert len(wrapped) > 1
    assert all(len(line) <= 60 for line in wrapped)
    assert all(line.startswith(doctor.INDENT) for line in wrapped[1:])
