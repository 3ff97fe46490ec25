"""Lines of LOG rules (net/netfilter/nf_log_syslog.c), as /dev/kmsg gives them, into columns: many at a time.

A record is `<facility*8+level>,<number>,<microseconds>,<flags>;<prefix>IN=... OUT=... SRC=... DST=... PROTO=... `. One
regular expression walks over all of them in C, and each column is looked up in a table of what was read before
(measured: about 2 us a line, where `pyarrow.compute.extract_regex` takes 5 us for as many groups).

What the kernel prints, and what follows from it here:

- every value is followed by a blank, so a line that was cut has none at its end and is not read
- SRC and DST are those of the packet in POSTROUTING: before SNAT, after DNAT
- ports are there for TCP, UDP and UDPLITE; ESP and AH have an SPI; any other protocol is its number alone (SCTP too)
- ICMP has a type and a code, and an ID when it is an echo
- an IPv6 packet with an ESP header has no PROTO, so that it cannot be told from a cut line: it is undecodable
- a blank cannot be in the name of an interface, so nobody can forge a value by one
- bytes that are not printable, and backslashes, are escaped as \\xNN: a prefix too

Only records of facility 0 are the kernel's; user space can write every other (the kernel changes 0 into 1 for it).
Refuses to guess: a line with our prefix that is not wholly as expected is counted as undecodable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import numpy as np

from anetcon.decode.columns import NONE, Array, Columns
from anetcon.record import Class, EndReason, Family, Origin, StartIs

NOT_OURS = -1
"""The code of a namespace whose lines are passed over."""

PROTOCOLS = {b"TCP": 6, b"UDP": 17, b"UDPLITE": 136, b"ICMP": 1, b"ICMPv6": 58, b"ESP": 50, b"AH": 51}
WITH_PORTS, WITH_TYPES = (6, 17, 136), (1, 58)
ECHOES = {1: (0, 8), 58: (128, 129)}
"""Types of ICMP, by protocol, that have an ID."""

Texts = tuple[bytes, ...]

BAD = -2
"""What `Known` has for a text that cannot be read."""
_HAS_ID = 1 << 32
_MOST = 1 << 17
_MAPPED = bytes(10) + b"\xff\xff"

PACKET = (
    rb"IN=[^ \n]* OUT=[^ \n]* (?:(?!SRC=)[A-Z]+=[^ \n]* )*SRC=([0-9a-f.:]+) DST=([0-9a-f.:]+) LEN=\d+ "
    rb"(?:TOS=0x[0-9A-F]{2} PREC=0x[0-9A-F]{2} TTL=\d+ ID=\d+ |TC=\d+ HOPLIMIT=\d+ FLOWLBL=\d+ )"
    rb"(?:(?!PROTO=)[^ \n]+ )*PROTO=([A-Za-z0-9]+) "
    rb"(?:SPT=(\d+) DPT=(\d+) |(TYPE=\d+ CODE=\d+ (?:ID=\d+ |(?!ID=))))?"
    rb"(?:(?!MARK=)[^ \n]+ )*(?:MARK=0x([0-9a-f]{1,8}) )?\n"
)
"""What the kernel prints of a packet, to the end of the line. Groups: source, destination, protocol, both ports, type
with code and id, mark."""


@dataclass(frozen=True)
class Prefix:
    """What our rules print before the packet: `<common><dnat|other>[<hash of the namespace>] `."""

    common: str
    dnat: str
    other: str
    hashed: bool

    def pattern(self) -> re.Pattern[bytes]:
        """Groups: facility 0, sequence, time, class, hash, PACKET's seven, and the rest of a line that is not so."""
        common, dnat, other = (re.escape(escaped(part)) for part in (self.common, self.dnat, self.other))
        hashed = rb"(?:\[([0-9a-f]{8})\])?" if self.hashed else rb"()"
        ours = rb"(?:%s(%s|%s)%s (?:%s|([^\n]*\n)))?" % (common, dnat, other, hashed, PACKET)
        return re.compile(rb"^(?:([0-7]),|\d+,)(\d{1,18}),(\d{1,18}),[^;\n]*;(?(1)" + ours + rb"|)", re.MULTILINE)


