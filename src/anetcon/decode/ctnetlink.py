"""The fast decoder: many ctnetlink messages in one numpy pass, straight into the capture columns.

A *shape* is a message length with every attribute header at its place. The kernel builds messages of few shapes (a
flood one, real traffic a dozen or two), so a batch is compared with the shapes known for its lengths: one masked
comparison of whole words covers length, type and all headers. What matches is sliced column by column at the shape's
offsets. What matches none goes to the oracle, which also teaches its shape. The number of shapes is bounded; past it
unknown messages are decoded one by one, slowly but rightly.

Rows come out grouped by shape, not in order of arrival: nothing behind this may rely on the order within one batch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anetcon.decode.columns import NONE, SOURCED, Array, Columns
from anetcon.decode.oracle import PLACES, Event, decode, locate
from anetcon.netlink import headers as k
from anetcon.netlink.framing import Malformed
from anetcon.record import EndReason, Family, Origin, Reply, StartIs

if sys.byteorder != "little":  # pragma: no cover - no such machine to test on
    raise ImportError("the fast decoder reads attribute headers as little-endian words")

SLOT = 512
"""Bytes of one message slot; the longest event seen is 292 bytes. Longer ones arrive truncated and are counted."""

MAX_SHAPES = 512
TOGETHER = 64
"""Messages that are compared as one long row: numpy's price of a row is paid once for them."""
_MAPPED = np.uint32(0xFFFF0000)  # bytes 8-11 of ::ffff:0:0/96, as a little-endian word

_BY_TCP_STATE = np.full(256, NONE, np.int8)
_BY_TCP_STATE[k.TCP_CONNTRACK_FIN_WAIT : k.TCP_CONNTRACK_TIME_WAIT + 1] = EndReason.CLOSED
_BY_TCP_STATE[k.TCP_CONNTRACK_CLOSE] = EndReason.RESET

_BY_STATUS = np.full(256, Reply.NONE, np.int8)
_BY_STATUS[np.arange(256) & k.IPS_SEEN_REPLY != 0] = Reply.SEEN
_BY_STATUS[np.arange(256) & k.IPS_ASSURED != 0] = Reply.ASSURED


class Shape:
    """One learnt shape: which words to compare, and where each value lies (payload offsets by the oracle's names)."""

    def __init__(self, message: bytes) -> None:
        located = locate(message)
        self.at = located.where
        self.destroy = message[4:6] == k.TYPE_DESTROY.to_bytes(2, "little")
        width = padded(len(message))
        mask = np.zeros(width, np.uint8)
        mask[0:6] = 0xFF  # nlmsg_len, nlmsg_type
        for header in located.headers:
            mask[header : header + k.NLA_HDRLEN] = 0xFF
        self.mask = mask.view(np.uint64)
        self.expected = np.frombuffer(message.ljust(width, b"\0"), np.uint64) & self.mask
        self._telling = 0

    def tell_from(self, others: Sequence[Shape]) -> None:
        """Have `seem` look at the word that tells this shape from most of these, which have its length."""
        different = [(self.expected ^ other.expected) & self.mask & other.mask != 0 for other in others]
        self._telling = int(np.argmax(np.sum(different, axis=0))) if different else 0

    def seem(self, slots: Array, rows: Array) -> Array:
        """Which of these slots, all of one length, seem to be of this shape rather than of one it was told from."""
        word = slots.view(np.uint64)[rows, self._telling]
        seeming: Array = (word & self.mask[self._telling]) == self.expected[self._telling]
        return seeming

    def all_match(self, words: Array) -> bool:
        """Whether every row of (n, words) uint64 is of this shape, which is told five times as fast as which are: a bit
        that differs in some row shows in what any row has set, or in what all have."""
        whole = len(words) - len(words) % TOGETHER
        if whole:
            many = words[:whole].reshape(-1, TOGETHER * words.shape[1])
            for reduce in (np.bitwise_or.reduce, np.bitwise_and.reduce):
                found = reduce(reduce(many, axis=0).reshape(TOGETHER, -1), axis=0)
                if ((found ^ self.expected) & self.mask).any():
                    return False
        return bool(self.matches(words[whole:]).all())

    def matches(self, words: Array) -> Array:
        """Which rows of (n, words) uint64 are of this shape."""
        different: Array = np.bitwise_or.reduce((words & self.mask) ^ self.expected, axis=1)
        same: Array = different == 0
        return same


