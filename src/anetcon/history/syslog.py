"""Lines of LOG rules as a syslog daemon wrote them, and those of our own text logs (docs/reference/text-logs.md).

    Nov 20 13:05:09 host kernel: [12345.678901] [ANETCON][X][1a2b3c4d] IN=... OUT=... SRC=... DST=... PROTO=...

A block whose lines are all as they should be is walked over once by one regular expression. Any other is looked at line
by line: what rsyslog escaped (`#033`) or counted (`message repeated 2 times: [...]`), a blank lost at the end, the
zeros that truncating a log in use leaves before a line, a byte order mark. A line counts as ours when the program in it
is the kernel or anetcon and the message begins with a prefix of ours. Such a line that is not wholly as it is printed
is unreadable, never a row: one that may have been cut in the middle of a number too, one that the next was written
behind without a newline, and one whose prefix only begins as ours do. Every other line is somebody else's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import numpy as np

from anetcon import protocols
from anetcon.decode.columns import Array
from anetcon.decode.logline import BAD, PACKET, PROTOCOLS, Known, Packets, Prefix, Texts, escaped
from anetcon.history import stamps
from anetcon.history.line_batch import TOLD, LineBatch
from anetcon.history.names import NamespaceCodes, Nodes
from anetcon.history.stamps import Stamps
from anetcon.record import UNKNOWN_NETNS, Class, Origin
from anetcon.system.printable import canonical

OLDER = {b"[ANETCON] [NAT]": Class.NAT, b"[ANETCON] [FLOAT]": Class.FLOAT}
"""The prefixes of the first version, which had no hashes."""

TODAY = {b"[ANETCON][X]": Class.NAT, b"[ANETCON][D]": Class.FLOAT}

COMMON = b"[ANETCON]"
"""What all of these begin with."""

MOST_REPEATED = 10_000
"""Repetitions that the lines of one block may claim; more are not believed."""

_HOST = rb" ([^ \n]{1,80}) "
_HEAD = rb"(?:<\d{1,3}>)?" + stamps.PATTERN + _HOST + rb"(?:kernel|anetcon)(?:\[\d+\])?: ?(?:\[ *\d+\.\d{1,9}\] ?)?"
_NUMBER = rb"(\d{1,5})"
_ADDRESS = rb"([0-9a-f.:]+)"
_OURS = (
    rb" IN= OUT= SRC=%(a)s DST=%(a)s PROTO=(\w+)(?: SPT=%(n)s DPT=%(n)s| TYPE=%(n)s CODE=%(n)s ID=%(n)s)?"
    rb" NETNS=([^\n]*?)"
    rb"(?: NAT_SRC=%(a)s(?: NAT_SPT=%(n)s| NAT_ID=%(n)s)? NAT_DST=%(a)s(?: NAT_DPT=%(n)s)?)? ?\n"
) % {b"a": _ADDRESS, b"n": _NUMBER}

_PACKET_BEGINS = rb"[^\n=]{0,29} IN=[^ \n]* OUT="
"""What follows the beginning of a prefix: its rest, which the kernel limits, and a packet."""

_BEFORE = b"\0\xef\xbb\xbf"
_REPEATED = re.compile(rb"message repeated (\d+) times(?:: \[ ?(.*)\])?\s*$")
LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_TOLD = re.compile(rb" (?:SRC|DST|PROTO|SPT|DPT|TYPE|CODE|ID)=\S*$")
"""Behind such a value a line that lost its last blank may have lost more."""

_ESCAPE = re.compile(rb"#(0[0-3][0-7]|177)")
_BEGIN = re.compile(rb"(" + _HEAD + rb")(.*)", re.DOTALL)
_ANYBODY = re.compile(rb"(?:<\d{1,3}>)?" + stamps.PATTERN + _HOST + rb"[^:\n]{1,64}: ")


@dataclass
class BlockCounts:
    """What was in a block: lines, rows appended, how many of those a line repeated, lines of others; and the unreadable
    ones, by their number in it."""

    lines: int = 0
    rows: int = 0
    repeated: int = 0
    others: int = 0
    unreadable: list[tuple[int, bytes]] = field(default_factory=list)


class SyslogReader:
    """Reads blocks; one for all files. `latest`: no line is from a later time (microseconds)."""

    def __init__(self, prefix: Prefix, namespaces: NamespaceCodes, nodes: Nodes, latest: int) -> None:
        kinds = {**OLDER, **TODAY, **_configured(prefix)}
        self._namespaces, self._nodes, self._latest = namespaces, nodes, latest
        self._packets = Packets({text: int(kind) for text, kind in kinds.items()})
        self._kinds = kinds
        either = b"|".join(re.escape(text) for text in sorted(kinds, key=len, reverse=True))
        ours = rb"(%s)(?: ?\[([0-9a-f]{8})\])?" % either
        self._kernel = re.compile(rb"^" + _HEAD + ours + b" " + PACKET, re.MULTILINE)
        self._own = re.compile(rb"^" + _HEAD + ours + _OURS, re.MULTILINE)
        self._begins = re.compile(_HEAD + ours)
        self._commons = [text for text in dict.fromkeys((COMMON, prefix.common.encode())) if text.strip()]
        common = b"|".join(map(re.escape, self._commons))
        self._strange = re.compile(rb"^%s(?!%s)(?:%s)%s" % (_HEAD, either, common, _PACKET_BEGINS), re.MULTILINE)
        self._ports, self._protocols = Known(port), Known(_protocol)
        self._last = b""
        self._repeated = 0

    def read(self, block: bytes, times: Stamps, out: LineBatch) -> BlockCounts:
        """Append a row for each line of ours in `block`; `out` must have room for as many as it has lines."""
        first, mark = out.rows, times.mark()
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        kernel = self._kernel.findall(block)
        own = self._own.findall(block) if b" NETNS=" in block else []
        marked = sum(block.count(text) for text in self._kinds)
        plain = b"message repeated " not in block and not self._has_strange(block)
        if len(kernel) + len(own) == marked and plain:
            good = self._append(kernel, own, times, out)
            if all(mask.all() for mask in good):
                self._last = block[block.rfind(b"\n", 0, -1) + 1 :]
                return BlockCounts(lines, marked, others=lines - marked)
            out.rows = first
            times.back(mark)
        return self._slowly(block, times, out)

    def _slowly(self, block: bytes, times: Stamps, out: LineBatch) -> BlockCounts:
        found = BlockCounts()
        self._repeated = 0
        texts: tuple[list[bytes], list[bytes]] = [], []
        numbers: tuple[list[int], list[int]] = [], []
        lines: list[bytes] = LINES.findall(block)
        for number, line in enumerate(lines):
            text, times_said = self._said(line.lstrip(_BEFORE))
            which = 0 if self._kernel.match(text) else 1 if self._own.match(text) else None
            if which is not None and times_said and not self._is_two(text):
                texts[which].extend([text] * times_said)
                numbers[which].extend([number] * times_said)
            elif self._is_ours(text):
                found.unreadable.append((number, line))
            else:
                found.others += 1
            self._last = line
        rows = [pattern.findall(b"".join(some)) for pattern, some in zip((self._kernel, self._own), texts, strict=True)]
        first = out.rows
        good = self._append(rows[0], rows[1], times, out)
        for mask, places in zip(good, numbers, strict=True):
            bad = {places[row] for row in np.flatnonzero(~mask)}
            found.unreadable += [(number, lines[number]) for number in bad]
            found.repeated += int(np.count_nonzero(mask)) - len({*places} - bad)
        out.keep(first, np.concatenate(good))
        found.lines, found.rows = len(lines), out.rows - first
        found.unreadable.sort()
        return found

    def _said(self, line: bytes) -> tuple[bytes, int]:
        """What a line stands for, and how often: itself, mended; or another, 0 times where that is not believed."""
        if b"message repeated " in line and (match := _REPEATED.search(line)):
            begin = _ANYBODY.match(line)
            times = int(match[1][:9])
            self._repeated += times
            repeated = self._last if match[2] is None else (begin[0] if begin else b"") + match[2] + b" \n"
            if begin is None or not self._has_marker(repeated):
                return line, 1
            believed = self._repeated <= MOST_REPEATED and len(match[1]) <= 9
            return _mended(repeated), times if believed else 0
        return _mended(line) if self._has_marker(line) else line, 1

    def _has_marker(self, line: bytes) -> bool:
        return any(text in line for text in self._kinds)

    def _has_strange(self, block: bytes) -> bool:
        """Whether there is a line of a rule of ours whose kind nobody names: of a prefix that was configured once."""
        return any(
            block.count(common) > sum(block.count(text) for text in self._kinds if text.startswith(common))
            for common in self._commons
        ) and bool(self._strange.search(block))

    def _is_ours(self, line: bytes) -> bool:
        """Whether a line that could not be read was meant to be one: by its prefix, because its head is broken,
        because one is in the middle of it, or because it is of a kind that nobody names."""
        if not self._has_marker(line):
            return self._strange.match(line) is not None
        return bool(self._begins.match(line) or not _ANYBODY.match(line) or self._begins.search(line, 1))

    def _is_two(self, line: bytes) -> bool:
        """Whether another line was written behind one that has no newline, as on a disk that was full."""
        return sum(map(line.count, self._kinds)) > 1 and self._begins.search(line, 1) is not None

    def _append(self, kernel: list[Texts], own: list[Texts], times: Stamps, out: LineBatch) -> tuple[Array, Array]:
        """Append both kinds of rows; which of each are good."""
        self._packets.forget()
        none = np.ones(0, np.bool_)
        return (
            self._lines(list(zip(*kernel, strict=True)), times, out) if kernel else none,
            self._ours(list(zip(*own, strict=True)), times, out) if own else none,
        )

    def _times(self, texts: list[Texts], times: Stamps) -> tuple[Array, Array]:
        at, good = times.column(*texts[:3])
        return at, good & (at >= 0) & (at <= self._latest)

    def _lines(self, texts: list[Texts], times: Stamps, out: LineBatch) -> Array:
        """Lines of the kernel."""
        at, good = self._times(texts, times)
        here = slice(out.rows, out.rows + len(at))
        good &= self._packets.append(at, texts[4:], self._namespaces, out)
        out.of["node"][here] = [self._nodes[host] for host in texts[3]]
        out.of["origin"][here], out.of["both"][here], out.of["lasted"][here] = Origin.IMPORT, False, TOLD
        self._place(texts[4], texts[5], out, here)
        return good

    def _place(self, kinds: Texts, hashes: Texts, out: LineBatch, here: slice) -> None:
        """The first version had no hashes: nothing tells the namespace of its lines, unless somebody says so."""
        if self._namespaces.unhashed_given or not any(kind in OLDER for kind in set(kinds)):
            return
        unknown = self._namespaces.code(UNKNOWN_NETNS)
        older = np.array([kind in OLDER and not text for kind, text in zip(kinds, hashes, strict=True)])
        out.of["netns"][here][older] = unknown

    def _ours(self, texts: list[Texts], times: Stamps, out: LineBatch) -> Array:
        """Lines of our own text logs."""
        at, good = self._times(texts, times)
        kind, _, src, dst, proto, spt, dpt, type_, code, id_, netns, nat_src, nat_spt, nat_id, nat_dst, nat_dpt = texts[
            4:
        ]
        here = slice(out.rows, out.rows + len(at))
        of = out.of
        out.plain(here)
        out.rows = here.stop
        both = np.array([text != b"" for text in nat_src])
        of["class"][here] = kinds = np.array([self._kinds[text] for text in kind], np.int8)
        of["start"][here], of["both"][here] = at, both
        of["node"][here] = [self._nodes[host] for host in texts[3]]
        of["netns"][here] = [self._namespaces.code(canonical(os.fsdecode(name))) for name in netns]
        number = self._protocols.column(proto)
        typed = np.array([text != b"" for text in type_])
        kinds_of, codes = self._ports.column(type_), self._ports.column(code)
        source = np.where(typed, self._ports.column(id_), self._ports.column(spt))
        target = np.where(typed, kinds_of << 8 | codes, self._ports.column(dpt))
        nat_source = np.where(typed, self._ports.column(nat_id), self._ports.column(nat_spt))
        nat_target = np.where(both & ~typed, self._ports.column(nat_dpt), target)
        good &= (number != BAD) & (kinds_of < 256) & (codes < 256)
        for values in (source, target, nat_source, nat_target):
            good &= values != BAD
        of["proto"][here] = number & 0xFF
        of["family"][here] = self._packets.families(src)
        sides = {"src": (src, source), "dst": (dst, target), "nat_src": (nat_src, nat_source)}
        sides["nat_dst"] = (tuple(a or b for a, b in zip(nat_dst, dst, strict=True)), nat_target)
        hidden = ~both & (kinds == Class.FLOAT)
        for side, (text, port) in sides.items():
            words, fine = self._packets.addresses(tuple(one or b"::" for one in text))
            good &= fine
            shown = both if side == "nat_src" else ~hidden if side == "dst" else np.True_
            out.words[f"{side}_ip"][here] = words * np.broadcast_to(shown, len(at))[:, None]
            of[f"{side}_port"][here] = (port & 0xFFFF) * shown
        return good


def _configured(prefix: Prefix) -> dict[bytes, Class]:
    """The prefixes of the configuration: as they are, as /dev/kmsg shows them, and as rsyslog escapes them."""
    kinds: dict[bytes, Class] = {}
    for text, kind in ((prefix.common + prefix.other, Class.NAT), (prefix.common + prefix.dnat, Class.FLOAT)):
        plain = text.encode()
        rsyslog = b"".join(b"#%03o" % byte if byte < 32 or byte == 127 else b"%c" % byte for byte in plain)
        kinds |= dict.fromkeys((plain, escaped(text), rsyslog), kind)
    return {text: kind for text, kind in kinds.items() if text.strip()}


def _mended(line: bytes) -> bytes:
    """As the kernel ends its lines, without what rsyslog escapes; without a newline where a line may have been cut."""
    ended = line.rstrip(b"\r\n\0")
    text = ended.rstrip(b" ")
    whole = line.endswith(b"\n") if b" NETNS=" in text else text != ended or not _TOLD.search(text)
    if b"#" in text:
        text = _ESCAPE.sub(lambda match: b"\\x%02x" % int(match[1], 8), text)
    return text + (b" \n" if whole else b"")


def port(text: bytes) -> int:
    """A number of 16 bits; 0 where there is none."""
    if not text:
        return 0
    number = int(text)
    if number > 0xFFFF:
        raise ValueError(f"{number} is no port")
    return number


def _protocol(text: bytes) -> int:
    return PROTOCOLS[text] if text in PROTOCOLS else protocols.number(text.decode().lower())
