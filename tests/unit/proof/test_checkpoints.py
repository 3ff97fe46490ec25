"""Checkpoints are kept as they were signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.errors import KeyringError
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.note import Checkpoint, Note, SigningKey

KEY = SigningKey.of("a", bytes(32))


def note(size: int) -> Note:
    """A checkpoint over so many lines."""
    return Note.signed(Checkpoint("a", size, bytes(32), "t", "", "", "").text, [KEY])


def test_kept_in_order(tmp_path: Path) -> None:
    """By epoch, then as they were signed; what a crash left of one is cut off, and a line that is none is told."""
    kept = Checkpoints(tmp_path)
    assert kept.last() is None
    for epoch, size in ((1, 3), (1, 4), (2, 4), (10, 9)):
        kept.append(note(size), epoch)
    assert [each.checkpoint.size for each in kept] == [3, 4, 4, 9]
    assert kept.epochs() == [1, 2, 10]
    file = tmp_path / "checkpoints" / "00000010.jsonl"
    file.write_bytes(file.read_bytes() + b'{"note": "a')
    last = kept.last()
    assert last is not None
    assert (last.checkpoint.size, last.note) == (9, note(9))
    kept.append(note(11), 10)
    assert [each.checkpoint.size for each in kept][-2:] == [9, 11]
    file.write_bytes(file.read_bytes().replace(b"note", b"mote", 1))
    with pytest.raises(KeyringError, match=r"line 1 of .*00000010.jsonl is no checkpoint"):
        list(kept)
