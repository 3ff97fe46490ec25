"""Packets that conntrack calls invalid and that leave a namespace: counted by a rule of ours, and a sample of them
logged to a socket that capture reads. Only with `record_invalid = true`.

The rule needs conntrack, so a table of ours stands only for a family of which conntrack runs without us, as capture
says; when that is over, it is taken away. The socket is bound to a group of its own (nfnetlink_log) and belongs to the
namespace: with it closed the kernel logs nothing there. A daemon that is replaced opens it anew: it is a sample.

Refuses to wait: nft runs as a child.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Sequence
from functools import partial

from anetcon.keeper.activate import Activation
from anetcon.keeper.host import Host
from anetcon.keeper.namespace import Namespace
from anetcon.link.messages import Message, Sample
from anetcon.rules.invalid_sample import FAMILIES, listen, made
from anetcon.system.report import ERROR, report


class Sampling:
    """Of all namespaces. `send` gives capture a message and descriptors."""

    def __init__(self, host: Host, send: Callable[[Message, Sequence[int]], None]) -> None:
        self._host = host
        self._send = send
        self._tables = {family: Activation(host, made(family), partial(self._stands, family)) for family in FAMILIES}
        self._attached: Collection[Namespace] = ()
        self._refused: set[Namespace] = set()
        """Where no socket could be had, which was said."""

    @property
    def busy(self) -> bool:
        """Whether a child is at work."""
        return any(each.busy for each in self._tables.values())

    def tick(self, attached: Collection[Namespace], folder: str) -> None:
        """See to tables and sockets in these namespaces, and that there are none in any other; `folder` has them."""
        self._attached = attached
        self._refused.intersection_update(attached)
        for family, tables in self._tables.items():
            there = [each for each in attached if each.attachment and each.attachment.invalid.is_tracked(family)]
            tables.keep({(each.name, each.inode) for each in there}, folder)
        for namespace in attached:
            if namespace.attachment is None:
                continue
            for family, tables in self._tables.items():
                invalid = namespace.attachment.invalid
                if not invalid.is_tracked(family):
                    invalid.left.pop(family, None)
                elif self._listens(namespace):
                    tables.look(namespace, family not in invalid.left)

    def close(self, attached: Collection[Namespace], folder: str) -> None:
        """It is not wanted any more."""
        was_wanted = bool(self._attached)
        self.tick((), folder)
        for namespace in attached if was_wanted else ():
            if namespace.attachment is not None:
                namespace.attachment.invalid.left.clear()
                namespace.attachment.log_invalid(None)

    def tell_again(self, attached: Collection[Namespace]) -> None:
        """Capture is a new one."""
        for namespace in attached:
            self._tell(namespace)

    def _listens(self, namespace: Namespace) -> bool:
        """Whether there is a socket, opened now if need be. While another program has our group it is tried again."""
        attachment = namespace.attachment
        if attachment is None or attachment.sample is not None:
            return attachment is not None
        try:
            with self._host.home.entered(namespace.path) as inode:
                if inode != namespace.inode:
                    return False
                attachment.log_invalid(listen())
        except OSError as error:
            if namespace not in self._refused and error.errno != errno.ENOENT:  # gone: the listing will tell
                self._refused.add(namespace)
                why = error.strerror or error
                report(f"{ERROR}cannot record packets that are invalid in {namespace.netns}: {why}; trying again")
            return False
        self._tell(namespace)
        return True

    def _stands(self, family: str, inode: int) -> None:
        """Our table of a family stands there now, and has counted nothing yet."""
        for namespace in self._attached:
            if namespace.inode == inode and namespace.attachment is not None:
                namespace.attachment.invalid.left[family] = 0

    def _tell(self, namespace: Namespace) -> None:
        if namespace.attachment is not None and namespace.attachment.sample is not None:
            self._send(Sample(namespace.slot), [namespace.attachment.sample.fileno()])
