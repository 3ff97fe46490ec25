"""What the sealer writes is read by others: every row and value, by each reader as it comes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anetcon.store import manifest
from anetcon.store.seal import Sealer
from bench.realistic import events, generate
from tests.support.reading import FIELDS, plain
from tests.support.records import SECOND, T0, Making, batch, end, ends, logged, logged_float

ROOT = Path(__file__).parents[2]
SIX = {"src": "[2001:db8:1::5]:40006", "dst": "[2001:db8:beef::10]:443", "nat_src": "[2001:db8:1::5]:40006"}
ODD = [
    end(7200, proto=255, zone=65535, mark=0xFFFFFFFF, bytes_out=1 << 62, bytes_in=0, netns="q 'ä\""),
    end(3, src_port=65535, packets_out=None, bytes_out=None, packets_in=None, bytes_in=None, reply=None),
    end(4, **ends(**SIX)),
    logged(),
    logged_float(),
]
"""The largest values (of 64 bits one that pandas keeps, which makes floats of columns with nulls), nulls of every
column that has any, IPv6, and the two kinds of kernel lines."""


@pytest.fixture(name="sealed", scope="module")
def sealed_(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[Any]]]:
    """A store, sealed, and its rows."""
    made = generate(np.random.default_rng(5), 3_000, first=T0, seconds=3600)
    odd = batch("connections", ODD)
    making = Making(tmp_path_factory.mktemp("readers") / "store")
    for each in events(made).to_batches():
        making.write(each)
    making.write(odd).rotate()
    store = making.close()
    sealer = Sealer(store, clock=lambda: T0 + 7200 * SECOND)
    while sealer.seal():
        pass
    assert {entry.format for entry in manifest.replay(store).connections} == {3}
    rows = pa.concat_tables([made, pa.Table.from_batches([odd])]).to_pydict()
    columns = ([plain(field.kind, value) for value in rows[field.name]] for field in FIELDS)
    return store, [list(row) for row in zip(*columns, strict=True)]


def installed(engine: str) -> str:
    """The folder of what tests/readers.sh installs."""
    done = subprocess.run([ROOT / "tests" / "readers.sh", engine], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{engine} cannot be installed here: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("engine", "from_"),
    [
        ("duckdb", "duckdb"),
        ("duckdb", ""),
        ("pyarrow", ""),
        ("pandas", "frames"),
        ("polars", "frames"),
        ("clickhouse", "frames"),
        pytest.param("spark", "spark", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(600)
def test_reads_everything(engine: str, from_: str, sealed: tuple[Path, list[list[Any]]]) -> None:
    """Each row and value, nulls and the largest ones too."""
    store, expected = sealed
    path = installed(from_) if from_ else ""
    words = [sys.executable, "-m", "tests.support.reading", engine, str(store)]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(expected)
    assert sorted(found, key=repr) == sorted(expected, key=repr)
