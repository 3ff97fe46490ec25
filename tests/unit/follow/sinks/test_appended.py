"""Files that are appended to, and cut back."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from anetcon.follow.sinks.appended import Files, cut


def lines(*texts: str) -> pa.StringArray:
    """As a sink makes them."""
    return pa.array([f"{text}\n" for text in texts])


def test_logs_are_cut_to_their_saved_size(tmp_path: Path) -> None:
    """By inode, whatever the name; never made longer; other files are not touched."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("0123456789")
    inodes = {name: (tmp_path / name).stat().st_ino for name in ("a", "b", "c")}
    (tmp_path / "a").rename(tmp_path / "a.1")
    cut(tmp_path, {"a": (inodes["a"], 4), "b": (inodes["b"], 99)})
    assert [(tmp_path / name).read_text() for name in ("a.1", "b", "c")] == ["0123", "0123456789", "0123456789"]
    cut(tmp_path / "missing", {"a": (1, 1)})


def test_a_file_of_somebody_else_is_not_cut(tmp_path: Path) -> None:
    """Ours was deleted, and the kernel gave its number to a file of another name."""
    (tmp_path / "syslog").write_text("0123456789")
    cut(tmp_path, {"ours.json": ((tmp_path / "syslog").stat().st_ino, 4)})
    assert (tmp_path / "syslog").read_text() == "0123456789"


def test_lines_are_appended_and_taken_back(tmp_path: Path) -> None:
    """What is behind the place it is opened with goes; a part of an array writes that part alone."""
    files = Files(tmp_path / "log", ["a.json"])
    files.open({})
    files.write("a.json", lines("one", "two", "three")[1:])
    before = files.where()
    files.write("a.json", lines("four"))
    files.sync()
    files.close()
    files.open(before)
    files.write("a.json", lines("five"))
    files.close()
    assert (tmp_path / "log" / "a.json").read_text() == "two\nthree\nfive\n"
    assert (tmp_path / "log" / "a.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_refused(tmp_path: Path, make: object) -> None:
    """A pipe that nobody reads, a folder, a device: an error that names it, and nothing waits or stays open."""
    assert callable(make)
    make(tmp_path / "b.json")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with pytest.raises(OSError, match=r"b\.json"):
        Files(tmp_path, ["a.json", "b.json"]).open({})
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count
