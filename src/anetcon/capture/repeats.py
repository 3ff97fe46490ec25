"""Ends that come again and again: the sign of another listener on the host that is stuck in reliable mode.

For its sake the kernel keeps every connection that ended in its table and repeats its end, to us as well (measured: up
to 189 copies). Each is recorded once, so nothing is missing; but the table may fill, and then connections are refused.
Refuses to look at every row: a sample at each flush is enough, 60 us.
"""

from __future__ import annotations

import numpy as np

from anetcon.capture.keeper import KeeperLink
from anetcon.capture.lasting import Lasting
from anetcon.capture.namespace import Namespace
from anetcon.decode.columns import NONE, Columns
from anetcon.gaps import Cause
from anetcon.record import Origin
from anetcon.system.clock import Moment
from anetcon.system.report import NOTICE, WARNING, report

SAMPLE = 2048
ENOUGH = 8
"""Copies in a sample that are no accident: capture itself never reads an event twice."""

QUIET = 10_000_000
"""Microseconds without copies after which it is over."""

WHAT = (
    "another program that listens for conntrack events in reliable mode does not read: the kernel repeats ends and "
    "keeps ended connections in the table (find it with `ss -A netlink -p`, and restart it)"
)


def repeated(columns: Columns) -> dict[int, int]:
    """How many of the last rows are copies of another one's end, by code of their namespace."""
    here = slice(max(0, columns.rows - SAMPLE), columns.rows)
    of = columns.of
    ended = (of["end"][here] != NONE) & (of["origin"][here] != Origin.PACKET)
    if np.count_nonzero(ended) < ENOUGH:
        return {}
    codes = of["netns"][here][ended]
    lives = of["start"][here][ended].astype(np.uint64) ^ of["ct_id"][here][ended].astype(np.uint64) << np.uint64(32)
    order = np.lexsort((lives, codes))
    lives, codes = lives[order], codes[order]
    copies = codes[1:][(lives[1:] == lives[:-1]) & (codes[1:] == codes[:-1])]
    found, counts = np.unique(copies, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


class Repeats:
    """Says of a namespace that a listener is stuck, for as long as it is."""

    def __init__(self, lasting: Lasting, keeper: KeeperLink) -> None:
        self._lasting = lasting
        self._keeper = keeper
        self._seen: dict[Namespace, Moment] = {}
        """When copies came last."""

    def look(self, columns: Columns, by_code: list[Namespace | None], since: int, now: Moment) -> None:
        """See what came since the last flush, at `since`."""
        for code, count in repeated(columns).items() if columns.rows else ():
            namespace = by_code[code]
            if namespace is not None and count >= ENOUGH:
                self._seen[namespace] = now
                if not self._lasting.lasts(namespace.netns, Cause.LISTENER_STUCK):
                    self._lasting.begin(namespace.netns, Cause.LISTENER_STUCK, since)
                    self._keeper.remark(namespace, Cause.LISTENER_STUCK, WHAT)
                    report(f"{WARNING}{namespace.netns}: {WHAT}")
        for namespace, last in list(self._seen.items()):
            if now.steady - last.steady > QUIET:
                self.forget(namespace)
                self._lasting.end(namespace.netns, Cause.LISTENER_STUCK, last.wall)
                self._keeper.remark(namespace, Cause.LISTENER_STUCK, None)
                report(f"{NOTICE}{namespace.netns}: ends are no longer repeated")

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._seen.pop(namespace, None)
