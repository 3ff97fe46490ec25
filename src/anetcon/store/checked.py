"""Which files were read again already, so that reading a large store can be stopped and gone on with.

The note is a file of JSON lines, one for each file that was found as it was sealed; a torn last line is cut off. A line
is trusted only while inode, size and both times of its file are the same: nobody can set the time of a change
(`st_ctime`) but by setting the clock.
"""

from __future__ import annotations

import json
import os
from io import FileIO
from pathlib import Path
from typing import Any

from anetcon.errors import InputError


class Checked:
    """What is in such a file, and what is added to it; with None nothing is kept. Raises InputError."""

    def __init__(self, path: Path | None) -> None:
        self._known: dict[str, list[Any]] = {}
        self._file: FileIO | None = None
        if path is None:
            return
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content.rfind(b"\n") + 1
            self._known = dict(map(_line, content[:whole].splitlines()))
            self._file = path.open("ab", buffering=0)
            self._file.truncate(whole)
        except OSError as error:
            raise InputError(f"cannot use {path} to go on with: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{path} is no file that `anetcon verify` made to go on with: {error}") from error

    def has(self, path: Path, sha256: str) -> bool:
        """Whether a file was found to have this digest, and has not been touched since."""
        known = self._known.get(str(path))
        return known is not None and known == [sha256, *_stamp(path.stat())]

    def add(self, path: Path, status: os.stat_result, sha256: str) -> None:
        """A file has this digest; `status` is from before it was read."""
        if self._file is not None:
            line = {"file": str(path), "sha256": sha256, "stamp": _stamp(status)}
            self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """The last call."""
        if self._file is not None:
            self._file.close()


def _line(text: bytes) -> tuple[str, list[Any]]:
    said = json.loads(text)
    if not isinstance(said, dict) or not said.keys() >= {"file", "sha256", "stamp"}:
        raise ValueError("a line is not one of its own")
    return str(said["file"]), [said["sha256"], *said["stamp"]]


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
