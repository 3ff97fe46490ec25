"""Checkpoints as they were noted in another place: lines of a log, in whatever it writes around them.

    Nov 20 13:05:12 gw1 anetcon-sign[812]: signed anetcon/gw1/5f0c2d9a4b7e1c36 4711 f5c0...1c in epoch 17

`anetcon sign` says such a line after each checkpoint. What comes from a place where nobody of the node can write shows
a store that was taken back to a copy of before.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from anetcon.errors import InputError

_LINE = re.compile(r"\bsigned (anetcon/\S{1,1000}) ([0-9]{1,18}) ([0-9a-f]{64})\b", re.ASCII)


class Anchor(NamedTuple):
    """So many lines of a log were under this root; and in which line of which file that is noted."""

    origin: str
    size: int
    root: bytes
    place: str


def line(origin: str, size: int, root: bytes, epoch: int) -> str:
    """What is said of a checkpoint, for other machines to keep."""
    return f"signed {origin} {size} {root.hex()} in epoch {epoch}"


def anchors(path: Path) -> list[Anchor]:
    """Those in a file; lines without one are overlooked. Raises InputError."""
    found = list[Anchor]()
    try:
        with path.open(errors="replace") as file:
            for number, text in enumerate(file, 1):
                if said := _LINE.search(text):
                    place = f"line {number} of {path}"
                    found.append(Anchor(said[1], int(said[2]), bytes.fromhex(said[3]), place))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return found
