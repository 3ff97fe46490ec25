"""The table of causes: said well, its marks agree, and one line more in it is all that a new cause takes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.gaps import NOTES, UNTRANSLATED, WHOLE, Cause, Gap, Mark
from tests.support.records import DAY, SECOND, T0, Making, whole

ROOT = Path(__file__).parents[2]
COMMAND = ("-m", "anetcon.cli.main")


def test_causes_are_sentences_for_operators() -> None:
    """Each cause has a name in small letters, a meaning and something to do."""
    for cause in Cause:
        assert cause == cause.name.lower().replace("_", "-")
        assert cause.meaning
        assert cause.todo
        assert not cause.meaning.endswith(".")


def test_findings_are_told_from_gaps() -> None:
    """Only causes for which no connection is missing leave an answer complete."""
    assert Cause.OVERRUN not in WHOLE
    assert {Cause.SUSPENDED, Cause.SINK_BEHIND} <= WHOLE


def test_what_is_missing_for_a_cause_is_said_once() -> None:
    """A cause that leaves every connection is not also one that takes some away; what concerns some is told to all."""
    assert not WHOLE & UNTRANSLATED
    assert UNTRANSLATED <= NOTES


@given(st.text())
def test_a_cause_of_another_version_makes_an_answer_incomplete(name: str) -> None:
    """It is taken by its name, has no mark, and can be told of."""
    cause = Cause(name)
    if name not in set(Cause):
        assert cause.marks == Mark(0)
        assert (cause, str(cause), json.loads(json.dumps(cause))) == (name, name, name)
        assert cause.meaning
        assert cause not in WHOLE


@given(*[st.none() | st.integers()] * 2, st.sampled_from(Cause) | st.text().map(Cause), st.none() | st.integers())
def test_a_gap_is_its_row(start: int | None, end: int | None, cause: Cause, lost: int | None) -> None:
    """What is written of a gap is read again, also where it went as JSON."""
    gap = Gap("router", start, end, cause, lost, "gw1")
    assert Gap.of(json.loads(json.dumps(gap.row()))) == gap


ANSWERS = """
import json, sys
from tests.support.asking import Answer
print(json.dumps([Answer(*words).out for words in json.loads(sys.argv[1])]))
"""


class Copy:
    """A copy of the program with one cause more: one line in the table."""

    def __init__(self, folder: Path) -> None:
        for name in ("src", "tools"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        table = folder / "src/anetcon/gaps.py"
        line = '    FULL_MOON = "full-moon", "the moon was full", "wait"\n\n\nWHOLE, '
        table.write_text(table.read_text().replace("\n\nWHOLE, ", line, 1))
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": ""}

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Begin to run a Python program that uses it."""
        command, pipe = [sys.executable, *map(str, words)], subprocess.PIPE
        return subprocess.Popen(command, text=True, env=self.environment, cwd=self.folder, stdout=pipe, stderr=pipe)

    def says(self, *words: str | Path) -> str:
        """What it prints."""
        return self.start(*words).communicate(timeout=60)[0]

    def answers(self, *questions: tuple[str | Path, ...]) -> list[str]:
        """What its command line prints of each, in one process."""
        self.environment["PYTHONPATH"] += f":{ROOT}"  # behind the copy: for the tests' support alone
        asked = json.dumps([[str(word) for word in words] for words in questions])
        answers: list[str] = json.loads(self.says("-c", ANSWERS, asked))
        return answers


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """One for a test."""
    return Copy(tmp_path / "copy")


def test_a_new_cause_is_one_line(copy: Copy, tmp_path: Path) -> None:
    """Then answers, the list of gaps, the page and what follows know it."""
    making = Making(tmp_path / "store").add(*whole()).audited("203.0.113.7")
    making.add({"node": "gw1", "from": T0 - SECOND, "to": None, "cause": "full-moon"}, table="gaps")
    store = making.alive(T0 + DAY).close()
    at = ("--store", store, "--format", "json")
    since = ("--since", "2026-11-20T13:05:00Z", "--until", "2026-11-20T14:00:00Z")
    who = ("who", "203.0.113.7:40213", "--at", "2026-11-20T13:05:10Z")
    questions = [(*who, *at), ("search", *since, *at), ("search", *since, "--store", store), ("gaps", *since, *at)]
    told, found, table, gaps = copy.answers(*questions)
    for answer in (told, found):
        coverage = json.loads(answer)["coverage"]
        assert (coverage["complete"], [gap["cause"] for gap in coverage["gaps"]]) == (False, ["full-moon"])
    assert "full-moon in every namespace" in table
    assert [gap["cause"] for gap in json.loads(gaps)["gaps"]] == ["full-moon"]
    assert "gaps.md" in copy.says("-m", "tools.docs")
    page = (copy.folder / "docs/reference/gaps.md").read_text()
    assert "| `full-moon` | the moon was full | wait |" in page

    follows = copy.start(*COMMAND, "follow", *at)
    try:
        assert any("full-moon" in line for line in follows.stderr or ())
        follows.send_signal(signal.SIGTERM)
        closing = json.loads(follows.communicate(timeout=60)[0])["coverage"]
    finally:
        follows.kill()
    assert "full-moon" in [gap["cause"] for gap in closing["gaps"]]
