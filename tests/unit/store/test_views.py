"""A store as views: every format, nothing written, nothing else read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from anetcon.errors import StoreError
from anetcon.store import layout, manifest
from anetcon.store.seal import Sealer
from anetcon.store.views import Views, WrongQueryError
from tests.support.records import T0, Making, start, whole

DATA = Path(__file__).parents[2] / "data"


def rows(views: Views, query: str) -> list[dict[str, Any]]:
    """What is answered."""
    return [row for batch in views.ask(query) for row in batch.to_pylist()]


def test_every_format_at_once(tmp_path: Path) -> None:
    """Files of the format before and of this one, closed and open, are one view; addresses are text."""
    store = Path(shutil.copytree(DATA / "format2-days" / "store", tmp_path / "store"))
    before = rows(Views(store), "SELECT src, src_port, ct_id FROM connections ORDER BY src_port")
    while Sealer(store, lambda: T0 + 10**9).seal():
        pass
    assert {entry.format for entry in manifest.replay(store).connections} == {2, 3}
    after = rows(Views(store), "SELECT src, src_port, ct_id FROM connections ORDER BY src_port")
    assert {row["src_port"] for row in after} - {row["src_port"] for row in before} == {40004, 40008, 40005}
    assert {row["src"] for row in after} == {"10.0.0.5", "192.0.2.1", "2001:db8:1::5"}


def test_both_directions(tmp_path: Path) -> None:
    """A connection has a row for each address in it, and one where two are the same."""
    making = Making(tmp_path / "store").add(*whole())
    Sealer(making.rotate().close(), lambda: T0).seal()
    views = Views(making.path)
    asked = "SELECT side, address, port FROM by_address WHERE ip = ip('{}')"
    assert rows(views, asked.format("203.0.113.7")) == [{"side": "nat_src", "address": "203.0.113.7", "port": 40213}]
    assert rows(views, asked.format("198.51.100.9")) == [{"side": "dst", "address": "198.51.100.9", "port": 443}]
    assert rows(views, "SELECT count(*) AS n FROM by_address WHERE in_net(ip, '10.0.0.0/8')") == [{"n": 1}]


def test_what_is_missing_is_known(tmp_path: Path) -> None:
    """What is not sealed, and the gap of a daemon that does not run; of a store with nothing sealed, all of it."""
    making = Making(tmp_path / "store")
    making.clock = T0
    views = Views(making.add(*whole(), start(src_port=2)).path)
    assert rows(views, "SELECT * FROM connections") == rows(views, "SELECT * FROM by_address") == []
    assert views.missing[2:] == (3, T0)
    assert not views.missing.complete
    assert "daemon-down" in {row["cause"] for row in rows(views, "SELECT cause FROM gaps")}
    making.close()


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '{}'",
        "SELECT * FROM read_parquet('{}.new')",
        "SET enable_external_access = true",
        "ATTACH '{}' AS other",
        "INSTALL httpfs",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1; SELECT 2",
        "",
        "SELECT * FROM query",
        "WITH gone AS (DELETE FROM gaps RETURNING *) SELECT * FROM gone",
        "nonsense",
    ],
)
def test_nothing_else_is_possible(tmp_path: Path, query: str) -> None:
    """Neither writing, nor other files, nor other settings, nor Python's own variables; the store stays as it was."""
    making = Making(tmp_path / "store").add(*whole())
    Sealer(making.rotate().close(), lambda: T0).seal()
    (entry,) = manifest.replay(making.path).connections
    there = {path: path.read_bytes() for path in making.path.rglob("*") if path.is_file()}
    with pytest.raises((WrongQueryError, StoreError)):
        rows(Views(making.path), query.format(making.path / "other"))
    for statement in ("COPY (SELECT 1) TO '{}'", "DELETE FROM connections"):
        with pytest.raises(WrongQueryError):
            rows(Views(making.path), statement.format(making.path / entry.file))
    assert {path: path.read_bytes() for path in making.path.rglob("*") if path.is_file()} == there


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """Replaced while it was asked: it says what to do."""
    making = Making(tmp_path / "store").add(*whole())
    Sealer(making.rotate().close(), lambda: T0).seal()
    views = Views(making.path)
    for path in layout.files_of(making.path):
        path.unlink()
    with pytest.raises(StoreError, match="ask again"):
        rows(views, "SELECT * FROM connections")
