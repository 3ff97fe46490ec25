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

PIECE = 2048
LOOK_AGAIN = 30_000_000
"""Microseconds between two looks for connections without a start time, at least."""

SHARE = 200
"""How many times longer than a look takes the next one waits: at most 0.5 % of a core."""

Finish = Callable[[Columns, int], None]


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

    def __init__(self, pipeline: Pipeline, requests: Requests, clock: Callable[[], int]) -> None:
        self._pipeline = pipeline
        self._requests = requests
        self._clock = clock
        self._decoder = Decoder()
        self._columns = Columns(PIECE)
        self._slots = np.zeros((PIECE, SLOT), np.uint8)
        self._unread = 0

    def opened(self, namespace: Namespace, done: Callable[[Opened | None], None], *, record: bool = True) -> None:
        """Record what is open already, or only count it; `done` gets what was found, None if that is unknown."""
        found = older = 0

        def take(columns: Columns, now: int) -> None:
            nonlocal found, older
            start = columns.of["start"][: columns.rows]
            found += columns.rows
            before = (start < namespace.attached) | (start == now)
            older += int(np.count_nonzero(before))
            if record:
                self._remember(namespace, columns, now)
                self._pipeline.append(columns, now, None if namespace.resumed else before)

        self._ask(namespace, take, lambda answered: done(Opened(found, older) if answered else None))

    def listed(self, namespace: Namespace, silent: list[Span], done: Callable[[Listed | None], None]) -> None:
        """Record what is open once more. What began in a span of `silent` reports no end, and is looked up again."""
        found, unread = 0, self._unread

        def take(columns: Columns, now: int) -> None:
            nonlocal found
            found += columns.rows
            self._remember(namespace, columns, now)
            for row in _within(columns, silent):
                namespace.silent[_life(columns, row)] = columns.row_bytes(row)
            self._pipeline.append(columns, now)

        self._ask(namespace, take, lambda answered: done(Listed(found, self._unread - unread) if answered else None))

    def ended(self, namespace: Namespace, done: Callable[[bool], None]) -> None:
        """Record that what is open now ended, for the namespace is gone."""

        def take(columns: Columns, now: int) -> None:
            for row, known in _ageless(columns, now):
                columns.of["start"][row] = namespace.ageless.get(known, (now, b""))[0]
            columns.of["end"][: columns.rows] = now
            columns.of["end_reason"][: columns.rows] = EndReason.NAMESPACE_GONE
            self._pipeline.append(columns, now)

        self._ask(namespace, take, done, urgent=True)

    def look_again(self, namespace: Namespace, now: int) -> None:
        """See which of the connections without a start time are gone, and record their end."""
        if not (namespace.ageless or namespace.silent) or now < namespace.look_again:
            return
        namespace.look_again = now + LOOK_AGAIN
        there: set[bytes] = set()
        starts = [_start(life) for life in namespace.silent]
        span = [(min(starts), max(starts))] if starts else []

        def take(columns: Columns, now: int) -> None:
            there.update(known for _, known in _ageless(columns, now))
            there.update(_life(columns, row) for row in _within(columns, span))

        def done(answered: bool) -> None:
            after = self._clock()
            namespace.look_again = after + max(LOOK_AGAIN, SHARE * (after - now))
            if answered:
                ageless = [namespace.ageless.pop(known)[1] for known in namespace.ageless.keys() - there]
                self._gone(namespace, ageless, after)
                self._gone(namespace, [namespace.silent.pop(life) for life in namespace.silent.keys() - there], after)

        self._ask(namespace, take, done)

    def _remember(self, namespace: Namespace, columns: Columns, now: int) -> None:
        for row, known in _ageless(columns, now):
            if known in namespace.ageless:
                columns.of["start"][row] = namespace.ageless[known][0]
            else:
                namespace.ageless[known] = now, columns.row_bytes(row)

    def _gone(self, namespace: Namespace, rows: list[bytes], now: int) -> None:
        """Write the ends of connections that are no longer in the table; when exactly and why is not known."""
        for row in rows:
            self._columns.rows = 0
            self._columns.append_bytes(row)
            self._columns.of["netns"][0] = namespace.code
            self._columns.of["end"][0] = now
            self._columns.of["end_reason"][0] = EndReason.UNKNOWN
            self._pipeline.append(self._columns, now)

    def _ask(self, namespace: Namespace, take: Finish, done: Callable[[bool], None], urgent: bool = False) -> None:
        exchange = dump.connections(lambda answers: self._decode(namespace, answers, take))
        self._requests.ask(Job(namespace, exchange, done), self._clock(), urgent)

    def _decode(self, namespace: Namespace, answers: list[bytes], take: Finish) -> None:
        now = self._clock()
        lengths = np.zeros(len(answers), np.int64)
        for row, message in enumerate(answers):
            lengths[row] = len(message)
            if len(message) <= SLOT:
                self._slots[row, : len(message)] = np.frombuffer(message, np.uint8)
        codes: Array = np.full(len(answers), namespace.code, np.int32)
        self._columns.rows = 0
        batch = Batch(self._slots[: len(answers)], lengths, codes, now, Origin.DUMP)
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
