"""Nftables tables of our own; and the one that makes conntrack run where no rule uses it, by a rule that does nothing.

That table has no hook, so no packet ever passes the rule; that it mentions ct is enough for the kernel to track. Only
done with `activate_conntrack = true`. Refuses to touch any other table, and to wait: nft runs as a child.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from anetcon.keeper.children import Reaper
from anetcon.rules.tables import CONNTRACK, Table, removal
from anetcon.system import privileges, readers
from anetcon.system.netns import Home
from anetcon.system.process import spawn
from anetcon.system.report import ERROR, WARNING

ENTER_FAILED = 126
_REASONS = {127: "nft is not there, install nftables", ENTER_FAILED: "the namespace cannot be entered any more"}


class Activation:
    """Which namespaces have our table, by (name, inode): kept in a file, so that it is removed after a crash too.
    `added` hears where it stands now."""

    def __init__(
        self, home: Home, reaper: Reaper, kept: Path, report: Callable[[str], None], table: Table = CONNTRACK
    ) -> None:
        self.busy = 0
        self.added: Callable[[str, int], None] = lambda _name, _inode: None
        self._table = table
        self._kept = kept
        self._active: set[tuple[str, int]] = set()
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            self._active = {(name, inode) for name, inode in json.loads(kept.read_bytes())}
        self._asked: set[tuple[str, int]] = set()
        self._home = home
        self._reaper = reaper
        self._report = report

    def look(self, name: str, inode: int, path: Path | None, missing: int) -> None:
        """Add the table in a namespace (`path` None: the daemon's own) when it is missing, once each time."""
        if not missing:
            self._asked.discard((name, inode))
        elif (name, inode) not in self._asked:
            self._asked.add((name, inode))
            self._add(name, inode, path)

    def _add(self, name: str, inode: int, path: Path | None) -> None:

        def ended(status: int) -> None:
            self.busy -= 1
            if not status:
                self._set_active(self._active | {(name, inode)})
                self.added(name, inode)
                return
            why = _REASONS.get(status, f"`nft -f -` ended with status {status}, see its message above")
            self._report(f"{ERROR}cannot {self._table.purpose} in {name}: {why}")

        self._run(self._table.rules, inode, path, ended)

    def keep(self, wanted: set[tuple[str, int]], path: Callable[[str], Path | None]) -> None:
        """Remove our table from every other namespace."""
        self._asked &= wanted
        unwanted = self._active - wanted
        if unwanted:
            self._set_active(self._active & wanted)
        for name, inode in unwanted:
            self._remove(name, inode, path(name))

    def _set_active(self, active: set[tuple[str, int]]) -> None:
        self._active = active
        with contextlib.suppress(OSError):  # then it costs no more than a table left after a crash
            readers.replace(self._kept, json.dumps(sorted(active)).encode())

    def _remove(self, name: str, inode: int, path: Path | None) -> None:
        def ended(status: int) -> None:
            self.busy -= 1
            if status not in (0, ENTER_FAILED):  # what cannot be entered is gone, and our table with it
                self._report(
                    f"{WARNING}cannot remove the nftables table {self._table.name} from {name}: "
                    "do it by `nft delete table`"
                )

        self._run(removal(self._table.name), inode, path, ended)

    def _run(self, rules: str, inode: int, path: Path | None, ended: Callable[[int], None]) -> None:
        def enter() -> None:
            try:
                if self._home.enter(path) == inode:
                    return
            except OSError:
                pass
            os._exit(ENTER_FAILED)

        script = os.memfd_create("anetcon-rules")
        os.write(script, rules.encode())
        os.lseek(script, 0, os.SEEK_SET)
        self.busy += 1
        pid = spawn(["nft", "-f", "-"], stdin=script, before=enter, capable=[privileges.NET_ADMIN])
        self._reaper.expect(pid, ended)
        os.close(script)
