"""`anetcon match`: what it prints, and how it ends."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import SECOND, T0, Making, start, whole


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A connection that is over, one that is open; without a gap until then."""
    making = Making(tmp_path / "store").audited()
    making.add(*whole(src_port=1), start(src="10.0.0.6", src_port=2)).alive(T0 + 60 * SECOND).rotate()
    assert Sealer(making.path, lambda: T0).seal()
    return making.close()


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list of which two lines were seen."""
    path = tmp_path / "list"
    path.write_text("# a feed\n203.0.113[.]7\n192.0.2.1\n\n198.51.100.0/24  # theirs\n")
    return path


UNTIL = "2026-11-20T13:06:00Z"


def test_a_table_shows_what_was_seen(store: Path, listed: Path) -> None:
    """As it stands in the list; then how many there were, and what was searched."""
    said = Answer("match", listed, "--store", store, "--until", UNTIL)
    lines = said.out.splitlines()
    assert said.status == 0
    assert [line.split()[0] for line in lines[:3]] == ["address", "203.0.113[.]7", "198.51.100.0/24"]
    assert "connections" not in lines[0]
    assert "2 of 3 in the list were seen" in lines
    assert lines[-2].endswith("the record is complete for 1 namespace")


@pytest.mark.parametrize("rows", [False, True])
def test_programs_are_told_each_line(store: Path, listed: Path, rows: bool) -> None:
    """Also what nobody talked to; the count only if it is asked for."""
    more = ["--rows"] if rows else []
    said = Answer("match", listed, "--store", store, "--format", "json", *more).json
    assert [(row["line"], row["address"], row["seen"]) for row in said["addresses"]] == [
        (2, "203.0.113[.]7", True),
        (3, "192.0.2.1", False),
        (5, "198.51.100.0/24", True),
    ]
    assert said["addresses"][1] | {"line": 0} == {
        "line": 0, "address": "192.0.2.1", "seen": False, "first": None, "last": None, "sides": [], "days": 0,
        **({"connections": 0} if rows else {}),
    }  # fmt: skip
    assert said["addresses"][0]["first"] == "2026-11-20T13:05:09.000000Z"
    assert said["addresses"][2]["last"] is None
    assert "complete" in said["coverage"]
    table = list(csv.DictReader(io.StringIO(Answer("match", listed, "--store", store, "--format", "csv", *more).out)))
    assert [row["sides"] for row in table] == ["nat_src", "", "dst nat_dst"]
    assert ("connections" in table[0]) == rows


def test_how_it_ends(store: Path, tmp_path: Path) -> None:
    """1 only where the record is whole; with a gap 3, and the gap is said."""
    (absent := tmp_path / "absent").write_text("192.0.2.1\n")
    whole_time = ("--since", "2026-11-20T13:05:09Z", "--until", "2026-11-20T13:05:40Z")
    assert Answer("match", absent, "--store", store, *whole_time).status == 1
    gaps = Answer("match", absent, "--store", store)
    assert gaps.status == 3
    assert "0 of 1 in the list were seen" in gaps.out
    assert "daemon-down" in gaps.out


def test_a_list_that_cannot_be_read(store: Path, tmp_path: Path) -> None:
    """Nothing is answered: what is left out would look as if nobody was there."""
    (bad := tmp_path / "bad").write_text("203.0.113.7\nexample.org\n")
    (empty := tmp_path / "empty").write_text("# nothing\n")
    (binary := tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, says in (
        (bad, "line 2: 'example.org'"),
        (empty, "names no"),
        (binary, "no text"),
        (tmp_path, "cannot read"),
    ):
        said = Answer("match", path, "--store", store)
        assert (said.status, said.out) == (12, "")
        assert says in said.err
