"""What whoever signs says of itself, for `anetcon status`: a file of a few words in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from anetcon.store import layout
from anetcon.system import ondisk

NAME = "signing.json"


class LastWord(NamedTuple):
    """What it said last: when, how many lines are signed, in which epoch; why it refuses to sign, if it does."""

    time: str
    size: int
    epoch: int
    refused: str

    def write(self, folder: Path) -> None:
        """Say it. Raises OSError."""
        group = layout.group()
        ondisk.replace(folder / NAME, json.dumps(self._asdict()).encode(), group=-1 if group is None else group)


def told(folder: Path) -> LastWord | None:
    """What it said last; None where it never did, or that cannot be read."""
    try:
        said = json.loads((folder / NAME).read_bytes())
        return LastWord(str(said["time"]), int(said["size"]), int(said["epoch"]), str(said["refused"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
