"""What a check found. Nothing here looks at anything."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """How bad it is, from the best to the worst."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"

    @property
    def rank(self) -> int:
        """To sort by: the worst is the largest."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is a sentence; a command in it stands between backticks, ready to run.

    `netns` is null for the host. `checked` is false where it could not be looked at, `found` says why.
    """

    check: str
    severity: Severity
    found: str
    means: str = ""
    remedy: str = ""
    netns: str | None = None
    checked: bool = True


def unchecked(check: str, found: str, remedy: str, netns: str | None = None) -> Finding:
    """What could not be looked at."""
    return Finding(check, Severity.NOTE, found, "doctor cannot tell whether this is well", remedy, netns, checked=False)


def inside(path: Path | None, command: str) -> str:
    """A command as it is run in the namespace at `path` (None: where we are)."""
    return command if path is None else f"nsenter --net={shlex.quote(str(path))} {command}"
