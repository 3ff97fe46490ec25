"""When the text logs begin, where somebody else wrote them until then: rsyslog, by the configuration or while the
daemon takes over from the bash ANetCon. What began earlier is read, and gets no line.

`followers/text.quiet` holds that time (microseconds), or until when it may be waited for, and the journal is not read
for them before: should whoever was to say it die, the logs begin by themselves.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from anetcon.store import layout
from anetcon.system import ondisk

LONGEST = 300_000_000
"""Microseconds."""

NOT_YET = 1 << 62


def leave_to_others(store: Path) -> None:
    """Whatever is recorded from now on has its lines from somebody else. Raises OSError."""
    if since(store) != NOT_YET:
        _write(store, {"since": NOT_YET})


def take_back(store: Path) -> None:
    """From now on it has not. Raises OSError."""
    if since(store) == NOT_YET:
        _write(store, {"since": _now()})


def begin(store: Path) -> None:
    """No lines for now. Raises OSError."""
    _write(store, {"wait_until": _now() + LONGEST})


def end(store: Path, since: int | None = None) -> None:
    """Lines of what began `since` then, or begins from now on, if they wait for that. Raises OSError."""
    if "wait_until" in _read(store):
        _write(store, {"since": _now() if since is None else since})


def waits(store: Path) -> bool:
    """Whether it is not known yet."""
    return _read(store).get("wait_until", 0) > _now()


def since(store: Path) -> int:
    """The time; 0 when nobody else ever wrote them."""
    said = _read(store)
    return said.get("since", said.get("wait_until", 0))


def _now() -> int:
    return time.time_ns() // 1000


def _path(store: Path) -> Path:
    return layout.follower_path(store, "text").with_suffix(".quiet")


def _read(store: Path) -> dict[str, int]:
    try:
        said = json.loads(_path(store).read_bytes())
        return {str(key): int(value) for key, value in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(store: Path, said: dict[str, int]) -> None:
    path = _path(store)
    layout.make_folder(path.parent)
    group = layout.group()
    ondisk.replace(path, json.dumps(said).encode(), group=-1 if group is None else group)
