"""The chain of the bash ANetCon: named to a daemon that keeps it, or taken away once a daemon needs it no more.

The engine iptables-log has the same chain: with a line in rules.jsonl it knows also of those in namespaces that it does
not audit, and takes them away. Other engines' unit may not touch iptables, so the installing program does it, when the
daemon records. Refuses to look for the chain where the old configuration selects nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from anetcon.config.load import Loaded
from anetcon.keeper.attach import Home
from anetcon.keeper.left import Leftovers
from anetcon.keeper.settings import DEFAULT, Settings
from anetcon.rules import work
from anetcon.rules.text import IPTABLES

Place = tuple[str, Path | None]
"""A namespace's name, and where to enter it; None: the one we are in."""


def places(loaded: Loaded) -> Iterator[Place]:
    """Where it may be: in the namespaces that a configuration of the old program selects."""
    settings = Settings(loaded.resolved())
    if settings.with_default:
        yield DEFAULT, None
    folder = Path(settings.netns_dir)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if settings.selects(path.name):
            yield path.name, path


def name(loaded: Loaded, store: Path, report: Callable[[str], None]) -> None:
    """Have the daemon know of it."""
    left, home = Leftovers(store / "rules.jsonl", report), Home().inode
    for netns, path in places(loaded):
        with contextlib.suppress(OSError):
            inode = home if path is None else path.stat().st_ino
            left.add(netns, path, inode, (IPTABLES, loaded.config.audit.chain))


def remove(loaded: Loaded, report: Callable[[str], None]) -> None:
    """Take it away everywhere; where that fails it is said."""
    home, away = Home(), [(IPTABLES, loaded.config.audit.chain)]
    for netns, path in places(loaded):
        with contextlib.suppress(FileNotFoundError):
            with home.entered(path):
                failed = work.visit(away, None, {}).error
            if failed:
                report(f"{netns}: its chain {away[0][1]} is still there: {failed}; `anetcon doctor {netns}` says more")
