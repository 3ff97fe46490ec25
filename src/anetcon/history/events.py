"""Text of `conntrack -E`, with `-o timestamp` (also `id`, `extended`, `ktimestamp`, `labels`), into columns.

    [1795438789.966552]	    [NEW] tcp      6 120 SYN_SENT src=... dst=... sport=... dport=... [UNREPLIED] src=...
    [1795438793.981620]	[DESTROY] tcp      6 TIME_WAIT src=... packets=6 bytes=339 src=... [ASSURED] delta-time=1

Both tuples are in each event, so both sides of the translation are known. NEW and the next DESTROY of the same tuple
and zone are one connection; a NEW that has none has no end. The time of a DESTROY is when it was printed, which may be
a minute after the end: where `delta-time` says how long the connection lasted, that is believed. A DESTROY without its
NEW began `delta-time` before, unless the store has it (`known`). Without `-o timestamp` only a DESTROY with
`[start=…] [stop=…]` has a time; events that have none, and no such DESTROY, are counted.

What an UPDATE tells is in the other two. The namespace is not in the text: the reader is told it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, tzinfo
from functools import lru_cache
from itertools import islice

import numpy as np

from anetcon.decode.columns import COUNTERS, NONE, Array
from anetcon.decode.logline import BAD, Known, Packets
from anetcon.history.line_batch import TOLD, UNTOLD, LineBatch, ended
from anetcon.history.stamps import SECOND
from anetcon.history.syslog import LINES, BlockCounts, port
from anetcon.record import Class, EndReason

MARKERS = (b"[NEW] ", b"[DESTROY] ", b"[UPDATE] ")

MOST_OPEN = 1_000_000
"""Beyond so many connections without an end the oldest are given up: their text has no DESTROY events."""

_BEHIND = rb"(?: |(?=\n))"
_TUPLE = (
    rb"src=([0-9a-f.:]+) dst=([0-9a-f.:]+)%(b)s(?:sport=(\d+) dport=(\d+)%(b)s|type=(\d+) code=(\d+) id=(\d+)%(b)s"
    rb"|srckey=\S+ dstkey=\S+%(b)s)?(?:zone(?:-orig|-reply)?=(\d+)%(b)s)?(?:packets=(\d+) bytes=(\d+)%(b)s)?"
    rb"(?:\[UNREPLIED\]%(b)s)?"
) % {b"b": _BEHIND}
_EVENT = re.compile(
    rb"^(?:\[(\d{1,11})\.(\d{6})\]\s)?[ \t]*\[(NEW|DESTROY|UPDATE)\] (?:ipv[46] +\d+ )?\S+ +(\d{1,3}) "
    rb"(?:\d+ )?(?:([A-Z_0-9]+) )?" + _TUPLE + _TUPLE + rb"([^\n]*)\n",
    re.MULTILINE,
)
_TAIL = re.compile(
    rb"(?:(mark|zone|id|delta-time)=(\d{1,10})(?!\S))|\[(start|stop)=([^\]]{1,40})\]",
)
_WIDTH = 10  # groups of a tuple

_CLOSED = {b"TIME_WAIT", b"LAST_ACK", b"CLOSE_WAIT", b"FIN_WAIT"}

Texts = tuple[bytes, ...]
Row = tuple[int, int, int, Texts, dict[bytes, bytes]]
"""Start, end, what `Batch` has as `lasted`, the event's groups, the words behind its tuples."""

Opened = tuple[int, bytes]
"""Start, and the groups of its NEW in one text: there may be very many, and objects are large."""


