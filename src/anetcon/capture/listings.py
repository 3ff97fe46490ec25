"""After a loss the connection table is listed again, so that what is still open is known: one namespace at a time.

What is in the table becomes rows of origin `dump`. What is not there ended, though its end was lost: the sealer sees
that from a row of the table `listings`, which says that everything open at `from` has such a row. That row is written
only when it is true: the loss was over before, no END can be on its way any more (the socket was drained after the
listing, and the kernel had nothing to repeat from SETTLED before to SETTLED after it), every message could be read, and
all of it is on disk, in one segment. Otherwise the table is listed another time.

While a loss goes on the table is listed now and then all the same: what is open is on record then, and no more is
claimed.

Refuses to take more than 1 % of a core: the next listing waits a hundred times as long as one takes.
"""

from __future__ import annotations

from collections.abc import Callable

from anetcon.capture.losses import Losses
from anetcon.capture.namespace import Namespace
from anetcon.capture.table_dumps import Listed, Span, Tables
from anetcon.capture.writer import Journals
from anetcon.system.clock import Moment

SETTLED = 2_000_000
"""Microseconds without a loss before a listing, and without a refused event after it; the kernel repeats those many
times a second. What was lost is older then than those whose end no listing tells (`identity.odd.TOLERANCE`)."""

SHARE = 100
PAUSE = 200_000
"""Microseconds between two listings, at least."""

AGAIN = 10_000_000
"""Microseconds between two listings of a namespace while its loss goes on, at least."""

MOST = 5
"""How often a namespace is listed again when something came between."""


class _Wanted:
    """A namespace that is to be listed, or is. `silent`: connections created in these times report no end."""

    def __init__(self, now: Moment) -> None:
        self.tries = 0
        self.again = False
        """Whether something was lost since the listing began."""
        self.silent: list[Span] = []
        self.since = 0
        """When the latest loss was told of, by the steady clock."""
        self.begun = now
        """When its last listing began; before the first, when it was wanted."""
        self.done = 0
        """When that was over, by the steady clock; 0: none is to be settled."""
        self.before: tuple[int, ...] | None = None
        """How what may spoil it was before; None: it counts for nothing."""


class Listings:
    """`tick` is to be called about once a second; `drain` reads what waits in a namespace's socket."""

    def __init__(
        self,
        tables: Tables,
        journals: Journals,
        losses: Losses,
        clock: Callable[[], Moment],
        drain: Callable[[Namespace, Moment], int],
    ) -> None:
        self._tables = tables
        self._journals = journals
        self._losses = losses
        self._clock = clock
        self._drain = drain
        self._wanted: dict[Namespace, _Wanted] = {}
        self._current: Namespace | None = None
        self._next = 0

    def want(self, namespace: Namespace, silent: Span | None = None) -> None:
        """Something of this namespace was lost: list it when that is over."""
        now = self._clock()
        wanted = self._wanted.setdefault(namespace, _Wanted(now))
        wanted.tries, wanted.again, wanted.since = 0, True, now.steady
        if silent is not None:
            wanted.silent.append(silent)

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._wanted.pop(namespace, None)
        if self._current is namespace:
            self._current = None

    def waiting(self) -> int:
        """How many namespaces are to be listed."""
        return len(self._wanted)

    def waits(self, namespace: Namespace) -> bool:
        """Whether this one is to be listed."""
        return namespace in self._wanted

    def tick(self, now: Moment) -> list[tuple[Namespace, Moment]]:
        """Begin the next listing when it is time, and finish those that are settled: of which namespaces everything
        that was open is on record, and when that was."""
        found = []
        for namespace, wanted in list(self._wanted.items()):
            settled = wanted.done and now.steady >= wanted.done + SETTLED
            if settled and self._journals.flushed.steady > wanted.done:
                wanted.done = 0
                if self._finish(namespace, wanted):
                    found.append((namespace, wanted.begun))
        if self._current is None and now.steady >= self._next:
            idle = [(each, why) for each, why in self._wanted.items() if not why.done]
            calm = [each for each, why in idle if now.steady - max(self._losses.latest(each), why.since) >= SETTLED]
            long = [each for each, why in idle if now.steady - why.begun.steady >= AGAIN]
            if calm or long:
                self._begin((calm or long)[0], now, calm=bool(calm))
        return found

    def _begin(self, namespace: Namespace, now: Moment, *, calm: bool) -> None:
        self._current, wanted = namespace, self._wanted[namespace]
        wanted.begun = now
        wanted.before = self._state(namespace) if calm else None
        wanted.tries += calm
        wanted.again = not calm
        self._tables.listed(namespace, wanted.silent, lambda listed: self._listed(namespace, listed))

    def _listed(self, namespace: Namespace, listed: Listed | None) -> None:
        wanted = self._wanted.get(namespace)
        if wanted is None or self._current is not namespace:
            return
        now = self._clock()
        self._current, wanted.done = None, now.steady
        self._next = wanted.done + max(PAUSE, SHARE * (wanted.done - wanted.begun.steady))
        self._drain(namespace, now)
        if listed is None or listed.unread:
            wanted.before = None

    def _state(self, namespace: Namespace) -> tuple[int, ...]:
        """What is another afterwards when something came between: an event was refused, rows were dropped, another
        segment was begun, the clock was set."""
        journals = self._journals
        return self._losses.count(namespace), journals.backlog.sheds, journals.segments.number, journals.steps

    def _finish(self, namespace: Namespace, wanted: _Wanted) -> bool:
        whole = wanted.before == self._state(namespace)
        if whole:
            self._journals.listed(namespace.netns, namespace.inode, wanted.begun.wall, self._journals.flushed.wall)
        if not wanted.again and (whole or wanted.tries >= MOST):
            del self._wanted[namespace]
        return whole
