"""Reads a store's connections by one engine, in a process of its own, and prints the rows as JSON, a list each:
`python -m tests.support.reading ENGINE STORE`. Times are microseconds, addresses hexadecimal.

What the engines are asked for is the plainest that each has: no setting, no schema.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anetcon.record import file_fields

FIELDS = file_fields("connections")
FILES = "node=*/date=*/*.parquet"


def plain(kind: str, value: Any) -> Any:
    """A value that came as Python has it."""
    if value is None or value != value:  # pandas says NaN and NaT
        return None
    if kind == "time":
        return round(value.timestamp() * 1_000_000)
    if kind == "address":
        return bytes(value).hex()
    return str(value) if kind in ("text", "enum") else int(value)


def rows(columns: dict[str, list[Any]]) -> list[list[Any]]:
    """Rows out of columns."""
    found = ([plain(field.kind, value) for value in columns[field.name]] for field in FIELDS)
    return [list(row) for row in zip(*found, strict=True)]


def selected(time: str, quote: str, text: str) -> str:
    """The list of a SELECT that gives what `plain` does."""
    forms = {"time": time, "address": "lower(hex({}))", "text": text, "enum": text}
    return ", ".join(forms.get(field.kind, "{}").format(f"{quote}{field.name}{quote}") for field in FIELDS)


def duckdb(store: str) -> list[list[Any]]:
    """DuckDB."""
    import duckdb

    chosen = selected("epoch_us({})", '"', "{}::VARCHAR")
    with duckdb.connect() as database:
        return [list(row) for row in database.execute(f"SELECT {chosen} FROM '{store}/{FILES}'").fetchall()]  # noqa: S608


def pyarrow(store: str) -> list[list[Any]]:
    """pyarrow, a node's folder as a data set."""
    import pyarrow.parquet as pq

    return [row for node in Path(store).glob("node=*") for row in rows(pq.read_table(node).to_pydict())]


def pandas(store: str) -> list[list[Any]]:
    """pandas, a node's folder as a data set."""
    import pandas

    tables = [pandas.read_parquet(node) for node in Path(store).glob("node=*")]
    return [row for each in tables for row in rows({name: each[name].tolist() for name in each.columns})]


def polars(store: str) -> list[list[Any]]:
    """polars."""
    import polars

    return rows(polars.read_parquet(f"{store}/{FILES}").to_dict(as_series=False))


def clickhouse(store: str) -> list[list[Any]]:
    """ClickHouse, in this process."""
    import chdb

    chosen = selected("toUnixTimestamp64Micro({})", "`", "toString({})")
    asked = f"SELECT {chosen} FROM file('{store}/{FILES}', Parquet)"  # noqa: S608
    lines = str(chdb.query(asked, "JSONCompactEachRow")).splitlines()
    found = [json.loads(line) for line in lines]
    numbers = [field.kind not in ("text", "enum", "address") for field in FIELDS]
    return [
        [int(value) if number and value is not None else value for value, number in zip(row, numbers, strict=True)]
        for row in found
    ]


def spark(store: str) -> list[list[Any]]:
    """Spark by its default, vectorized reader."""
    from pyspark.sql import SparkSession

    made = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = (
        made.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    )
    assert session.conf.get("spark.sql.parquet.enableVectorizedReader") == "true"
    session.read.parquet(f"{store}/node=*/date=*").createOrReplaceTempView("connections")
    chosen = selected("unix_micros({})", "`", "{}")
    found = [list(row) for row in session.sql(f"SELECT {chosen} FROM connections").collect()]  # noqa: S608
    session.stop()
    return found


ENGINES: dict[str, Callable[[str], list[list[Any]]]] = {
    each.__name__: each for each in (duckdb, pyarrow, pandas, polars, clickhouse, spark)
}

if __name__ == "__main__":
    for each in ENGINES[sys.argv[1]](sys.argv[2]):
        sys.stdout.write(json.dumps(each) + "\n")
