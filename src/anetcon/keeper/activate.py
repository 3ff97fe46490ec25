"""Nftables tables of our own; and the one that makes conntrack run where no rule uses it, by a rule that does nothing.

That table has no hook, so no packet ever passes the rule; that it mentions ct is enough for the kernel to track. Only
done with `activate_conntrack = true`. Refuses to touch any other table, and to wait: nft runs as a child.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from anetcon.keeper.host import Host
from anetcon.keeper.namespace import Namespace
from anetcon.link.ledger import OwnTable
from anetcon.link.settings import DEFAULT
from anetcon.rules.tables import CONNTRACK, Table, removal
from anetcon.system import privileges
from anetcon.system.printable import file_name, recorded
from anetcon.system.process import spawn
from anetcon.system.report import ERROR, WARNING, report

ENTER_FAILED = 126
_REASONS = {127: "nft is not there, install nftables", ENTER_FAILED: "the namespace cannot be entered any more"}


class Activation:
    """Which namespaces have our table, by (name, inode): in the ledger, so that it is removed after a crash too.
    `added` hears of the inode where it stands now."""

    def __init__(self, host: Host, table: Table = CONNTRACK, added: Callable[[int], None] = lambda _: None) -> None:
        self.busy = 0
        self._host = host
        self._table = table
        self._added = added
        ours = (each for each in host.ledger.of(OwnTable) if each.table == table.name)
        self._active = {(file_name(each.netns), each.inode) for each in ours}
        self._asked: set[tuple[str, int]] = set()

    def look(self, namespace: Namespace, missing: int) -> None:
        """Add the table in a namespace when it is missing, once each time."""
        known = namespace.name, namespace.inode
        if not missing:
            self._asked.discard(known)
        elif known not in self._asked:
            self._asked.add(known)
            self._add(namespace, *known)

    def _add(self, namespace: Namespace, name: str, inode: int) -> None:

        def ended(status: int) -> None:
            self.busy -= 1
            if not status:
                self._active.add((name, inode))
                with contextlib.suppress(OSError):  # then it costs no more than a table left after a crash
                    self._host.ledger.note(self._entry(name, inode))
                self._added(inode)
                return
            why = _REASONS.get(status, f"`nft -f -` ended with status {status}, see its message above")
            report(f"{ERROR}cannot {self._table.purpose} in {name}: {why}")

        self._run(self._table.rules, inode, namespace.path, ended)

    def keep(self, wanted: set[tuple[str, int]], folder: str) -> None:
        """Remove our table from every other namespace; `folder` is where they are."""
        self._asked &= wanted
        for name, inode in self._active - wanted:
            self._active.discard((name, inode))
            self._remove(name, inode, None if name == DEFAULT else Path(folder, name))

    def _entry(self, name: str, inode: int) -> OwnTable:
        return OwnTable(recorded(name), inode, self._table.name)

    def _remove(self, name: str, inode: int, path: Path | None) -> None:
        def ended(status: int) -> None:
            self.busy -= 1
            if status in (0, ENTER_FAILED):  # what cannot be entered is gone, and our table with it
                with contextlib.suppress(OSError):
                    self._host.ledger.strike(self._entry(name, inode))
            else:
                report(
                    f"{WARNING}cannot remove the nftables table {self._table.name} from {name}: "
                    "do it by `nft delete table`"
                )

        self._run(removal(self._table.name), inode, path, ended)

    def _run(self, rules: str, inode: int, path: Path | None, ended: Callable[[int], None]) -> None:
        def enter() -> None:
            try:
                if self._host.home.enter(path) == inode:
                    return
            except OSError:
                pass
            os._exit(ENTER_FAILED)

        script = os.memfd_create("anetcon-rules")
        os.write(script, rules.encode())
        os.lseek(script, 0, os.SEEK_SET)
        self.busy += 1
        pid = spawn(["nft", "-f", "-"], stdin=script, before=enter, capable=[privileges.NET_ADMIN])
        self._host.reaper.expect(pid, ended)
        os.close(script)
