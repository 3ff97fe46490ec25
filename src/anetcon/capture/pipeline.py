"""The hot path: sockets -> slots -> decode -> classify -> columns -> journal. Does nothing that can wait.

Messages of all namespaces are received into one array of slots and decoded together, when it is full or a flush is
due: one numpy pass over thousands of messages costs a quarter of what passes over hundreds do (measured).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable

import numpy as np

from anetcon.capture.namespace import Namespace
from anetcon.capture.recvmmsg import Slots
from anetcon.capture.writer import Journals
from anetcon.classify import OwnAddresses, Wanted, classes
from anetcon.decode.columns import NONE, Array, Columns
from anetcon.decode.ctnetlink import SLOT, Batch, Decoder
from anetcon.gaps import Cause, Gap
from anetcon.link import counters
from anetcon.record import Family, Origin

SLOTS = 16384
ROWS = 4 * SLOTS
FORGED = np.uint32(SLOT + 1)
"""The length given to what another program sent, not the kernel: none that fits a slot, so it is undecodable."""
_SLOT = {name: column for column, name in enumerate(counters.SLOT)}


class Pipeline:
    """Owns slots, columns and the namespaces' codes; the journals are told when to flush.

    Codes number the namespaces within the columns; a code is used again only after a flush has emptied them. `clock`
    tells how late it is by now: a flush is given the time up to which all was read, and more was read since.
    """

    def __init__(
        self, journals: Journals, shared: mmap.mmap, protocols: set[int], clock: Callable[[], int] = lambda: 0
    ) -> None:
        self.journals = journals
        self.columns = Columns(ROWS)
        self.decoder = Decoder()
        self.own = OwnAddresses()
        self.shared = np.frombuffer(shared, np.uint64, offset=counters.HEADER_SIZE).reshape(-1, len(counters.SLOT))
        self.names: list[str] = []
        self.by_code: list[Namespace | None] = []
        self.undecodable: dict[str, int] = {}
        self._strays: dict[str, tuple[int, int]] = {}
        """Code and inode by name, of namespaces that are not attached (any more)."""
        self._clock = clock
        self._protocols = protocols
        self._networks: dict[str, list[tuple[bytes, bytes, Family]]] = {}
        self._wanted = Wanted(protocols, {})
        self._slots = Slots(SLOTS)
        self._runs: list[tuple[int, int]] = []
        self._inodes = np.zeros(0, np.uint64)
        self._rows_of_code = np.zeros(0, np.int64)

    def narrow(self, networks: dict[str, list[tuple[bytes, bytes, Family]]]) -> None:
        """Take the networks, address and mask of 16 bytes each, that narrow the namespaces named."""
        self._networks = networks

    def add(self, namespace: Namespace) -> None:
        """Give a namespace its code."""
        namespace.code = len(self.names)
        self.names.append(namespace.netns)
        self.by_code.append(namespace)
        self._codes_changed()
        self.addresses_changed(namespace)

    def remove(self, namespace: Namespace) -> None:
        """Forget a namespace; its code stays taken until the next flush."""
        self.by_code[namespace.code] = None

    def code_of(self, netns: str, inode: int) -> int:
        """The code of a namespace by its name; one that is not attached (any more) gets a code of its own."""
        for namespace in self.by_code:
            if namespace is not None and namespace.netns == netns:
                return namespace.code
        if netns not in self._strays:
            self._strays[netns] = len(self.names), inode
            self.names.append(netns)
            self.by_code.append(None)
            self._codes_changed()
        return self._strays[netns][0]

    def only(self) -> int | None:
        """The code of the namespace that is attached, if it is one alone."""
        attached = [namespace.code for namespace in self.by_code if namespace is not None]
        return attached[0] if len(attached) == 1 else None

    def _codes_changed(self) -> None:
        self._inodes = np.array([n.inode if n else 0 for n in self.by_code], np.uint64)
        for code, inode in self._strays.values():
            self._inodes[code] = inode
        self._rows_of_code = np.array([n.slot if n else -1 for n in self.by_code], np.int64)
        named = {n.code: self._networks[n.netns] for n in self.by_code if n and n.netns in self._networks}
        self._wanted = Wanted(self._protocols, named)

    def addresses_changed(self, namespace: Namespace) -> None:
        """Take the namespace's own addresses as they are now."""
        self.own.set(namespace.code, set(namespace.context.addresses()))

    def waiting(self) -> bool:
        """Whether a flush would write something."""
        return self._slots.used > 0 or self.columns.rows > 0

    def drain(self, namespace: Namespace, now: int) -> int:
        """Take every event that waits in a namespace's socket; how many. Raises OSError."""
        total = 0
        slots, descriptor, code = self._slots, namespace.descriptor, namespace.code
        while True:
            room = slots.count - slots.used
            taken = slots.receive(descriptor)
            if taken:
                self._runs.append((code, taken))
                total += taken
            if taken < room:
                return total
            self.process(now)

    def process(self, now: int) -> None:
        """Decode what was received into the columns."""
        used = self._slots.used
        if used:
            codes, counts = np.array(self._runs, np.int32).T
            self._slots.used = 0
            self._runs.clear()
            lengths = np.where(self._slots.senders[:used] == 0, self._slots.lengths[:used], FORGED)
            self.take(Batch(self._slots.data[:used], lengths, np.repeat(codes, counts), now))

    def take(self, batch: Batch) -> None:
        """Decode events, classify them, and keep those that are wanted."""
        if self.columns.room() < len(batch.lengths):
            self.write(batch.now)
        first = self.columns.rows
        outcome = self.decoder.decode(batch, self.columns)
        self._count(batch.codes, "events")
        self._count(batch.codes[outcome.slow], "slow")
        self._count(batch.codes[outcome.undecodable], "undecodable")
        for row in outcome.undecodable:
            name = self.names[batch.codes[row]]
            self.undecodable[name] = self.undecodable.get(name, 0) + 1
        self._finish(first)

    def append(self, found: Columns, now: int, fresh: Array | None = None) -> None:
        """Add rows that were learnt otherwise (a dump); they are classified and filtered as events are. Of the open
        ones only those that are `fresh` count as starts (None: none does): the others were, or are still to be, told
        by an event."""
        if self.columns.room() < found.rows:
            self.write(now)
        first = self.columns.rows
        self.columns.append(found)
        self._finish(first, np.zeros(found.rows, np.bool_) if fresh is None else fresh)

    def take_lines(self, first: int, undecodable: list[int]) -> None:
        """Finish the rows from `first` on, which are kernel lines; and the codes of lines that could not be decoded."""
        codes = np.concatenate([self.columns.of["netns"][first : self.columns.rows], np.array(undecodable, np.int32)])
        self._count(codes, "events")
        self._count(np.array(undecodable, np.int32), "undecodable")
        for code in undecodable:
            self.undecodable[self.names[code]] = self.undecodable.get(self.names[code], 0) + 1
        self._choose(first)

    def take_packets(self, found: Columns, unread: int, namespace: Namespace, now: int) -> None:
        """Add rows that are packets of no connection; and how many messages of them could not be read."""
        if unread:
            self.undecodable[namespace.netns] = self.undecodable.get(namespace.netns, 0) + unread
            self._count(np.full(unread, namespace.code, np.int32), "undecodable")
        if self.columns.room() < found.rows:
            self.write(now)
        here = slice(self.columns.rows, self.columns.rows + found.rows)
        self.columns.append(found)
        self.columns.of["class"][here] = classes(self.columns.of, self.columns.words, here, self.own)
        self._keep(here.start)

    def tracked(self) -> dict[int, frozenset[str]]:
        """By code, of which families (`ip`, `ip6`) the columns have what the kernel announced."""
        here = slice(0, self.columns.rows)
        of = {name: self.columns.of[name][here] for name in ("netns", "family", "origin")}
        places = np.flatnonzero(np.bincount((2 * of["netns"] + of["family"])[of["origin"] == Origin.EVENT]))
        found: dict[int, frozenset[str]] = {}
        for code, family in (divmod(place, 2) for place in places.tolist()):
            found[code] = found.get(code, frozenset()) | {("ip", "ip6")[family]}
        return found

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
        of["netns_inode"][here] = self._inodes[of["netns"][here]]
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
            namespace = self.by_code[of["netns"][row]]
            if namespace is not None:
                of["start"][row] = namespace.ageless.pop(key(of, int(row)), (of["start"][row], b""))[0]

    def _count(self, codes: Array, counter: str) -> None:
        if len(codes):
            counts = np.bincount(codes, minlength=len(self.names))
            there = (counts > 0) & (self._rows_of_code >= 0)
            self.shared[self._rows_of_code[there], _SLOT[counter]] += counts[there].astype(np.uint64)

    def write(self, now: int) -> None:
        """Flush the columns."""
        for name, count in self.undecodable.items():
            self.journals.gap(Gap(name, self.journals.taken, max(now, self._clock()), Cause.UNDECODABLE, count))
        self.undecodable.clear()
        self.journals.flush(self.columns, self.names, now)

    def flush(self, now: int) -> None:
        """Decode and write whatever there is, and take codes of namespaces that are gone back into use."""
        self.process(now)
        self.write(now)
        live = [n for n in self.by_code if n]
        if self.columns.rows == 0 and len(self.by_code) > 2 * len(live) + 64:
            self.renumber(live)

    def renumber(self, live: Iterable[Namespace]) -> None:
        """Give codes anew. Slots and columns must be empty."""
        self.names, self.by_code = [], []
        self._strays.clear()
        self.own = OwnAddresses()
        for namespace in live:
            namespace.code = len(self.names)
            self.names.append(namespace.netns)
            self.by_code.append(namespace)
            self.addresses_changed(namespace)
        self._codes_changed()


_KEY = ("family", "proto", "zone", "src_ip", "src_port", "dst_ip", "dst_port")


def key(of: dict[str, Array], row: int) -> bytes:
    """The original tuple of one row, as bytes: for the few connections that are looked up one by one."""
    return b"".join(of[name][row].tobytes() for name in _KEY)
