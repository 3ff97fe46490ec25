"""Search finds what the filters say, by start, and says what it left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from anetcon.query import times
from tests.support.asking import Answer
from tests.support.records import DAY, ROUTER, SECOND, T0, Making, start, whole


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five connections, a second apart, the last one open."""
    making = Making(tmp_path / "store").audited()
    making.add({"node": "gw1", "from": None, "to": T0 - DAY, "cause": "never-recorded"}, table="gaps")
    for number in (3, 1, 2, 0):
        making.add(*whole(0.5, src_port=number, start=T0 + number * SECOND))
    return making.add(start(src_port=4, start=T0 + 4 * SECOND)).alive(T0 + DAY).close()


def search(store: Path, *words: str) -> Answer:
    """The answer to a search until an hour after T0, when everything was recorded."""
    return Answer("search", "--store", store, "--until", "2026-11-20T14:05:09Z", *words)


def ports(answer: Answer) -> list[int]:
    """The source ports found."""
    return [row["src_port"] for row in answer.lines]


def test_by_start(store: Path) -> None:
    """Rows come by start, all of them."""
    answer = search(store, "--format", "jsonl")
    assert (answer.status, ports(answer)) == (0, [0, 1, 2, 3, 4])


def test_times_and_filters(store: Path) -> None:
    """Times and filters narrow what is found; a connection open at the time is."""
    assert ports(search(store, "--since", "2026-11-20T13:05:11.2Z", "--format", "jsonl")) == [2, 3, 4]
    assert ports(search(store, "--sport", "1-3", "--class", "nat", "--format", "jsonl")) == [1, 2, 3]


def test_a_limit(store: Path) -> None:
    """What a limit cuts off is said on stderr and in the JSON; what fits is not."""
    cut = search(store, "--limit", "2", "--format", "json")
    assert [row["src_port"] for row in cut.json["connections"]] == [0, 1]
    assert cut.json["truncated"] is True
    assert "more than 2" in cut.err
    whole_answer = search(store, "--limit", "5", "--format", "json")
    assert (whole_answer.json["truncated"], whole_answer.err) == (False, "")


def test_the_shape_of_the_answer(store: Path) -> None:
    """The JSON answer says what was asked, what it may claim, and the records."""
    said = search(store, "--src", "10.0.0.0/8", "--proto", "tcp", "--format", "json").json
    assert list(said) == ["version", "query", "coverage", "connections", "truncated"]
    assert said["query"] == {
        "from": None,
        "until": "2026-11-20T14:05:09.000000Z",
        "since_given": None,
        "until_given": "2026-11-20T14:05:09Z",
        "tz": "UTC",
        "src": ["10.0.0.0/8"],
        "proto": ["tcp"],
    }
    covered: dict[str, Any] = {
        "complete": True,
        "from": None,
        "to": "2026-11-20T14:05:09.000000Z",
        "namespaces": 1,
        "gaps": [],
        "notes": [],
    }
    assert said["coverage"] == covered


def test_nothing_found(store: Path) -> None:
    """Nothing found is 1 where the record is complete, 3 where it has gaps."""
    assert search(store, "--sport", "9").status == 1
    assert search(store, "--sport", "9", "--since", "2026-11-01").status == 3


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_alone(store: Path, form: str) -> None:
    """Where only rows are printed, stderr has one line with the window and what the record may claim of it."""
    searched = "searched 2026-11-19 13:05:09, the first record, to 2026-11-20 14:05:09 UTC; "
    for words, status in (((), 0), (("--sport", "9"), 1)):
        answer = search(store, *words, "--format", form)
        assert (answer.status, answer.err) == (status, searched + "the record is complete for 1 namespace\n")
    answer = search(store, "--sport", "9", "--since", "2026-11-01", "--format", form)
    assert (answer.status, len(answer.out.splitlines())) == (3, form == "csv")
    assert answer.err == (
        "searched 2026-11-01 00:00:00 to 2026-11-20 14:05:09 UTC; the record has gaps there: "
        "before 2026-11-19 13:05:09, the first record: never-recorded in every namespace\n"
    )


def test_a_relative_time_is_read_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window that was searched, the query and the sentence about it name the same moment."""
    real, late = times.moment, iter(range(100))
    monkeypatch.setattr(times, "moment", lambda text, zone: real(text, zone, T0 + next(late) * SECOND))
    said = Answer("search", "--store", store, "--since", "10 minutes ago", "--format", "json").json
    assert said["query"]["from"] == said["coverage"]["from"]
    words = Answer("search", "--store", store, "--since", "10 minutes ago").out
    (read,) = re.findall("was read as (.*) UTC", words)
    assert f"searched {read} to" in words


@pytest.mark.parametrize("command", ["search", "gaps"])
@pytest.mark.parametrize(
    ("words", "nearest"),
    [(["--node", "gw2"], "gw1"), (["--netns", "qruoter"], ROUTER), (["--netns", "68fb.*"], ROUTER)],
)
def test_what_this_store_does_not_know(store: Path, command: str, words: list[str], nearest: str) -> None:
    """A node or namespace with a typing error is wrong usage, which names the nearest, and not nothing found."""
    answer = Answer(command, "--store", store, *words)
    assert answer.status == 2
    assert words[0] in answer.err
    assert nearest in " ".join(answer.err.split())
    assert search(store, "--node", "gw1", "--netns", "^qrouter-.*72", "--sport", "9").status == 1


def test_in_words(store: Path) -> None:
    """For a person: the records, the window, how times were read."""
    lines = search(store, "--sport", "0").out.splitlines()
    assert "10.0.0.5:0" in lines[1]
    assert lines[3:] == [
        "searched 2026-11-19 13:05:09, the first record, to 2026-11-20 14:05:09 UTC; "
        "the record is complete for 1 namespace",
        "'2026-11-20T14:05:09Z' was read as 2026-11-20 14:05:09 UTC",
    ]


@pytest.mark.parametrize(
    "words", [["--src", "x"], ["--limit", "-1"], ["--since", "soon"], ["--class", "snat"], ["what"]]
)
def test_wrong_usage(store: Path, words: list[str]) -> None:
    """What cannot be read is wrong usage."""
    assert search(store, *words).status == 2