def escaped(text: str) -> bytes:
    """A text as /dev/kmsg shows it."""
    return b"".join(b"%c" % byte if 32 <= byte < 127 and byte != 0x5C else b"\\x%02x" % byte for byte in text.encode())


@dataclass(frozen=True)
class DecodedLines:
    """What was in a batch: sequence number and kernel time of each record in it, ours or not; and, of the lines with
    our prefix that could not be decoded, the hashes (empty where there is none). The rows are in the columns."""

    sequence: Array
    time: Array
    undecodable: list[bytes]


class Known(dict[bytes, int]):
    """Numbers by text, each parsed once; what `parse` refuses (ValueError, OSError) is BAD."""

    def __init__(self, parse: Callable[[bytes], int]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: bytes) -> int:
        try:
            value = self[text] = self._parse(text)
        except (ValueError, OSError):
            return BAD
        return value

    def column(self, texts: Texts) -> Array:
        """The numbers of a column."""
        return _column(self.__getitem__, texts, np.int64)


class Packets:
    """The texts of PACKET's groups, with what stands before them, into columns. Keeps what was read before."""

    def __init__(self, classes: Mapping[bytes, int]) -> None:
        self._classes = classes
        self._words = np.zeros((256, 2), np.uint64)
        self._families = np.zeros(256, np.int8)
        self._addresses = Known(self._address)
        self._ports, self._types = Known(_port), Known(_type)
        self._protocols, self._marks = Known(_protocol), Known(_mark)

    def forget(self) -> None:
        """Make room, where very much was read."""
        for known in (self._addresses, self._ports, self._types, self._protocols, self._marks):
            if len(known) > _MOST:
                known.clear()

    def append(self, times: Array, texts: list[Texts], codes: Mapping[bytes, int], out: Columns) -> Array:
        """Append a row for each of these texts: class, hash of the namespace, PACKET's seven groups. Returns which are
        as the kernel prints them; the others are for the caller to take out again."""
        kind, hashes, *packet = texts
        (sources, one), (destinations, other) = self.addresses(packet[0]), self.addresses(packet[1])
        families = self.families(packet[0])
        protocol, mark = self._protocols.column(packet[2]), self._marks.column(packet[6])
        from_port, to_port, good = self._numbers(protocol, packet)
        good &= one & other & (families == self.families(packet[1])) & (protocol >= 0) & (mark >= 0)
        code = _column(codes.__getitem__, hashes, np.int32)
        here = slice(out.rows, out.rows + len(kind))
        of = out.of
        of["class"][here] = kinds = _column(self._classes.__getitem__, kind, np.int8)
        of["start"][here], of["proto"][here], of["netns"][here], of["mark"][here] = times, protocol, code, mark
        out.words["src_ip"][here], of["src_port"][here] = sources, from_port
        out.words["nat_dst_ip"][here], of["nat_dst_port"][here] = destinations, to_port
        untranslated = kinds == Class.NAT
        out.words["dst_ip"][here] = destinations * untranslated[:, None]
        of["dst_port"][here] = to_port * untranslated
        for name in ("nat_src_ip", "nat_src_port", "zone", "ct_id", "netns_inode"):
            of[name][here] = 0
        of["end"][here], of["end_reason"][here], of["origin"][here] = NONE, EndReason.UNKNOWN, Origin.LOG
        of["family"][here], of["reply"][here], of["start_is"][here] = families, NONE, StartIs.BEGIN
        out.give_nothing(here)
        out.rows = here.stop
        return good

    def addresses(self, texts: Texts) -> tuple[Array, Array]:
        """Addresses as (n, 2) words, and which could be read."""
        found = self._addresses.column(texts)
        return self._words[found], found >= 0

    def families(self, texts: Texts) -> Array:
        """The family of each address; any for one that could not be read."""
        return self._families[self._addresses.column(texts)]

    def _numbers(self, protocol: Array, packet: list[tuple[bytes, ...]]) -> tuple[Array, Array, Array]:
        """Both ports as records have them, and which rows have what their protocol should."""
        source, destination = self._ports.column(packet[3]), self._ports.column(packet[4])
        ported = source != NONE
        good = (ported == np.isin(protocol, WITH_PORTS)) & (source != BAD) & (destination != BAD)
        typed = np.isin(protocol, WITH_TYPES)
        if ported.all() and not typed.any():
            return source, destination, good
        types = self._types.column(packet[5])
        good &= ((types != NONE) == typed) & (types != BAD)
        kinds = types >> 8 & 0xFF
        for number, echoes in ECHOES.items():
            good &= ~((protocol == number) & np.isin(kinds, echoes)) | (types & _HAS_ID != 0)
        there = ported | typed
        source = np.where(typed, types >> 16 & 0xFFFF, source) * there
        return source, np.where(typed, types & 0xFFFF, destination) * there, good

    def _address(self, text: bytes) -> int:
        """Where in `_words` an address is."""
        shown, number = text.decode(), len(self._addresses)
        packed = inet_pton(AF_INET6, shown) if ":" in shown else _MAPPED + inet_pton(AF_INET, shown)
        if number >= len(self._words):
            self._words = np.concatenate([self._words, np.zeros_like(self._words)])
            self._families = np.concatenate([self._families, np.zeros_like(self._families)])
        self._families[number] = Family.IPV6 if ":" in shown else Family.IPV4
        self._words[number] = np.frombuffer(packed, np.uint64)
        return number


