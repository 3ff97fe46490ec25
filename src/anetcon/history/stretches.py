"""From when to when text was imported, by node, namespace and what such text tells: rows of the table `gaps`."""

from __future__ import annotations

import numpy as np

from anetcon.decode.columns import Array
from anetcon.gaps import Cause, Gap
from anetcon.history.line_batch import LineBatch
from anetcon.store import imported, sql
from anetcon.store.imported import QUIET, Stretch
from anetcon.store.reader import Store

Of = tuple[int, str | None, Cause]
"""Code of the node, namespace (None: all that were audited), cause."""


class Stretches:
    """Gathers the times of one file's lines."""

    def __init__(self) -> None:
        self._of: dict[Of, list[Stretch]] = {}

    def add(self, of: Of, times: Array) -> None:
        """There are lines of these times."""
        if not len(times):
            return
        ordered = np.sort(times)
        breaks = np.flatnonzero(np.diff(ordered) > QUIET)
        begins, ends = np.append(0, breaks + 1), np.append(breaks, len(ordered) - 1)
        new = zip(ordered[begins].tolist(), ordered[ends].tolist(), strict=True)
        self._of[of] = imported.joined([*self._of.get(of, []), *new])

    def add_rows(self, batch: LineBatch, first: int) -> None:
        """Lines of a syslog daemon, from this row on."""
        rows = slice(first, batch.rows)
        start, both = batch.of["start"][rows], batch.of["both"][rows]
        key = batch.of["node"][rows].astype(np.int64) * 2 + both
        for value in np.unique(key).tolist():
            cause = Cause.IMPORTED_EVENTS if value % 2 else Cause.IMPORTED_LINES
            self.add((value // 2, None, cause), start[key == value])

    def gaps(self, nodes: list[str], store: Store | None, since: int) -> list[Gap]:
        """What the store is to be told: stretches since a time, but for those that it knows."""
        found = []
        for (node, netns, cause), stretches in self._of.items():
            known = _known(store, nodes[node], netns, cause)
            for begin, end in stretches:
                begin = max(begin, since)
                if begin <= end and not any(first <= begin and end <= last for first, last in known):
                    found.append(Gap(netns, begin, end, cause, node=nodes[node]))
        return found


def _known(store: Store | None, node: str, netns: str | None, cause: Cause) -> list[Stretch]:
    if store is None:
        return []
    place = "netns IS NULL" if netns is None else sql.text_in("netns", [netns])
    asked = sql.every([sql.text_in("cause", [cause]), sql.text_in("node", [node]), place])
    rows = store.intervals("gaps", asked)
    times = [rows[name].cast("int64").to_pylist() for name in ("from", "to")]
    return imported.joined(zip(*times, strict=True))
