"""After a loss the connection table is listed again, so that what is still open is known: one namespace at a time.

What is in the table becomes rows of origin `dump`. What is not there ended, though its end was lost: the sealer sees
that from a row of the table `listings`, which says that everything open at `from` has such a row. That row is written
only when it is true: the loss was over before, no END can be on its way any more (the socket was drained after the
listing, and the kernel had nothing to repeat from SETTLED before to SETTLED after it), every message could be read, and
all of it is on disk, in one segment. Otherwise the table is listed another time.

Refuses to take more than 1 % of a core: the next listing waits a hundred times as long as one takes.
"""

from __future__ import annotations

from collections.abc import Callable

from anetcon.capture.journals import Journals
from anetcon.capture.namespace import Namespace
from anetcon.capture.tables import Listed, Span, Tables

SETTLED = 2_000_000
"""Microseconds without a loss before a listing, and without a refused event after it; the kernel repeats those many
times a second. What was lost is older then than those whose end no listing tells (`identity.odd.TOLERANCE`)."""

SHARE = 100
PAUSE = 200_000
"""Microseconds between two listings, at least."""

MOST = 5
"""How often a namespace is listed again when something came between."""


class _Wanted:
    """A namespace that is to be listed, or is. `silent`: connections created in these times report no end."""

    def __init__(self) -> None:
        self.tries = 0
        self.again = False
        """Whether something was lost since the listing began."""
        self.silent: list[Span] = []
        self.since = 0
        """When the latest loss was told of."""
        self.begun = 0
        self.done = 0
        self.drops = 0
        self.sheds = 0
        self.segment = 0


class Listings:
    """`tick` is to be called about once a second; `drain` reads what waits in a namespace's socket."""

    def __init__(
        self,
        tables: Tables,
        journals: Journals,
        clock: Callable[[], int],
        drain: Callable[[Namespace, int], int],
    ) -> None:
        self._tables = tables
        self._journals = journals
        self._clock = clock
        self._drain = drain
        self._wanted: dict[Namespace, _Wanted] = {}
        self._current: Namespace | None = None
        self._next = 0

    def want(self, namespace: Namespace, silent: Span | None = None) -> None:
        """Something of this namespace was lost: list it when that is over."""
        wanted = self._wanted.setdefault(namespace, _Wanted())
        wanted.tries, wanted.again, wanted.since = 0, True, self._clock()
        if silent is not None:
            wanted.silent.append(silent)

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._wanted.pop(namespace, None)
        if self._current is namespace:
            self._current = None

    def stepped(self, by: int) -> None:
        """The wall clock was set: what is under way counts for nothing."""
        self._next += by
        for wanted in self._wanted.values():
            wanted.sheds, wanted.since = -1, wanted.since + by

    def waiting(self) -> int:
        """How many namespaces are to be listed."""
        return len(self._wanted)

    def tick(self, now: int) -> None:
        """Begin the next listing when it is time, or finish the one that is done."""
        if self._current is not None:
            wanted = self._wanted[self._current]
            if wanted.done and now >= wanted.done + SETTLED and self._journals.flushed > wanted.done:
                self._finish(self._current, wanted)
        elif now >= self._next:
            calm = (each for each, why in self._wanted.items() if now - max(each.dropped, why.since) >= SETTLED)
            if (namespace := next(calm, None)) is not None:
                self._begin(namespace, self._wanted[namespace], now)

    def _begin(self, namespace: Namespace, wanted: _Wanted, now: int) -> None:
        self._current = namespace
        wanted.begun, wanted.done = now, 0
        wanted.drops, wanted.sheds, wanted.segment = namespace.drops, self._journals.sheds, self._journals.segment
        wanted.tries += 1
        wanted.again = False
        self._tables.listed(namespace, wanted.silent, lambda listed: self._listed(namespace, listed))

    def _listed(self, namespace: Namespace, listed: Listed | None) -> None:
        wanted = self._wanted.get(namespace)
        if wanted is None or self._current is not namespace:
            return
        wanted.done = self._clock()
        self._next = wanted.done + max(PAUSE, SHARE * (wanted.done - wanted.begun))
        self._drain(namespace, wanted.done)
        if listed is None or listed.unread:
            wanted.sheds = -1

    def _finish(self, namespace: Namespace, wanted: _Wanted) -> None:
        self._current = None
        lost = wanted.drops != namespace.drops or wanted.sheds != self._journals.sheds
        if not lost and wanted.segment == self._journals.segment:
            self._journals.listed(namespace.netns, namespace.inode, wanted.begun, self._journals.flushed)
        elif wanted.tries < MOST:
            return
        if not wanted.again:
            del self._wanted[namespace]
