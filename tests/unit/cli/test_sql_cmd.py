"""`anetcon sql`: answers in each format, what is missing beside them."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import T0, Making, start, whole

ROOT = Path(__file__).parents[3]
QUERY = 'SELECT src, dst_port, "end", src_ip, 1.5 AS x, NULL AS n, [1] AS list FROM connections ORDER BY src_port'


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two connections sealed, one not."""
    making = Making(tmp_path / "store")
    making.add(*whole(), *whole(src_port=40001)).rotate()
    Sealer(making.path, lambda: T0).seal()
    making.clock = T0
    return making.add(start(src_port=5)).close()


def test_each_format(store: Path) -> None:
    """The same values; what is missing is on stderr in one line, and in the JSON."""
    answer = Answer("sql", QUERY, "--store", store, "--format", "json")
    row = {
        "src": "10.0.0.5",
        "dst_port": 443,
        "end": "2026-11-20T13:05:19.000000Z",
        "src_ip": "00000000000000000000ffff0a000005",
        "x": 1.5,
        "n": None,
        "list": [1],
    }
    assert answer.json["rows"] == [row, row]
    missing = answer.json["missing"]
    assert (missing["unsealed"], missing["complete"]) == ({"rows": 1, "from": "2026-11-20T13:05:09.000000Z"}, False)
    assert answer.err.count("\n") == 1
    assert "the record has gaps: " in answer.err
    assert "1 rows since 2026-11-20 13:05:09 UTC are not sealed and not in it" in answer.err
    assert Answer("sql", QUERY, "--store", store, "--format", "jsonl").lines == [row, row]
    table = list(csv.DictReader(io.StringIO(Answer("sql", QUERY, "--store", store, "--format", "csv").out)))
    assert [line["end"] for line in table] == [row["end"]] * 2
    assert Answer("sql", QUERY, "--store", store).out.splitlines()[1].startswith("10.0.0.5  443")
    assert Answer("sql", "SELECT 1 WHERE false", "--store", store).out == "no rows\n"


def test_many_rows_have_one_head(store: Path) -> None:
    """An answer of several batches is one table of CSV."""
    lines = Answer("sql", "SELECT range AS n FROM range(25000)", "--store", store, "--format", "csv").out.splitlines()
    assert lines == ["n", *map(str, range(25000))]


def test_wrong_questions(store: Path) -> None:
    """One sentence, no traceback, and the status of wrong usage."""
    for query in ("SELEC 1", "DROP VIEW connections", "SELECT nothing FROM connections"):
        answer = Answer("sql", query, "--store", store)
        assert answer.status == 2
        assert "Traceback" not in answer.err


def test_two_columns_of_one_name(store: Path) -> None:
    """None of them is left out silently."""
    answer = Answer("sql", "SELECT a.src, b.src FROM connections a, connections b", "--store", store)
    assert (answer.status, "two columns are called src" in answer.err) == (2, True)


def test_statements_from_standard_input(store: Path) -> None:
    """Each up to its semicolon; the first that is wrong ends it."""
    words = [sys.executable, "-m", "anetcon.cli.main", "sql", "--store", str(store), "--format", "csv"]

    def asked(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, input=text, capture_output=True, text=True, cwd=ROOT, check=False)

    done = asked("SELECT 1 AS a;\n\nSELECT\n 2 AS b;\nSELECT 3 AS c")
    assert (done.returncode, done.stdout.split()) == (0, ["a", "1", "b", "2", "c", "3"])
    done = asked("SELECT 1 AS a;\nnonsense;\nSELECT 3 AS c;\n")
    assert (done.returncode, done.stdout.split()) == (2, ["a", "1"])
    assert "anetcon: Parser Error" in done.stderr


def test_macros_for_another_duckdb(store: Path) -> None:
    """They are printed without a store, and read its files."""
    printed = Answer("sql", "--macros", "--store", "/nonexistent").out
    with duckdb.connect() as database:
        database.execute(printed)
        files = f"{store}/node=*/date=*/*.parquet"
        query = "SELECT count(*) FROM by_address(?) WHERE in_net(ip, '203.0.113.0/24')"
        assert database.execute(query, [files]).fetchall() == [(2,)]
