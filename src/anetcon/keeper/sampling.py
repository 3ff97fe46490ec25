"""Packets that conntrack calls invalid and that leave a namespace: counted by a rule of ours, and a sample of them
logged to a socket that capture reads. Only with `record_invalid = true`.

The rule needs conntrack, so a table of ours stands only for a family of which conntrack runs without us, as capture
says; when that is over, it is taken away. The socket is bound to a group of its own (nfnetlink_log) and belongs to the
namespace: with it closed the kernel logs nothing there. A daemon that is replaced opens it anew: it is a sample.

Refuses to wait: nft runs as a child.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from anetcon.keeper.activate import Activation
from anetcon.keeper.attach import Sockets
from anetcon.keeper.children import Reaper
from anetcon.keeper.roster import Audited
from anetcon.link.ledger import Ledger
from anetcon.link.messages import Message, Sample
from anetcon.rules.invalid_sample import FAMILIES, listen, made
from anetcon.system.netns import Home
from anetcon.system.report import ERROR, report


class Sampling:
    """Of all namespaces. `send` gives capture a message and descriptors."""

    def __init__(
        self,
        home: Home,
        reaper: Reaper,
        ledger: Ledger,
        send: Callable[[Message, Sequence[int]], None],
    ) -> None:
        self._home = home
        self._send = send
        self._tables: dict[str, Activation] = {}
        self._refused: set[Audited] = set()
        """Where no socket could be had, which was said."""
        self._by_inode: dict[int, Audited] = {}
        for family in FAMILIES:
            self._tables[family] = Activation(home, reaper, ledger, made(family))
            self._tables[family].added = self._adder(family)

    @property
    def busy(self) -> bool:
        """Whether a child is at work."""
        return any(each.busy for each in self._tables.values())

    def tick(self, attached: list[tuple[Audited, Sockets]], path: Callable[[str], Path | None]) -> None:
        """See to tables and sockets in these namespaces, and that there are none in any other."""
        self._by_inode = {audited.inode: audited for audited, _ in attached}
        self._refused &= set(self._by_inode.values())
        for family, tables in self._tables.items():
            there = [audited for audited, _ in attached if audited.tracks is None or family in audited.tracks]
            tables.keep({(audited.name, audited.inode) for audited in there}, path)
        for audited, sockets in attached:
            for family, tables in self._tables.items():
                if audited.tracks is None or family not in audited.tracks:
                    audited.left.pop(family, None)
                elif self._listens(audited, sockets, path(audited.name)):
                    tables.look(audited.name, audited.inode, path(audited.name), family not in audited.left)

    def close(self, attached: list[tuple[Audited, Sockets]], path: Callable[[str], Path | None]) -> None:
        """It is not wanted any more."""
        self.tick([], path)
        for audited, sockets in attached:
            audited.left.clear()
            if sockets.sample is not None:
                sockets.sample.close()
                sockets.sample = None

    def tell_again(self, attached: list[tuple[Audited, Sockets]]) -> None:
        """Capture is a new one."""
        for audited, sockets in attached:
            self._tell(audited, sockets)

    def _adder(self, family: str) -> Callable[[str, int], None]:
        def added(_: str, inode: int) -> None:
            if inode in self._by_inode:
                self._by_inode[inode].left[family] = 0

        return added

    def _listens(self, audited: Audited, sockets: Sockets, path: Path | None) -> bool:
        """Whether there is a socket, opened now if need be. While another program has our group it is tried again."""
        if sockets.sample is None:
            try:
                with self._home.entered(path) as inode:
                    if inode != audited.inode:
                        return False
                    sockets.sample = listen()
            except OSError as error:
                if audited not in self._refused and error.errno != errno.ENOENT:  # gone: the listing will tell
                    self._refused.add(audited)
                    why = error.strerror or error
                    report(f"{ERROR}cannot record packets that are invalid in {audited.netns}: {why}; trying again")
                return False
            self._tell(audited, sockets)
        return True

    def _tell(self, audited: Audited, sockets: Sockets) -> None:
        if sockets.sample is not None:
            self._send(Sample(audited.slot), [sockets.sample.fileno()])
