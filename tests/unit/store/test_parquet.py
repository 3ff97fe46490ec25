"""Parquet files: everything comes back, small, and read by others."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anetcon.errors import StoreError
from anetcon.record import arrow_schema, file_schema
from anetcon.store import parquet
from bench.realistic import events, generate

ROWS = 5_000


def encoded(table: pa.Table) -> pa.Buffer:
    """A file with all of these rows as they are."""
    return parquet.encode("open", table, [np.arange(table.num_rows)])


@pytest.fixture(name="made", scope="module")
def made_() -> pa.Table:
    """Some connections, START rows among them, in many chunks."""
    table = events(generate(np.random.default_rng(2), ROWS))
    return pa.Table.from_batches(table.to_batches(max_chunksize=999))


def test_everything_comes_back(made: pa.Table, tmp_path: Path) -> None:
    """Every value of every column, nulls too, in the schema of the record; the order inside a row group is new."""
    groups = [np.arange(made.num_rows)[::-1]]
    said = parquet.put(tmp_path, "node=n/date=d/1.parquet", parquet.encode("open", made, groups), made.num_rows)
    found = parquet.read(tmp_path, said["file"])
    assert found.schema == arrow_schema("connections")
    assert found.equals(made.take(pa.array(np.concatenate(groups))))
    assert said["rows"] == made.num_rows
    assert said["bytes"] == (tmp_path / said["file"]).stat().st_size
    assert (tmp_path / said["file"]).stat().st_mode & 0o777 == 0o640


def test_some_rows_are_fetched_with_their_nulls(made: pa.Table) -> None:
    """Few rows of many, many of few, those without a null alone, none at all: always the same as taking them."""
    ended = np.flatnonzero(made["end"].is_valid().to_numpy())
    for rows in (ended, ended[::-1], np.array([1, 9_000]), np.arange(50, 60), np.empty(0, np.int64)):
        assert parquet.fetch(made, rows).equals(made.take(pa.array(rows)))


def test_every_column_is_as_the_field_table_says(made: pa.Table, tmp_path: Path) -> None:
    """Types, encodings, statistics: no unsigned number, no byte-stream-split, no dictionary of addresses."""
    rows = made.filter(made["end"].is_valid())
    parquet.put(tmp_path, "open/1.parquet", parquet.encode("connections", rows, [np.arange(len(rows))]), len(rows))
    assert pq.read_schema(tmp_path / "open/1.parquet").equals(file_schema("connections"))
    group = pq.read_metadata(tmp_path / "open/1.parquet").row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert "ct_id" not in columns
    used = {name: {*column.encodings} - {"RLE"} for name, column in columns.items()}
    assert used["src_port"] == used["start"] == used["bytes_in"] == {"DELTA_BINARY_PACKED"}
    assert used["src_ip"] == used["nat_dst_ip"] == used["bytes_out"] == {"PLAIN"}
    assert used["packets_in"] == used["netns"] == used["proto"] == {"PLAIN", "RLE_DICTIONARY"}
    assert {name for name, column in columns.items() if column.statistics is not None} == {
        "start", "end", "nat_src_ip", "class", "origin",
    }  # fmt: skip


def test_duckdb_and_pyarrow_read_a_store_without_us(made: pa.Table, tmp_path: Path) -> None:
    """Plain readers find the partitions; `node` is in both path and file, and the same."""
    ended = pa.array(np.flatnonzero(made["end"].is_valid().to_numpy()))
    made = made.take(ended)
    parquet.put(tmp_path, "node=net-1/date=2026-05-28/1.parquet", encoded(made), made.num_rows)
    files = f"read_parquet('{tmp_path}/node=*/date=*/*.parquet', hive_partitioning = true)"
    with duckdb.connect() as database:
        relation = database.sql(f"SELECT * FROM {files}")  # noqa: S608
        assert relation is not None
        theirs = relation.to_arrow_table()
        where = "node = 'net-1' AND \"date\" = '2026-05-28'"
        counted = database.execute(f"SELECT count(*) FROM {files} WHERE {where}").fetchall()  # noqa: S608
    assert counted == [(made.num_rows,)]
    assert set(theirs.column_names) == {*made.column_names, "date"}
    for name in made.column_names:
        plain = made[name].type.value_type if pa.types.is_dictionary(made[name].type) else theirs[name].type
        assert theirs[name].cast(plain).combine_chunks().equals(made[name].cast(plain).combine_chunks()), name
    table = pq.read_table(tmp_path)
    assert table["node"].to_pylist() == made["node"].to_pylist()
    assert table.num_rows == made.num_rows


def test_a_file_that_does_not_read_back_is_refused(
    made: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that returns other bytes than it was given is found out before the file has its name."""
    monkeypatch.setattr(parquet, "_digest", lambda _: "0" * 64)
    with pytest.raises(StoreError, match="check the disk"):
        parquet.put(tmp_path, "open/1.parquet", encoded(made), made.num_rows)
    assert not (tmp_path / "open/1.parquet").exists()


def test_a_damaged_file_is_a_store_error(tmp_path: Path) -> None:
    """The message names the file and what to do."""
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 this is none")
    with pytest.raises(StoreError, match=r"bad\.parquet.*backup"):
        parquet.read(tmp_path, "bad.parquet")


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError("ZSTD compression failed: Allocation error : not enough memory"),
    ],
)
def test_too_little_memory_is_no_damage(
    made: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Neither of a file that is read, which nobody needs to restore, nor of the disk that one is written to."""
    data = encoded(made)
    parquet.put(tmp_path, "some.parquet", data, made.num_rows)
    fail = Mock(side_effect=error)
    monkeypatch.setattr(pq, "read_table", fail)
    monkeypatch.setattr(parquet, "fetch", fail)
    with pytest.raises(MemoryError):
        parquet.read(tmp_path, "some.parquet")
    with pytest.raises(MemoryError):
        encoded(made)
