"""The way from the command line to the keeper."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anetcon import __version__
from anetcon.cli.run import require_mounted
from anetcon.errors import StoreError
from tests.support.asking import Answer


class Executed(BaseException):
    """Instead of executing the keeper."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with everything under a folder of its own; whoever runs the test has every privilege."""
    monkeypatch.setattr("anetcon.link.capabilities.require", lambda _: None)
    monkeypatch.setattr("anetcon.link.capabilities.become", lambda *_: None)
    path = tmp_path / "anetcon.toml"
    path.write_text(f'node = "gw1"\n[store]\npath = "{tmp_path}/store"\n[logs]\ndir = "{tmp_path}/log"\n')
    return path


def test_becoming_the_keeper(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are made, and the keeper is executed with the resolved settings in a file it inherits."""
    seen: dict[str, Any] = {}

    def execv(path: str, words: list[str]) -> None:
        descriptor = int(words[words.index("--settings") + 1])
        seen.update(path=path, words=words, inherited=os.get_inheritable(descriptor))
        seen["settings"] = json.loads(os.pread(descriptor, 1 << 20, 0))
        os.close(descriptor)
        raise Executed

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Executed):
        Answer("run", "-c", file, "-p", "3", "-v")
    assert seen["path"] == sys.executable
    assert seen["words"][:5] == [sys.executable, "-P", "-m", "anetcon.keeper.main", "--settings"]
    assert seen["words"][6:] == ["--", "--config", str(file), "--period", "3.0", "--verbose"]
    assert seen["inherited"] is True
    assert (seen["settings"]["node"], seen["settings"]["audit"]["period"]) == ("gw1", 3.0)
    assert seen["settings"]["settings_file"] == str(file)
    assert seen["settings"]["logs"]["debug"] is True
    assert seen["settings"]["sources"]["audit.period"] == "--period"
    for name in ("store", "log"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o750


def test_another_daemon(file: Path, tmp_path: Path) -> None:
    """A store that another daemon owns is left to it."""
    (tmp_path / "store").mkdir()
    with (tmp_path / "store" / "lock").open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = Answer("run", "-c", file)
    assert answer.status == 9
    assert f"process id {os.getpid()} owns" in answer.err


def test_a_daemon_that_was_killed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children of a killed daemon hold its lock for a moment: the keeper waits for them, so nobody is refused here."""
    (tmp_path / "store").mkdir()
    lock = os.open(tmp_path / "store" / "lock", os.O_RDWR | os.O_CREAT)
    os.write(lock, b"4194305\n")  # above any process id
    fcntl.flock(lock, fcntl.LOCK_EX)

    def execv(_path: str, words: list[str]) -> None:
        os.close(int(words[words.index("--settings") + 1]))
        raise Executed

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Executed):
        Answer("run", "-c", file)
    os.close(lock)


def test_a_store_whose_file_system_is_not_mounted(tmp_path: Path) -> None:
    """A mount that fstab has at or above the store, and that is not there, is an error; others are not looked at."""
    fstab = f"# a comment\nUUID=1 / ext4 defaults 0 1\nnone {tmp_path}/other tmpfs\n\nUUID=2 {tmp_path} xfs defaults\n"
    with pytest.raises(StoreError, match=f"{tmp_path} is not mounted, as /etc/fstab has it"):
        require_mounted(tmp_path / "store", fstab)
    require_mounted(Path("/proc/store"), "proc /proc proc defaults\n")
    require_mounted(tmp_path / "store", "")


def test_a_read_only_file_system(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said to be one, with the status of a store that cannot be used."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    answer = Answer("run", "-c", file)
    assert answer.status == StoreError.exit_status
    assert "its file system is read-only; mount it writable" in answer.err


def test_a_folder_that_cannot_be_made(file: Path, tmp_path: Path) -> None:
    """A store where a file is in the way is one sentence."""
    (tmp_path / "store").write_text("")
    answer = Answer("run", "-c", file)
    assert (answer.status, len(answer.err.splitlines())) == (8, 1)
    assert str(tmp_path / "store") in answer.err


def test_a_bad_configuration(file: Path) -> None:
    """Nothing is started with a configuration that cannot be used."""
    answer = Answer("run", "-c", file, "--engine", "netlink")
    assert answer.status == 5
    assert answer.err.startswith("anetcon: --engine: audit.engine")


@pytest.mark.parametrize(
    ("log", "why"), [("log", "Is a directory"), ("nowhere/log", "No such file or directory"), ("a.toml/x", "Not a dir")]
)
def test_a_log_that_cannot_be_opened(file: Path, tmp_path: Path, log: str, why: str) -> None:
    """It is one sentence, with the status of a file that cannot be written, before anything is started."""
    (tmp_path / "a.toml").write_text("")
    (tmp_path / "log").mkdir(exist_ok=True)
    answer = Answer("run", "-c", file, "-l", tmp_path / log)
    assert (answer.status, len(answer.err.splitlines())) == (StoreError.exit_status, 1)
    assert f"cannot write the daemon's own log {tmp_path / log}: {why}" in answer.err


def test_version_and_help() -> None:
    """`run -V` says what `anetcon -V` does, and `run -h` has every option of the program before."""
    assert Answer("run", "-V").out == Answer("-V").out == f"anetcon {__version__}\n"
    said = Answer("run", "-h").out
    assert [option for option in ("-h", "-V", "-v", "-l", "-p", "-n", "-c", "--engine") if option not in said] == []
