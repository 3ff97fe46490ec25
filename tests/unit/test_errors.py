"""What a user can cause is a sentence of ours that says what to do, whatever library met it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anetcon.cli.main import COMMANDS
from anetcon.store import manifest
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import Making, whole

THEIRS = re.compile(
    r"IO Error|Invalid|Binder|Conversion Error|Arrow|Parquet|Traceback|msgspec|JSON|Errno|Expecting|decode|Error:"
    r"|duckdb|TOML parse|at line|not appear|must be in|magic",
)
NOBODY = 65534

Harm = Callable[[Path], object]


def sealed(path: Path) -> Path:
    """A store with a sealed connection and a status."""
    making = Making(path).add(*whole())
    making.rotate()
    Sealer(path).seal()
    (making.close() / "status.json").write_text('{"version": 1, "namespaces": [], "totals": {}}')
    return path


def closed(store: Path) -> Path:
    """Its file of connections."""
    (entry,) = manifest.replay(store).of("connections")
    return store / entry.file


def another_schema(store: Path) -> None:
    """A Parquet file of other columns."""
    pq.write_table(pa.table({"x": [1]}), closed(store))


def folder_instead(path: Path) -> None:
    """A folder where a file was."""
    path.unlink()
    path.mkdir()


HARMS: dict[str, Harm] = {
    "truncated": lambda store: os.truncate(closed(store), 100),
    "empty": lambda store: os.truncate(closed(store), 0),
    "garbage": lambda store: closed(store).write_bytes(b"PAR1" + os.urandom(500) + b"PAR1"),
    "another schema": another_schema,
    "missing": lambda store: closed(store).unlink(),
    "a folder": lambda store: folder_instead(closed(store)),
    "manifest is garbage": lambda store: (store / "manifest.jsonl").write_bytes(os.urandom(99) + b"\n{}\n"),
    "manifest is a folder": lambda store: folder_instead(store / "manifest.jsonl"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_store_that_somebody_changed(tmp_path: Path, harm: str) -> None:
    """Each question ends in one sentence that names the store and what to do, and in its status."""
    store = sealed(tmp_path / "store")
    HARMS[harm](store)
    answer = Answer("search", "--store", store)
    assert answer.status == 8
    assert answer.err.startswith("anetcon: ")
    assert str(store) in answer.err
    assert answer.err.count("\n") == 1
    assert not THEIRS.search(answer.err), answer.err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", '{"namespaces": 5, "totals": {}}', '{"namespaces": [5], "totals": {}}', "\xff",
             "[" * 9999, '{"namespaces": [], "totals": {}, "started": "x"}',
             '{"namespaces": [], "totals": {}, "capture": 5}'],
)  # fmt: skip
def test_a_status_that_no_daemon_wrote(tmp_path: Path, text: str) -> None:
    """It is said to be none."""
    store = sealed(tmp_path / "store")
    (store / "status.json").write_text(text, encoding="latin-1")
    answer = Answer("status", "--store", store)
    assert (answer.status, answer.out) == (8, "")
    assert "no daemon wrote it so" in answer.err
    assert not THEIRS.search(answer.err), answer.err


def test_a_store_that_is_none(tmp_path: Path) -> None:
    """A file, a folder of something else and nothing at all are no store; the sentence says how to name one."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "none"):
        answer = Answer("search", "--store", path)
        assert (answer.status, "name its folder with --store" in answer.err) == (8, True)


@pytest.mark.parametrize(
    "text",
    ["[audit", "[audit]\nperiod = ", "a = 1\na = 2", "[audit]\nperiod = 'x'", "\0", "[audit]\nnamespaces = 5",
     '[audit.networks]\nx = ["10.0.0.300"]', "[store]\nretention_days = -1", "sinks = 5"],
)  # fmt: skip
def test_a_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    """The sentence names the file, the line where there is one, and what it should be."""
    (tmp_path / "a.toml").write_text(text)
    answer = Answer("config", "check", "-c", tmp_path / "a.toml")
    assert answer.status == 5
    assert f"{tmp_path}/a.toml" in answer.err
    assert not THEIRS.search(answer.err), answer.err


@pytest.mark.parametrize(
    "words",
    [("who", "1.2.3.400", "--at", "now"), ("who", "1.2.3.4", "--at", "2026-02-30"), ("search", "--src", "x/y"),
     ("search", "--since", "2026-11-20 25:00"), ("search", "--src", "10.0.0.0/33"),
     ("gaps", "--since", "now", "--tz", "../x")],
)  # fmt: skip
def test_wrong_words(tmp_path: Path, words: tuple[str, ...]) -> None:
    """They are wrong usage, in our words."""
    answer = Answer(*words, "--store", sealed(tmp_path / "store"))
    assert answer.status == 2
    assert not THEIRS.search(answer.err.replace("Error: Invalid value", "")), answer.err


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Be a user without rights, in a folder that everybody may enter."""
    folder.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_without_rights() -> None:
    """An import, and every question, ends in one sentence and a status of its own, whatever may not be read or written:
    the store, what is above it, its lock, the file, the file of hashes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "log"
        log.write_text("nothing\n")
        Answer("import", log, "--store", folder / "warm")  # everything is loaded now, where there is such a command
        secret, locked = folder / "secret", folder / "locked"
        sealed(secret / "store")
        secret.chmod(0o700)
        sealed(locked)
        (locked / "importing.lock").write_text("")
        (locked / "importing.lock").chmod(0o600)
        for path in (locked, *locked.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.chown(locked / "importing.lock", 0, 0)
        (folder / "unreadable").write_text("x")
        (folder / "unreadable").chmod(0o600)
        asked: list[tuple[int, list[str | Path]]] = [
            (6, ["import", log, "--store", secret / "store"]),
            (6, ["import", log, "--store", secret]),
            (6, ["import", log, "--store", folder / "new"]),
            (6, ["import", log, "--store", locked]),
            (12, ["import", folder / "unreadable", "--store", locked]),
            (12, ["import", log, "--store", locked, "--hash-file", secret / "x"]),
            (8, ["search", "--store", secret / "store"]),
            (8, ["status", "--store", secret / "store"]),
            (8, ["gaps", "--store", secret]),
        ]
        asked = [(status, words) for status, words in asked if words[0] in COMMANDS]
        with nobody(folder):
            answers = [Answer(*words) for _, words in asked]
        for (status, words), answer in zip(asked, answers, strict=True):
            assert answer.status == status, (words, answer.err)
            assert answer.err.count("\n") == 1, (words, answer.err)
            assert not THEIRS.search(answer.err), (words, answer.err)
