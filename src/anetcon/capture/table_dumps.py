"""What a namespace's connection table tells that events do not: what was open before, and what is left at the end.

- At attach: every open connection becomes a row of origin `dump`.
- Connections older than the kernel's timestamps have no start time and never report their end (measured: opened while
  nf_conntrack_events was off, they never do). They are remembered and looked up again until they are gone.
- When the namespace goes: what is still open ended with it (`namespace-gone`), since the kernel sends no events then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from anetcon.capture.namespace import Namespace
from anetcon.capture.pipeline import Pipeline, key
from anetcon.capture.requests import Job, Requests
from anetcon.decode.columns import NONE, Array, Columns
from anetcon.decode.ctnetlink import SLOT, Batch, Decoder
from anetcon.netlink import dump
from anetcon.record import EndReason, Origin
from anetcon.system.clock import Moment

PIECE = 2048
LOOK_AGAIN = 30_000_000
"""Microseconds between two looks for connections without a start time, at least."""

SHARE = 200
"""How many times longer than a look takes the next one waits: at most 0.5 % of a core."""

Finish = Callable[[Columns, Moment], None]


class Opened(NamedTuple):
    """What a first dump found: open connections, and how many of them are older than our listening."""

    found: int
    older: int


class Listed(NamedTuple):
    """A whole table was listed: how many connections, and how many messages could not be read."""

    found: int
    unread: int


Span = tuple[int, int]
"""From and to, microseconds."""


class Tables:
    """Asks for connection tables and adds what they hold to the pipeline."""

    def __init__(self, pipeline: Pipeline, requests: Requests) -> None:
        self._pipeline = pipeline
        self._requests = requests
        self._silent: dict[Namespace, dict[bytes, bytes]] = {}
        """Connections that report no end though their start is known: their rows by tuple and start."""
        self._look_again: dict[Namespace, int] = {}
        """Not before then, by the steady clock."""
        self._decoder = Decoder()
        self._columns = Columns(PIECE)
        self._slots = np.zeros((PIECE, SLOT), np.uint8)
        self._unread = 0

    def opened(self, namespace: Namespace, done: Callable[[Opened | None], None], *, record: bool = True) -> None:
        """Record what is open already, or only count it; `done` gets what was found, None if that is unknown."""
        found = older = 0

        def take(columns: Columns, now: Moment) -> None:
            nonlocal found, older
            start = columns.of["start"][: columns.rows]
            found += columns.rows
            before = (start < namespace.attached) | (start == now.wall)
            older += int(np.count_nonzero(before))
            if record:
                self._remember(namespace, columns, now.wall)
                self._pipeline.append(columns, now, None if namespace.resumed else before)

        self._ask(namespace, take, lambda answered: done(Opened(found, older) if answered else None))

    def listed(self, namespace: Namespace, silent: list[Span], done: Callable[[Listed | None], None]) -> None:
        """Record what is open once more. What began in a span of `silent` reports no end, and is looked up again."""
        found, unread = 0, self._unread

        def take(columns: Columns, now: Moment) -> None:
            nonlocal found
            found += columns.rows
            self._remember(namespace, columns, now.wall)
            for row in _within(columns, silent):
                self._silent.setdefault(namespace, {})[_life(columns, row)] = columns.row_bytes(row)
            self._pipeline.append(columns, now)

        self._ask(namespace, take, lambda answered: done(Listed(found, self._unread - unread) if answered else None))

    def ended(self, namespace: Namespace, done: Callable[[bool], None]) -> None:
        """Record that what is open now ended, for the namespace is gone."""

        def take(columns: Columns, now: Moment) -> None:
            for row, known in _ageless(columns, now.wall):
                columns.of["start"][row] = self._pipeline.ageless.first_seen(namespace, known, now.wall)
            columns.of["end"][: columns.rows] = now.wall
            columns.of["end_reason"][: columns.rows] = EndReason.NAMESPACE_GONE
            self._pipeline.append(columns, now)

        self._ask(namespace, take, done, urgent=True)

    def look_again(self, namespace: Namespace, now: Moment) -> None:
        """See which of the connections without a start time are gone, and record their end."""
        ageless, silent = self._pipeline.ageless, self._silent.get(namespace, {})
        if not (ageless.any(namespace) or silent) or now.steady < self._look_again.get(namespace, 0):
            return
        self._look_again[namespace] = now.steady + LOOK_AGAIN
        there: set[bytes] = set()
        starts = [_start(life) for life in silent]
        span = [(min(starts), max(starts))] if starts else []

        def take(columns: Columns, now: Moment) -> None:
            there.update(known for _, known in _ageless(columns, now.wall))
            there.update(_life(columns, row) for row in _within(columns, span))

        def done(answered: bool) -> None:
            after = self._requests.clock()
            self._look_again[namespace] = after.steady + max(LOOK_AGAIN, SHARE * (after.steady - now.steady))
            if answered:
                self._gone(namespace, ageless.keep(namespace, there), after)
                self._gone(namespace, [silent.pop(life) for life in silent.keys() - there], after)

        self._ask(namespace, take, done)

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        self._silent.pop(namespace, None)
        self._look_again.pop(namespace, None)

    def _remember(self, namespace: Namespace, columns: Columns, now: int) -> None:
        for row, known in _ageless(columns, now):
            seen = self._pipeline.ageless.remember(namespace, known, now, columns.row_bytes(row))
            columns.of["start"][row] = seen

    def _gone(self, namespace: Namespace, rows: list[bytes], now: Moment) -> None:
        """Write the ends of connections that are no longer in the table; when exactly and why is not known."""
        for row in rows:
            self._columns.rows = 0
            self._columns.append_bytes(row)
            self._columns.of["netns"][0] = self._pipeline.codes[namespace]
            self._columns.of["end"][0] = now.wall
            self._columns.of["end_reason"][0] = EndReason.UNKNOWN
            self._pipeline.append(self._columns, now)

    def _ask(self, namespace: Namespace, take: Finish, done: Callable[[bool], None], urgent: bool = False) -> None:
        exchange = dump.connections(lambda answers: self._decode(namespace, answers, take))
        self._requests.ask(Job(namespace, exchange, done), urgent)

    def _decode(self, namespace: Namespace, answers: list[bytes], take: Finish) -> None:
        now = self._requests.clock()
        lengths = np.zeros(len(answers), np.int64)
        for row, message in enumerate(answers):
            lengths[row] = len(message)
            if len(message) <= SLOT:
                self._slots[row, : len(message)] = np.frombuffer(message, np.uint8)
        codes: Array = np.full(len(answers), self._pipeline.codes[namespace], np.int32)
        self._columns.rows = 0
        batch = Batch(self._slots[: len(answers)], lengths, codes, now.wall, Origin.DUMP)
        self._unread += len(self._decoder.decode(batch, self._columns).undecodable)
        open_rows = self._columns.of["end"][: self._columns.rows] == NONE
        self._columns.keep(0, open_rows)
        take(self._columns, now)


def _ageless(columns: Columns, now: int) -> Iterator[tuple[int, bytes]]:
    """The rows for which the kernel gave no start time (they have ours), and their tuples."""
    for row in np.flatnonzero(columns.of["start"][: columns.rows] == now).tolist():
        yield row, key(columns.of, row)


def _within(columns: Columns, spans: list[Span]) -> list[int]:
    """The rows that began in one of these times."""
    start = columns.of["start"][: columns.rows]
    chosen = np.zeros(columns.rows, np.bool_)
    for begin, end in spans:
        chosen |= (start >= begin) & (start <= end)
    return np.flatnonzero(chosen).tolist()


def _life(columns: Columns, row: int) -> bytes:
    """What tells one connection from another of its tuple: the tuple and its start."""
    start: bytes = columns.of["start"][row].tobytes()
    return key(columns.of, row) + start


def _start(life: bytes) -> int:
    return int.from_bytes(life[-8:], sys.byteorder, signed=True)
