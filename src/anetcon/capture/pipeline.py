"""The hot path: sockets -> slots -> decode -> classify -> columns -> journal. Does nothing that can wait.

Messages of all namespaces are received into one array of slots and decoded together, when it is full or a flush is
due: one numpy pass over thousands of messages costs a quarter of what passes over hundreds do (measured).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from anetcon.capture.ageless import Ageless
from anetcon.capture.codes import Codes
from anetcon.capture.namespace import Namespace
from anetcon.capture.recvmmsg import Slots
from anetcon.capture.writer import Journals
from anetcon.classify import OwnAddresses, Wanted, classes
from anetcon.decode.columns import NONE, Array, Columns
from anetcon.decode.ctnetlink import SLOT, Batch, Decoder
from anetcon.gaps import Cause, Gap
from anetcon.link import counters
from anetcon.record import Family, Origin
from anetcon.system import clock
from anetcon.system.clock import Moment

SLOTS = 16384
ROWS = 4 * SLOTS
FORGED = np.uint32(SLOT + 1)
"""The length given to what another program sent, not the kernel: none that fits a slot, so it is undecodable."""
_SLOT = np.dtype([(name, np.uint64) for name in counters.SLOT])

Networks = dict[str, list[tuple[bytes, bytes, Family]]]
"""Of a namespace, by its name: address and mask of each network, 16 bytes each."""


class Pipeline:
    """Owns slots, columns and the namespaces' codes; the journals are told when to flush.

    `networks` narrow the namespaces named. `late` tells how late it is by now: a flush is given the time up to which
    all was read, and more was read since.
    """

    def __init__(
        self,
        journals: Journals,
        shared: mmap.mmap,
        protocols: set[int],
        networks: Networks | None = None,
        late: Callable[[], Moment] = clock.now,
    ) -> None:
        self.journals = journals
        self.columns = Columns(ROWS)
        self.decoder = Decoder()
        self.own = OwnAddresses()
        self.counted: NDArray[np.void] = np.frombuffer(shared, _SLOT, offset=counters.HEADER_SIZE)
        """The counters of namespaces: `counted[name][slot]`."""
        self.codes = Codes()
        self.ageless = Ageless()
        self.undecodable: dict[str, int] = {}
        self._late = late
        self._protocols, self._networks = protocols, networks or {}
        self._wanted = Wanted(protocols, {})
        self._slots = Slots(SLOTS)
        self._runs: list[tuple[int, int]] = []

    def add(self, namespace: Namespace) -> None:
        """Take a namespace in."""
        self.codes.add(namespace)
        self._narrow()
        self.addresses_changed(namespace)

    def remove(self, namespace: Namespace) -> None:
        """Forget a namespace."""
        self.codes.remove(namespace)
        self.ageless.forget(namespace)

    def _narrow(self) -> None:
        networks, codes = self._networks, self.codes
        self._wanted = Wanted(
            self._protocols, {codes[n]: networks[n.netns] for n in codes.attached() if n.netns in networks}
        )

    def addresses_changed(self, namespace: Namespace) -> None:
        """Take the namespace's own addresses as they are now."""
        self.own.set(self.codes[namespace], set(namespace.context.addresses()))

    def waiting(self) -> bool:
        """Whether a flush would write something."""
        return self._slots.used > 0 or self.columns.rows > 0

    def drain(self, namespace: Namespace, now: Moment) -> int:
        """Take every event that waits in a namespace's socket; how many. Raises OSError."""
        total = 0
        slots, descriptor, code = self._slots, namespace.descriptor, self.codes[namespace]
        while True:
            room = slots.count - slots.used
            taken = slots.receive(descriptor)
            if taken:
                self._runs.append((code, taken))
                total += taken
            if taken < room:
                return total
            self.process(now)

    def process(self, now: Moment) -> None:
        """Decode what was received into the columns."""
        used = self._slots.used
        if used:
            codes, counts = np.array(self._runs, np.int32).T
            self._slots.used = 0
            self._runs.clear()
            lengths = np.where(self._slots.senders[:used] == 0, self._slots.lengths[:used], FORGED)
            self.take(Batch(self._slots.data[:used], lengths, np.repeat(codes, counts), now.wall), now)

    def take(self, batch: Batch, now: Moment) -> None:
        """Decode events, classify them, and keep those that are wanted."""
        if self.columns.room() < len(batch.lengths):
            self.write(now, whole=False)
        first = self.columns.rows
        outcome = self.decoder.decode(batch, self.columns)
        self._count(batch.codes, "events")
        self._count(batch.codes[outcome.slow], "slow")
        self._count(batch.codes[outcome.undecodable], "undecodable")
        for row in outcome.undecodable:
            name = self.codes.names[batch.codes[row]]
            self.undecodable[name] = self.undecodable.get(name, 0) + 1
        self._finish(first)

    def append(self, found: Columns, now: Moment, fresh: Array | None = None) -> None:
        """Add rows that were learnt otherwise (a dump); they are classified and filtered as events are. Of the open
        ones only those that are `fresh` count as starts (None: none does): the others were, or are still to be, told
        by an event."""
        if self.columns.room() < found.rows:
            self.write(now, whole=False)
        first = self.columns.rows
        self.columns.append(found)
        self._finish(first, np.zeros(found.rows, np.bool_) if fresh is None else fresh)

    def take_lines(self, first: int, undecodable: list[int]) -> None:
        """Finish the rows from `first` on, which are kernel lines; and the codes of lines that could not be decoded."""
        codes = np.concatenate([self.columns.of["netns"][first : self.columns.rows], np.array(undecodable, np.int32)])
        self._count(codes, "events")
        self._count(np.array(undecodable, np.int32), "undecodable")
        for code in undecodable:
            name = self.codes.names[code]
            self.undecodable[name] = self.undecodable.get(name, 0) + 1
        self._choose(first)

    def take_packets(self, found: Columns, unread: int, namespace: Namespace, now: Moment) -> None:
        """Add rows that are packets of no connection; and how many messages of them could not be read."""
        if unread:
            self.undecodable[namespace.netns] = self.undecodable.get(namespace.netns, 0) + unread
            self._count(np.full(unread, self.codes[namespace], np.int32), "undecodable")
        if self.columns.room() < found.rows:
            self.write(now, whole=False)
        here = slice(self.columns.rows, self.columns.rows + found.rows)
        self.columns.append(found)
        self.columns.of["class"][here] = classes(self.columns.of, self.columns.words, here, self.own)
        self._keep(here.start)

    def _finish(self, first: int, starts: Array | None = None) -> None:
        columns, of = self.columns, self.columns.of
        here = slice(first, columns.rows)
        self._restore_starts(here)
        of["class"][here] = classes(of, columns.words, here, self.own)
        self._choose(first, starts)

    def _choose(self, first: int, starts: Array | None = None) -> None:
        """Keep the rows from `first` on that are wanted, and count them. `starts`: which may count as one."""
        chosen = self._keep(first)
        of, here = self.columns.of, slice(first, self.columns.rows)
        starts = starts if starts is None or chosen is None else starts[chosen]
        ended = of["end"][here] != NONE
        self._count(of["netns"][here][ended], "ends")
        self._count(of["netns"][here][~ended if starts is None else ~ended & starts], "starts")

    def _keep(self, first: int) -> Array | None:
        """Keep the rows from `first` on that are wanted: a mask over them, None when all are."""
        columns, of = self.columns, self.columns.of
        here = slice(first, columns.rows)
        of["netns_inode"][here] = self.codes.inodes[of["netns"][here]]
        chosen = self._wanted.choose(of, columns.words["src_ip"][here], here)
        if chosen is not None:
            self._count(of["netns"][here][~chosen], "filtered")
            columns.keep(first, chosen)
        return chosen

    def _restore_starts(self, here: slice) -> None:
        """An end for which the kernel has no start time gets the one its namespace's dump was given.

        Such connections are older than our attaching, and few.
        """
        of = self.columns.of
        for row in np.flatnonzero(of["start"][here] == of["end"][here]) + here.start:
            namespace = self.codes.by_code[of["netns"][row]]
            if namespace is not None:
                of["start"][row] = self.ageless.end(namespace, key(of, int(row)), of["start"][row])

    def _count(self, codes: Array, counter: str) -> None:
        if len(codes):
            slots = self.codes.slots
            counts = np.bincount(codes, minlength=len(slots))
            there = (counts > 0) & (slots >= 0)
            self.counted[counter][slots[there]] += counts[there].astype(np.uint64)

    def write(self, now: Moment, *, whole: bool = True) -> None:
        """Flush the columns; `whole` as of `Journals.flush`: when they are full, more of what came may wait."""
        for name, count in self.undecodable.items():
            until = max(now.wall, self._late().wall)
            self.journals.gap(Gap(name, self.journals.taken, until, Cause.UNDECODABLE, count))
        self.undecodable.clear()
        self.journals.flush(self.columns, self.codes.names, now, whole=whole)

    def flush(self, now: Moment) -> None:
        """Decode and write whatever there is, and take codes of namespaces that are gone back into use."""
        self.process(now)
        self.write(now)
        if self.columns.rows == 0 and self.codes.stale():
            self.renumber()

    def renumber(self) -> None:
        """Give codes anew. Slots and columns must be empty."""
        before, self.codes, self.own = self.codes, Codes(), OwnAddresses()
        for namespace in before.attached():
            self.codes.add(namespace)
            self.addresses_changed(namespace)
        self._narrow()


_KEY = ("family", "proto", "zone", "src_ip", "src_port", "dst_ip", "dst_port")


def key(of: dict[str, Array], row: int) -> bytes:
    """The original tuple of one row, as bytes: for the few connections that are looked up one by one."""
    return b"".join(of[name][row].tobytes() for name in _KEY)


def tracked(columns: Columns) -> dict[int, frozenset[str]]:
    """By code, of which families (`ip`, `ip6`) the columns have what the kernel announced."""
    here = slice(0, columns.rows)
    of = {name: columns.of[name][here] for name in ("netns", "family", "origin")}
    places = np.flatnonzero(np.bincount((2 * of["netns"] + of["family"])[of["origin"] == Origin.EVENT]))
    found: dict[int, frozenset[str]] = {}
    for code, family in (divmod(place, 2) for place in places.tolist()):
        found[code] = found.get(code, frozenset()) | {("ip", "ip6")[family]}
    return found