class Events:
    """Reads blocks; one for all files. `latest`: no event is from a later time (microseconds)."""

    def __init__(self, zone: tzinfo, latest: int) -> None:
        self._zone, self._latest = zone, latest
        self._open: dict[bytes, Opened] = {}
        self._timeless: set[bytes] = set()
        self._rows: list[Row] = []
        self._packets = Packets({})
        self._ports, self._counts = Known(port), Known(_count)
        self._times: list[int] = []
        self.times = np.zeros(0, np.int64)
        """When the events of the last block were."""
        self.untimed = 0
        """Events of which no time is known, so that they are no connection: known when `finish` was called."""
        self.zoneless = self.folded = 0
        """Times that were believed of the kernel's own, which are printed without a zone; of them those of an hour that
        was twice, which were read as the first."""

    @property
    def waiting(self) -> int:
        """Rows that `take` would append."""
        return len(self._rows)

    def read(self, block: bytes) -> BlockCounts:
        """Take in the events of a block. `rows` says how many lines were events."""
        matched = _EVENT.findall(block)
        found = BlockCounts(lines=block.count(b"\n"), rows=len(matched))
        good = self._good(matched)
        if len(matched) != sum(block.count(marker) for marker in MARKERS) or not good.all():
            found.unreadable = list(self._unreadable(block))
            matched = [groups for groups, fine in zip(matched, good, strict=True) if fine]
            found.rows = len(matched)
        self._times = []
        for groups in matched:
            at = _printed(groups)
            if at is not None:
                self._times.append(at)
            if groups[2] != b"UPDATE":
                self._take(at, groups)
        self.times = np.array(self._times, np.int64)
        return found

    def _good(self, matched: list[Texts]) -> Array:
        """Which events have addresses and numbers that are some, and no time to come."""
        good: Array = np.ones(len(matched), np.bool_)
        if not matched:
            return good
        columns = list(zip(*matched, strict=True))
        for at in (5, 6, 5 + _WIDTH, 6 + _WIDTH):
            good &= self._packets.addresses(columns[at])[1]
        for at in (3, *(first + n for first in (5, 5 + _WIDTH) for n in (2, 3, 4, 5, 6))):
            good &= self._ports.column(columns[at]) != BAD
        for at in (3, 9, 10, 9 + _WIDTH, 10 + _WIDTH):
            good &= self._ports.column(columns[at]) < 256
        good &= np.array([(_printed(groups) or 0) <= self._latest for groups in matched])
        return good

    def _unreadable(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Lines that look like events and cannot be read as one."""
        for number, line in enumerate(LINES.findall(block)):
            if any(marker in line for marker in MARKERS) and b"src=" in line:
                matched = _EVENT.findall(line)
                if not matched or not self._good(matched).all():
                    yield number, line

    def _take(self, at: int | None, groups: Texts) -> None:
        zone = _words(groups[-1]).get(b"zone", b"") if b"zone=" in groups[-1] else b""
        key = b"\n".join((groups[3], *groups[5:13], zone))
        if groups[2] == b"NEW":
            if at is not None:
                before = self._open.pop(key, None)
                if before is not None and before[0] != at:  # else the same event, of a file that overlaps
                    self._endless(before)
                self._open[key] = at, b"\n".join(groups)
                if len(self._open) > MOST_OPEN:
                    self._endless(self._open.pop(next(iter(self._open))))
            elif key not in self._open:
                self._timeless.add(key)
                if len(self._timeless) > MOST_OPEN:
                    self._give_up()
            return
        tail = _words(groups[-1])
        opened = self._open.pop(key, None)
        lasted = int(tail[b"delta-time"]) * SECOND if b"delta-time" in tail else None
        start, end = self._bounds(at, opened[0] if opened else None, lasted, tail)
        if start is not None and end is not None:
            told = TOLD if opened or at is None else UNTOLD if lasted is None else lasted
            self._rows.append((start, max(start, end), told, groups, tail))
            self._timeless.discard(key)
            if at is None:
                self._times += [start, max(start, end)]
        else:
            self.untimed += 1
            if opened:
                self._endless(opened)

    def _give_up(self) -> None:
        """No end of these will tell when they began."""
        self.untimed += len(self._timeless)
        self._timeless.clear()

    def _endless(self, opened: Opened) -> None:
        start, groups = opened[0], tuple(opened[1].split(b"\n"))
        self._rows.append((start, NONE, TOLD, groups, _words(groups[-1])))

    def _bounds(
        self, at: int | None, opened: int | None, lasted: int | None, tail: dict[bytes, bytes]
    ) -> tuple[int | None, int | None]:
        """When a connection that was destroyed began and ended."""
        if at is None:
            stop = self._moment(tail.get(b"stop", b""))
            return (opened if opened is not None else self._moment(tail.get(b"start", b""))), stop
        if opened is None:
            return (at if lasted is None else max(at - lasted, 0)), at
        return opened, ended(opened, at, UNTOLD if lasted is None else lasted)

    def _moment(self, text: bytes) -> int | None:
        """A time of the kernel's own."""
        found = _moments(text, self._zone)
        if found is None:
            return None
        self.zoneless += 1
        self.folded += found[1] > found[0]
        return found[0]

    def finish(self, most: int = MOST_OPEN) -> bool:
        """There is no more text: what is open has no end. So many at a time; whether there were any."""
        self._give_up()
        oldest = list(islice(self._open, most))
        for key in oldest:
            self._endless(self._open.pop(key))
        return bool(oldest)

    def take(self, out: LineBatch, node: int, netns: int) -> None:
        """Append the rows that are whole, as many as there is room for."""
        rows, self._rows = self._rows[: out.room()], self._rows[out.room() :]
        self._packets.forget()
        starts, ends, lasted, groups, tails = zip(*rows, strict=True)
        here = slice(out.rows, out.rows + len(rows))
        out.plain(here)
        out.rows = here.stop
        of = out.of
        of["start"][here], of["end"][here], of["lasted"][here], of["both"][here] = starts, ends, lasted, True
        of["node"][here], of["netns"][here] = node, netns
        of["start_is"][here] = of["lasted"][here] == UNTOLD  # StartIs.FOUND
        _, _, _, proto, state, *sides = (tuple(column) for column in list(zip(*groups, strict=True))[:-1])
        self._sides(proto, sides, out, here)
        self._rest(state, sides, tails, out, here)

    def _sides(self, proto: Texts, sides: list[Texts], out: LineBatch, here: slice) -> None:
        """Addresses and ports: the reply's destination is the source as the far side saw it."""
        of, words = out.of, out.words
        of["proto"][here] = self._ports.column(proto)
        typed = np.array([text != b"" for text in sides[4]])
        of["family"][here] = self._packets.families(sides[0])
        source, target = (self._packets.addresses(sides[n])[0] for n in (0, 1))
        reply_source, reply_target = (self._packets.addresses(sides[_WIDTH + n])[0] for n in (0, 1))
        ports, reply = ([self._ports.column(sides[at + n]) for n in (2, 3, 4, 5, 6)] for at in (0, _WIDTH))
        kinds = ports[2] << 8 | ports[3]
        moved = (target != reply_source).any(axis=1) | (~typed & (ports[1] != reply[0]))
        of["class"][here] = np.where(moved, Class.FLOAT, Class.NAT)
        for name, address_of, numbered in (
            ("src", source, np.where(typed, ports[4], ports[0])),
            ("dst", target, np.where(typed, kinds, ports[1])),
            ("nat_src", reply_target, np.where(typed, reply[4], reply[1])),
            ("nat_dst", reply_source, np.where(typed, kinds, reply[0])),
        ):
            words[f"{name}_ip"][here], of[f"{name}_port"][here] = address_of, numbered

    def _rest(
        self, state: Texts, sides: list[Texts], tails: tuple[dict[bytes, bytes], ...], out: LineBatch, here: slice
    ) -> None:
        """Counters, the reason of the end, zone, mark and id."""
        of = out.of
        counted = np.array([text != b"" for text in sides[8]]) & (of["end"][here] != NONE)
        places = (8, 9, _WIDTH + 8, _WIDTH + 9)
        for name, at in zip(COUNTERS, places, strict=True):
            of[name][here], out.given[name][here] = self._counts.column(sides[at]), counted
        reasons = [
            EndReason.CLOSED if text in _CLOSED else EndReason.RESET if text == b"CLOSE" else EndReason.UNKNOWN
            for text in state
        ]
        of["end_reason"][here] = np.where(of["end"][here] != NONE, reasons, EndReason.UNKNOWN)
        zones = [tail.get(b"zone") or zone or b"0" for tail, zone in zip(tails, sides[7], strict=True)]
        of["zone"][here] = [int(text) & 0xFFFF for text in zones]
        for name, word in (("mark", b"mark"), ("ct_id", b"id")):
            of[name][here] = np.array([int(tail.get(word, b"0")) & 0xFFFFFFFF for tail in tails], np.uint32)


def _printed(groups: Texts) -> int | None:
    """When an event was printed."""
    return int(groups[0]) * SECOND + int(groups[1]) if groups[0] else None


def _words(tail: bytes) -> dict[bytes, bytes]:
    return {a or c: b or d for a, b, c, d in _TAIL.findall(tail)}


@lru_cache(4096)
def _moments(text: bytes, zone: tzinfo) -> tuple[int, int] | None:
    """`Mon Nov 23 12:59:49 2026`, as conntrack prints the kernel's own times: when it was first, and again."""
    try:
        at = datetime.strptime(" ".join(text.decode().split()), "%a %b %d %H:%M:%S %Y")
        first, second = (int(at.replace(tzinfo=zone, fold=fold).timestamp()) * SECOND for fold in (0, 1))
    except (ValueError, OverflowError):
        return None
    return first, second


def _count(text: bytes) -> int:
    return min(int(text[:19] or b"0"), (1 << 63) - 1)
