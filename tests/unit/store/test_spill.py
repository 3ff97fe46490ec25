"""What a question puts on the disk: nothing that somebody else could read, or lead elsewhere."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from anetcon.store import spill
from anetcon.store.reader import Rows, Store
from anetcon.store.seal import Sealer
from anetcon.system import memory
from tests.support.asking import Answer
from tests.support.records import SECOND, T0, Making, batch, end

ROWS = 300_000
SMALL = 130 << 20
"""Bytes of memory that so many rows do not fit into where they are sorted."""


def many(number: int) -> pa.RecordBatch:
    """So many connections that ended, one a microsecond."""
    rows = batch("connections", [end()]).take(pa.array(np.zeros(number, np.int64)))
    counted = np.arange(number)
    for name, values in {"start": T0 + counted, "end": T0 + SECOND + counted, "src_port": counted % 60_000}.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values).cast(rows.schema.field(at).type))
    return rows


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose rows, asked for as a whole, do not fit into memory."""
    making = Making(tmp_path_factory.mktemp("spill") / "store")
    making.write(many(ROWS)).rotate()
    Sealer(making.close(), clock=lambda: T0 + 60 * SECOND).seal()
    return making.path


@pytest.fixture
def store(sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That store, with little memory and a folder for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(spill, "_memory", lambda: SMALL)
    return sealed


def modes(folder: Path) -> set[int]:
    """The modes of all that lies in a folder of spilled rows, and its own."""
    return {stat.S_IMODE(each.lstat().st_mode) for each in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("ours", [True, False])
def test_a_question_larger_than_its_memory(
    ours: bool, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it spills is for nobody else, in the store where that is its own, and gone afterwards; links that wait
    under the names that were guessed, and under those of DuckDB in the folder it may write to, lead nowhere."""
    monkeypatch.setattr(spill, "_is_ours", lambda _: ours)
    victim, guessed = tmp_path / "victim", tmp_path / "tmp" / f"anetcon-{os.getpid()}"
    victim.write_text("precious")
    guessed.mkdir()
    for kind in ("DEFAULT", "S32K", "S64K", "S96K", "S128K", "S160K", "S192K"):
        (guessed / f"duckdb_temp_{os.getpid()}_0_storage_{kind}-0.tmp").symlink_to(victim)
    seen: list[set[int]] = []
    above = store if ours else tmp_path / "tmp"
    read = Rows.__iter__

    def looked(rows: Rows) -> Iterator[pa.RecordBatch]:
        seen.extend(modes(folder) for folder in above.glob("spill-*"))
        yield next(read(rows))

    monkeypatch.setattr(Rows, "__iter__", looked)
    answer = Answer("search", "--store", store, "--limit", "0", "--format", "csv")
    assert (answer.status, answer.out[:5]) == (0, "start"), answer.err
    assert seen == [{0o700, 0o600}]
    assert victim.read_text() == "precious"
    assert list((tmp_path / "tmp").iterdir()) == [guessed]
    assert not list(store.glob("spill-*"))


def test_a_question_that_fits(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes no folder."""
    monkeypatch.setattr(spill, "_memory", lambda: 1 << 30)
    rows = Store(store).connections()
    assert len(rows.read_all()) == ROWS
    assert not [*store.glob("spill-*"), *(tmp_path / "tmp").iterdir()]


def test_a_store_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could put a link in the place of the folder is not given the occasion; no name comes twice."""
    assert Path(spill.settings(tmp_path)["temp_directory"]).parent == tmp_path
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    first, second = (spill.settings(tmp_path)["temp_directory"] for _ in range(2))
    assert Path(first).parent == Path(tempfile.gettempdir())
    assert first != second


def test_threads_by_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has room to read a row group in; one there always is."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for size, threads in ((1 << 20, "1"), (spill.THREAD * 2 - 1, "1"), (spill.THREAD * 2, "2"), (1 << 40, "4")):
        monkeypatch.setattr(spill, "_memory", lambda size=size: size)
        assert spill.settings(tmp_path)["threads"] == threads


def test_nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no folder for temporary files a question is asked without."""

    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(spill, "_is_ours", lambda _: False)
    monkeypatch.setattr("tempfile.gettempdir", none)
    assert spill.settings(tmp_path)["temp_directory"] == ""


@pytest.mark.parametrize(
    ("group", "memory_limit"),
    [(None, f"{25 << 30}B"), (100 << 30, f"{25 << 30}B"), (2 << 30, f"{1 << 30}B")],
)
def test_how_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int | None, memory_limit: str) -> None:
    """A quarter of the machine's, at most half of what the control group may use."""
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 25 << 20, "SC_PAGE_SIZE": 4096}[name])
    monkeypatch.setattr(memory, "group_limit", lambda: group)
    assert spill.settings(tmp_path)["memory_limit"] == memory_limit


def test_what_killed_questions_left(tmp_path: Path) -> None:
    """It goes when it is a day old; what is younger may be in use."""
    old, young = tmp_path / "spill-old", tmp_path / "spill-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "rows.tmp").write_text("rows")
    os.utime(old, (0, 0))
    Sealer(tmp_path).pending()
    assert [each.name for each in tmp_path.glob("spill-*")] == ["spill-young"]
