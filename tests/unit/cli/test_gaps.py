"""The gaps themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.asking import Answer
from tests.support.records import DAY, ROUTER, T0, Making, whole


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the time before it, and one gap in one namespace at T0."""
    making = Making(tmp_path / "store").add(*whole()).audited()
    making.add({"node": "gw1", "from": None, "to": T0 - DAY, "cause": "never-recorded"}, table="gaps")
    making.add({"node": "gw1", "netns": ROUTER, "from": T0, "to": T0 + 1, "cause": "overrun", "lost": 3}, table="gaps")
    return making.alive(T0 + DAY).close()


def gaps(store: Path, *words: str) -> Answer:
    """The gaps until an hour after T0."""
    return Answer("gaps", "--store", store, "--until", "2026-11-20T14:05:09Z", *words)


def test_every_format(store: Path) -> None:
    """A gap is printed with its fields in every format."""
    said = gaps(store, "--format", "json").json
    assert (list(said), said["coverage"]["complete"]) == (["version", "query", "coverage", "gaps"], False)
    assert said["gaps"] == gaps(store, "--format", "jsonl").lines
    assert said["gaps"] == [
        {
            "node": "gw1",
            "netns": ROUTER,
            "from": "2026-11-20T13:05:09.000000Z",
            "to": "2026-11-20T13:05:09.000001Z",
            "cause": "overrun",
            "lost": 3,
        }
    ]
    assert gaps(store, "--format", "csv").out.splitlines()[0] == "node,netns,from,to,cause,lost"
    head, row = gaps(store).out.splitlines()[:2]
    assert "from (UTC)           to (UTC)" in head
    assert "2026-11-20 13:05:09  2026-11-20 13:05:09.000001  overrun" in row


def test_which_gaps(store: Path) -> None:
    """Times, namespaces and nodes narrow it; without any the exit status is 1."""
    assert [row["cause"] for row in gaps(store, "--since", "2026-11-01", "--format", "jsonl").lines] == [
        "never-recorded",
        "overrun",
    ]
    assert gaps(store, "--since", "2026-11-20T13:06").status == 1
    assert gaps(store, "--netns", "qrouter").status == 0
    assert "searched 2026-11-19 13:05:09, the first record, to 2026-11-20 14:05:09 UTC; " in gaps(store).out
    assert "the record is complete" in gaps(store, "--since", "2026-11-20T13:06").out
