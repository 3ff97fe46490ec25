"""The checkpoints of a store, each as it was signed: a file an epoch, a line of JSON each, only ever appended to."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anetcon.errors import KeyringError
from anetcon.proof.note import Checkpoint, Note
from anetcon.system import ondisk


class Kept(NamedTuple):
    """A checkpoint, the note that it is in, and in which line of which file."""

    checkpoint: Checkpoint
    note: Note
    place: str


class Checkpoints:
    """Those in the folder of whoever signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoints"

    def __iter__(self) -> Iterator[Kept]:
        """Every one, oldest first. Raises KeyringError where a line is none."""
        for number in self.epochs():
            yield from self.of(number)

    def epochs(self) -> list[int]:
        """The epochs that have any."""
        return sorted(int(path.stem) for path in self.folder.glob("*.jsonl") if path.stem.isdecimal())

    def has(self, epoch: int) -> bool:
        """Whether an epoch has any whole one: a crash may leave a file without. Raises KeyringError."""
        return epoch in self.epochs() and any(self.of(epoch))

    def last(self) -> Kept | None:
        """The last."""
        return next((found[-1] for number in reversed(self.epochs()) if (found := list(self.of(number)))), None)

    def append(self, note: Note, epoch: int) -> None:
        """One more, on the disk when this returns; what a crash left of one before it goes. Raises OSError."""
        self.folder.mkdir(mode=0o750, exist_ok=True)
        path = self._path(epoch)
        descriptor = ondisk.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            whole = content.rfind(b"\n") + 1
            os.ftruncate(descriptor, whole)
            os.lseek(descriptor, whole, os.SEEK_SET)
            ondisk.write_all(descriptor, json.dumps({"note": str(note)}).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for folder in (self.folder, self.folder.parent):
            ondisk.sync_folder(folder)

    def of(self, epoch: int) -> Iterator[Kept]:
        """Those of an epoch. Raises KeyringError."""
        path = self._path(epoch)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise KeyringError(f"cannot read {path}: {error.strerror}") from error
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            place = f"line {number} of {path}"
            with contextlib.suppress(ValueError, LookupError, TypeError):
                note = Note.read(json.loads(line)["note"])
                yield Kept(Checkpoint.read(note.text), note, place)
                continue
            raise KeyringError(f"{place} is no checkpoint: it was changed")

    def _path(self, epoch: int) -> Path:
        return self.folder / f"{epoch:08d}.jsonl"