def padded(length: int) -> int:
    """A length rounded up to whole 64-bit words."""
    return (length + 7) & ~7


@dataclass(frozen=True)
class Batch:
    """Messages as received: (n, SLOT) bytes, their lengths, the code of each one's namespace, and what they are."""

    slots: Array
    lengths: Array
    codes: Array
    now: int
    """Our clock in microseconds: the time of whatever the kernel gives no time for."""
    origin: Origin = Origin.EVENT


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: positions in it of messages that were undecodable, and that the oracle had to take."""

    undecodable: list[int]
    slow: list[int]


class Decoder:
    """Keeps the shapes learnt so far. One for each process; `decode` may be called with any batch."""

    def __init__(self) -> None:
        self.shapes: dict[int, list[Shape]] = {}
        self.learnt = 0

    def decode(self, batch: Batch, out: Columns) -> Outcome:
        """Append the batch's rows to `out`, which must have room for them all."""
        outcome = Outcome([], [])
        if not len(batch.lengths):
            return outcome
        lengths = np.minimum(batch.lengths, SLOT + 1).astype(np.uint16)
        by_length = np.argsort(lengths, kind="stable")  # of 16 bits: numpy sorts them by radix
        tally = np.bincount(lengths)
        present = np.flatnonzero(tally)
        for length, rows in zip(present.tolist(), np.split(by_length, np.cumsum(tally[present])[:-1]), strict=True):
            if not k.ATTRIBUTES <= length <= SLOT:
                outcome.undecodable.extend(rows.tolist())
            else:
                self._decode_length(batch, rows, length, out, outcome)
        return outcome

    def _decode_length(self, batch: Batch, rows: Array, length: int, out: Columns, outcome: Outcome) -> None:
        """Decode the messages of one length. Which shape each has is guessed by one word before its bytes are copied,
        then all of them are compared."""
        known = self.shapes.get(length, [])
        unknown = [] if known else [rows]
        for number, shape in enumerate(known, 1):
            these = rows
            if number < len(known):  # the last takes what is left
                seeming = shape.seem(batch.slots, rows)
                these, rows = rows[seeming], rows[~seeming]
            packed = _packed(batch.slots, these, length)
            if shape.all_match(packed.view(np.uint64)):
                _extract(shape, batch, these, packed, out)
                continue
            matched = shape.matches(packed.view(np.uint64))
            _extract(shape, batch, these[matched], packed[matched], out)
            unknown.append(these[~matched])
        if unknown:
            self._decode_unknown(batch, np.concatenate(unknown), length, out, outcome)

    def _decode_unknown(self, batch: Batch, rows: Array, length: int, out: Columns, outcome: Outcome) -> None:
        """Decode messages whose shape was guessed wrongly, or is not known yet."""
        packed = _packed(batch.slots, rows, length)
        for shape in self.shapes.get(length, ()):
            matched = shape.matches(packed.view(np.uint64))
            if matched.any():
                _extract(shape, batch, rows[matched], packed[matched], out)
                rows, packed = rows[~matched], packed[~matched]
        while len(rows):
            first = int(rows[0])
            message = packed[0, :length].tobytes()
            outcome.slow.append(first)
            try:
                learnt = self._learn(message)
            except Malformed:
                outcome.undecodable.append(first)
                outcome.slow.pop()
                rows, packed = rows[1:], packed[1:]
                continue
            if learnt is None:
                _put(decode(message), batch, first, out)
                rows, packed = rows[1:], packed[1:]
                continue
            matched = learnt.matches(packed.view(np.uint64))
            _extract(learnt, batch, rows[matched], packed[matched], out)
            rows, packed = rows[~matched], packed[~matched]

    def _learn(self, message: bytes) -> Shape | None:
        """The message's shape, remembered; None when there are too many. Raises Malformed."""
        shape = Shape(message)
        if self.learnt >= MAX_SHAPES:
            return None
        self.learnt += 1
        same_length = self.shapes.setdefault(len(message), [])
        same_length.append(shape)
        for number, each in enumerate(same_length):
            each.tell_from(same_length[number + 1 :])
        return shape


