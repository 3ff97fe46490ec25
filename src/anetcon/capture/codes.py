"""Numbers of the namespaces within the capture columns.

A code is used again only after a flush has emptied the columns. A namespace that is not attached (any more), of which
a kernel line tells, has a code as well.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from anetcon.capture.namespace import Namespace
from anetcon.decode.columns import Array


class Codes:
    """`names` by code, and beside them arrays by code: `inodes`, and `slots` in the shared counters (-1: none)."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.by_code: list[Namespace | None] = []
        self._codes: dict[Namespace, int] = {}
        self._strays: dict[str, tuple[int, int]] = {}
        """Code and inode by name, of namespaces that are not attached (any more)."""
        self._changed()

    def __getitem__(self, namespace: Namespace) -> int:
        return self._codes[namespace]

    def add(self, namespace: Namespace) -> None:
        """Give a namespace its code."""
        self._codes[namespace] = len(self.names)
        self.names.append(namespace.netns)
        self.by_code.append(namespace)
        self._changed()

    def remove(self, namespace: Namespace) -> None:
        """Forget a namespace; its code stays taken until the next flush."""
        self.by_code[self._codes.pop(namespace)] = None

    def of_name(self, netns: str, inode: int) -> int:
        """The code of a namespace by its name; one that is not attached (any more) gets a code of its own."""
        for namespace, code in self._codes.items():
            if namespace.netns == netns:
                return code
        if netns not in self._strays:
            self._strays[netns] = len(self.names), inode
            self.names.append(netns)
            self.by_code.append(None)
            self._changed()
        return self._strays[netns][0]

    def only(self) -> int | None:
        """The code of the namespace that is attached, if it is one alone."""
        codes = list(self._codes.values())
        return codes[0] if len(codes) == 1 else None

    def attached(self) -> Iterable[Namespace]:
        """The namespaces that are."""
        return self._codes.keys()

    def stale(self) -> bool:
        """Whether most codes are of namespaces that are gone."""
        return len(self.by_code) > 2 * len(self._codes) + 64

    def _changed(self) -> None:
        self.inodes: Array = np.array([n.inode if n else 0 for n in self.by_code], np.uint64)
        for code, inode in self._strays.values():
            self.inodes[code] = inode
        self.slots: Array = np.array([n.slot if n else -1 for n in self.by_code], np.int64)
