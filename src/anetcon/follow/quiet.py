"""A time before which the text logs get no line, since somebody else writes them until then: rsyslog, while the daemon
takes over from the bash ANetCon. What is recorded until then is read along, so that no later line repeats it.

`followers/text.quiet` holds that time (microseconds). It always lies ahead by a few minutes at most: should whoever set
it die, the logs go on by themselves.
"""

from __future__ import annotations

import time
from pathlib import Path

from anetcon.store import layout

LONGEST = 300_000_000
"""Microseconds."""


def begin(store: Path) -> None:
    """No lines for now. Raises OSError."""
    _write(store, time.time_ns() // 1000 + LONGEST)


def end(store: Path) -> None:
    """Lines of what is recorded from now on, if there was a time without. Raises OSError."""
    if _path(store).exists():
        _write(store, time.time_ns() // 1000)


def until(store: Path) -> int:
    """The time; 0 when there is none."""
    try:
        return int(_path(store).read_text())
    except (OSError, ValueError):
        return 0


def _path(store: Path) -> Path:
    return layout.follower_path(store, "text").with_suffix(".quiet")


def _write(store: Path, microseconds: int) -> None:
    path = _path(store)
    layout.make_folder(path.parent)
    aside = path.with_suffix(".quiet.new")
    aside.write_text(f"{microseconds}\n")
    aside.chmod(layout.FILE_MODE)
    layout.give_to_group(aside)
    aside.rename(path)