def _packed(slots: Array, rows: Array, length: int) -> Array:
    """Copies of these messages, one behind the other: (n, padded length) bytes. To copy each as one item takes two
    thirds of the time that an index over bytes takes."""
    width = padded(length)
    start = np.dtype({"names": ["message"], "formats": [f"V{width}"], "itemsize": SLOT})
    copied: Array = slots.view(start)["message"][rows, 0]
    return copied.view(np.uint8).reshape(len(rows), width)


def _extract(shape: Shape, batch: Batch, rows: Array, packed: Array, out: Columns) -> None:
    """Slice the values of messages that are all of one shape into the columns."""
    values = _Values(shape.at, packed)
    here = slice(out.rows, out.rows + len(rows))
    of = out.of
    for side, source, destination in (("orig.", "src_ip", "dst_ip"), ("reply.", "nat_dst_ip", "nat_src_ip")):
        values.address(side + "src", out.words[source], here)
        values.address(side + "dst", out.words[destination], here)
    _ports(values, shape, of, here)
    of["family"][here] = Family.IPV4 if "orig.src4" in shape.at else Family.IPV6
    of["reply"][here] = _replies(values, shape) if shape.destroy or batch.origin is Origin.DUMP else NONE
    of["zone"][here] = values.u16("zone" if "zone" in shape.at else "orig.zone")
    for field in SOURCED:
        place = PLACES[field.name]
        of[field.name][here] = getattr(values, field.kind)(place)
        if field.nullable:
            out.given[field.name][here] = place in shape.at
    timed = "start" in shape.at or ("happened" in shape.at and not shape.destroy and batch.origin is Origin.EVENT)
    of["start_is"][here] = StartIs.BEGIN if timed else StartIs.FOUND
    if shape.destroy:  # an end may be before its start: both are the wall clock's, which somebody may have set back
        end = values.microseconds("stop" if "stop" in shape.at else "happened", batch.now)
        of["end"][here] = end
        of["start"][here] = values.microseconds("start", end)
        of["end_reason"][here] = _end_reasons(values, shape)
    else:
        of["end"][here] = NONE
        of["start"][here] = values.microseconds("start" if "start" in shape.at else "happened", batch.now)
        of["end_reason"][here] = NONE
    of["netns"][here] = batch.codes[rows]
    of["origin"][here] = batch.origin
    out.rows = here.stop


def _ports(values: _Values, shape: Shape, of: dict[str, Array], here: slice) -> None:
    if "orig.icmp_id" not in shape.at:
        of["src_port"][here] = values.u16("orig.sport")
        of["dst_port"][here] = values.u16("orig.dport")
        of["nat_src_port"][here] = values.u16("reply.dport")
        of["nat_dst_port"][here] = values.u16("reply.sport")
        return
    kind = values.u8("orig.icmp_type").astype(np.uint16) << 8 | values.u8("orig.icmp_code")
    of["src_port"][here] = values.u16("orig.icmp_id")
    of["nat_src_port"][here] = values.u16("reply.icmp_id" if "reply.icmp_id" in shape.at else "reply.sport")
    of["dst_port"][here] = kind
    of["nat_dst_port"][here] = kind


def _replies(values: _Values, shape: Shape) -> Array | int:
    """`oracle.reply`, for a whole column."""
    counted = "reply.packets" in shape.at
    if "status" not in shape.at and not counted:
        return NONE
    found: Array = _BY_STATUS[values.low8("status")]
    if counted:
        found = np.maximum(found, (values.u64("reply.packets") != 0).view(np.int8))
    return found


