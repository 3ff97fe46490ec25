"""The process that writes the daemon's own log."""

from __future__ import annotations

import grp
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.keeper.logfile import LogFile, require_writable
from tests.support.waiting import wait_until

STAMP = "2026-11-20T13:05:09.000001Z "
NOW = 1795179909000001


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where the log is."""
    os.umask(0o027)
    yield tmp_path / "own.log"
    os.umask(0o022)


def log_of(file: Path) -> LogFile:
    """A log whose time stands still."""
    return LogFile(str(file), lambda: NOW)


def test_mode_and_group(file: Path) -> None:
    """A new file is 0640 and of the group of readers; one that is there is left as it is."""
    require_writable(str(file))
    assert file.stat().st_mode & 0o777 == 0o640
    if os.geteuid() == 0:
        assert grp.getgrgid(file.stat().st_gid).gr_name == "adm"
    file.chmod(0o600)
    log_of(file).close()
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="Is a directory; give another by --log-file"):
        require_writable(str(file.parent))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"))), st.integers(1, 50))
def test_every_line_is_stamped_once(tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int) -> None:
    """However the lines come cut into pieces, each has one stamp; one that never ends is written at the end."""
    file = tmp_path_factory.mktemp("log") / "own.log"
    log, content = log_of(file), "\n".join([*lines, "end"]).encode()
    for at in range(0, len(content), size):
        log.take(content[at : at + size])
    log.close()
    assert file.read_bytes().decode().split("\n") == [*(STAMP + line for line in [*lines, "end"]), ""]


def test_reopening(file: Path) -> None:
    """After a rename lines go on in a new file; when that cannot be made they go on in the old one, and it is said."""
    log = log_of(file)
    log.take(b"one\n")
    moved = file.rename(file.with_suffix(".1"))
    log.take(b"two\n")
    log.reopen()
    log.take(b"three\n")
    assert moved.read_text() == f"{STAMP}one\n{STAMP}two\n"
    assert file.read_text() == f"{STAMP}three\n"
    file.rename(file.with_suffix(".2"))
    file.mkdir()
    log.reopen()
    log.take(b"four\n")
    log.close()
    *_, said, four = file.with_suffix(".2").read_text().splitlines()
    assert "cannot open" in said
    assert four == f"{STAMP}four"


def test_a_full_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that find no room are counted and no half of one stays; the count stands where they are missing."""
    log, write = log_of(file), os.write
    log.take(b"one\n")

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 10:
            raise OSError(28, "No space left on device")
        return write(descriptor, bytes(content)[: len(content) // 2])

    monkeypatch.setattr(os, "write", full)
    log.take(b"two\nthree\n")
    assert log.lost == 2
    assert file.read_text() == f"{STAMP}one\n"
    monkeypatch.setattr(os, "write", write)
    log.take(b"four\n")
    log.close()
    missing = f"{STAMP}anetcon-log: 2 lines are missing here: No space left on device"
    assert file.read_text().splitlines() == [f"{STAMP}one", missing, f"{STAMP}four"]


class Writer:
    """The real process."""

    def __init__(self, file: Path) -> None:
        read, self.out = os.pipe2(os.O_NONBLOCK)
        words = [sys.executable, "-m", "anetcon.keeper.logfile", "--in", str(read), "--file", str(file)]
        self.process = subprocess.Popen(words, pass_fds=[read], stderr=subprocess.PIPE)
        os.close(read)

    def say(self, line: str) -> None:
        """One line."""
        os.write(self.out, f"{line}\n".encode())

    def end(self) -> int:
        """Its exit status, once it has ended."""
        status = self.process.wait(40)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status


def test_the_process(file: Path) -> None:
    """Every line said over twenty rotations is in one of the files once; the last ones are written at SIGTERM."""
    writer = Writer(file)
    for turn in range(20):
        for line in range(50):
            writer.say(f"line {turn * 50 + line}")
        wait_until(file.exists, 10, "the file is there")
        if turn == 0:
            assert Path(f"/proc/{writer.process.pid}/comm").read_text() == "anetcon-log\n"
        file.rename(file.with_name(f"own.log.{turn}"))
        writer.process.send_signal(signal.SIGHUP)
    wait_until(file.exists, 10, "the last file is there")
    writer.say("the last")
    writer.process.send_signal(signal.SIGTERM)
    assert writer.end() == 0
    os.close(writer.out)
    said = [line for path in file.parent.glob("own.log*") for line in path.read_text().splitlines()]
    assert sorted(line.split(" ", 1)[1] for line in said) == sorted(["the last", *(f"line {n}" for n in range(1000))])


def test_nobody_is_left(file: Path) -> None:
    """It ends by itself when the last one who could say anything has ended, with all that was said."""
    writer = Writer(file)
    writer.say("that was all")
    os.close(writer.out)
    assert writer.end() == 0
    assert file.read_text().endswith("Z that was all\n")