class LineDecoder(Packets):
    """Records of /dev/kmsg. One for each process."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__({escaped(prefix.other): int(Class.NAT), escaped(prefix.dnat): int(Class.FLOAT)})
        self._pattern = prefix.pattern()

    def decode(self, data: bytes, codes: Mapping[bytes, int], out: Columns) -> DecodedLines:
        """Append a row for each line with our prefix to `out`, which must have room for every line of `data`.

        `start` is the kernel's own time, to be made wall clock by the caller; `codes` gives the namespace's code for
        each hash (`b""` for none), NOT_OURS to leave its lines out.
        """
        self.forget()
        found = self._pattern.findall(data)
        if not found:
            return DecodedLines(np.zeros(0, np.int64), np.zeros(0, np.int64), [])
        _, sequence, time, *ours, rest = zip(*found, strict=True)
        lines = DecodedLines(_integers(sequence), _integers(time), [])
        times = lines.time
        if any(rest):
            lines.undecodable.extend(h for h, r in zip(ours[1], rest, strict=True) if r and codes[h] != NOT_OURS)
        if any(rest) or not all(ours[2]):  # SRC
            rows = [row for row, (there, left) in enumerate(zip(ours[2], rest, strict=True)) if there and not left]
            ours = [tuple(map(column.__getitem__, rows)) for column in ours]
            times = times[rows]
        if len(times):
            first = out.rows
            good = self.append(times, ours, codes, out)
            known = out.of["netns"][first : out.rows] != NOT_OURS
            lines.undecodable.extend(ours[1][row] for row in np.flatnonzero(~good & known))
            out.keep(first, good & known)
        return lines


def _column(number: Callable[[bytes], int], texts: Texts, dtype: type[np.signedinteger[Any]]) -> Array:
    return np.fromiter(map(number, texts), dtype, len(texts))


def _integers(texts: Texts) -> Array:
    return _column(int, texts, np.int64)


def _port(text: bytes) -> int:
    """A number of 16 bits; NONE where there is none."""
    if not text:
        return NONE
    return _within(int(text), 0xFFFF)


def _type(text: bytes) -> int:
    """`TYPE=8 CODE=0 ID=99 `: _HAS_ID, the id, then type*256+code, 16 bits each; NONE where there is no type."""
    if not text:
        return NONE
    kind, code, *rest = (int(word.partition(b"=")[2]) for word in text.split())
    identifier = _within(rest[0], 0xFFFF) << 16 | _HAS_ID if rest else 0
    return identifier | _within(kind, 0xFF) << 8 | _within(code, 0xFF)


def _protocol(text: bytes) -> int:
    return PROTOCOLS[text] if text in PROTOCOLS else _within(int(text), 0xFF)


def _mark(text: bytes) -> int:
    return int(text, 16) if text else 0


def _within(number: int, most: int) -> int:
    if number > most:
        raise ValueError(f"{number} is over {most}")
    return number