def _end_reasons(values: _Values, shape: Shape) -> Array:
    """`oracle.end_reason`, for a whole column."""
    late = np.where(values.u32("timeout") != 0, np.int8(EndReason.EVICTED), np.int8(EndReason.TIMEOUT))
    reasons = late
    if "tcp_state" in shape.at:
        reasons = _BY_TCP_STATE[values.u8("tcp_state")]
        reasons = np.where(reasons == NONE, late, reasons)
    deleted = values.native(12) != 0  # nlmsg_pid
    return np.where(deleted, np.int8(EndReason.DELETED), reasons) if deleted.any() else reasons


class _Values:
    """The values of messages of one shape, as columns; a value the shape lacks is one zero for all of them."""

    def __init__(self, at: dict[str, int], packed: Array) -> None:
        self.at = at
        self.packed = packed
        self._u32 = packed.view(np.uint32)
        self._be16 = packed.view(">u2")
        self._be32 = packed.view(">u4")
        self._be64 = packed.view(">u8")
        self._be64_odd = packed[:, 4:-4].view(">u8")

    def native(self, offset: int) -> Array:
        """A header's 32-bit word."""
        return self._u32[:, offset >> 2]

    def u8(self, name: str) -> Any:
        return self.packed[:, self.at[name]] if name in self.at else np.uint8(0)

    def low8(self, name: str) -> Any:
        """The low byte of a 32-bit value."""
        return self.packed[:, self.at[name] + 3] if name in self.at else np.uint8(0)

    def u16(self, name: str) -> Any:
        return self._be16[:, self.at[name] >> 1] if name in self.at else np.uint16(0)

    def u32(self, name: str) -> Any:
        return self._be32[:, self.at[name] >> 2] if name in self.at else np.uint32(0)

    def u64(self, name: str) -> Any:
        if name not in self.at:
            return np.uint64(0)
        at = self.at[name]  # attributes are aligned to 4 bytes, not to 8
        return self._be64[:, at >> 3] if at % 8 == 0 else self._be64_odd[:, (at - 4) >> 3]

    def microseconds(self, name: str, default: Array | int) -> Array | int:
        """A time in nanoseconds as microseconds, or the default where the shape has none."""
        return (self.u64(name) // 1000).astype(np.int64) if name in self.at else default

    def address(self, name: str, words: Array, here: slice) -> None:
        """Write an address, IPv4 mapped into IPv6, as two words."""
        if name + "4" in self.at:
            words[here, 0] = 0
            halves = words.view(np.uint32)
            halves[here, 2] = _MAPPED
            halves[here, 3] = self._u32[:, self.at[name + "4"] >> 2]
            return
        at = self.at[name + "6"] >> 2
        words.view(np.uint32)[here] = self._u32[:, at : at + 4]


def _put(event: Event, batch: Batch, row: int, out: Columns) -> None:
    """Write one event of the oracle's as a row: what `_extract` does for many."""
    at = out.rows
    of = out.of
    for name in ("family", "src_port", "dst_port", "nat_src_port", "nat_dst_port", "zone"):
        of[name][at] = getattr(event, name)
    for name in out.words:
        of[name][at] = np.frombuffer(getattr(event, name), np.uint8)
    for name, value in event.sourced.items():
        of[name][at] = value or 0
    for name, mask in out.given.items():
        mask[at] = event.sourced[name] is not None
    happened = batch.now if event.happened is None else event.happened // 1000
    end = happened if event.stop is None else event.stop // 1000
    first = end if event.destroy else happened
    of["start"][at] = first if event.start is None else event.start // 1000
    timed = event.start is not None or (
        event.happened is not None and not event.destroy and batch.origin is Origin.EVENT
    )
    of["start_is"][at] = StartIs.BEGIN if timed else StartIs.FOUND
    of["end"][at] = end if event.destroy else NONE
    of["end_reason"][at] = NONE if event.end_reason is None else event.end_reason
    told = event.reply if event.destroy or batch.origin is Origin.DUMP else None
    of["reply"][at] = NONE if told is None else told
    of["netns"][at] = batch.codes[row]
    of["origin"][at] = batch.origin
    out.rows += 1
