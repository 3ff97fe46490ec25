"""Lines of a syslog daemon become the rows that the kernel's own become; whatever else there is, never does."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.decode.logline import Prefix
from anetcon.follow.sinks.lines import Lines, Settings
from anetcon.history.line_batch import LineBatch
from anetcon.history.names import NamespaceCodes, Nodes
from anetcon.history.stamps import Stamps
from anetcon.history.syslog import MOST_REPEATED, BlockCounts, SyslogReader
from anetcon.link.settings import DEFAULT
from anetcon.record import CLASSES, Class
from anetcon.system.printable import namespace_hash, recorded
from tests.support.old_lines import address
from tests.support.records import DAY, SECOND, T0, batch, logged, start

DATA = Path(__file__).parents[2] / "data" / "loglines"
CASES = [json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))]
HASHES = {"0123abcd": "qrouter-1", "89abcdef": "qrouter-2"}
PACKET = (
    b"IN=a OUT=b SRC=10.0.0.5 DST=198.51.100.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT=40000 DPT=443 "
    b"WINDOW=1 RES=0x00 SYN URGP=0 "
)
HEAD = b"Nov 20 13:05:09 gw1 kernel: [12345.678901] "
LINE = HEAD + b"[ANETCON][X][0123abcd] " + PACKET + b"\n"


class Reading:
    """A reader, and what it made of a text."""

    def __init__(
        self, text: bytes, unhashed: str = "default", *, given: bool = False, prefix: Prefix | None = None
    ) -> None:
        listed = {text.encode(): name for text, name in HASHES.items()}
        self.namespaces = NamespaceCodes(listed, unhashed, given=given)
        self.nodes = Nodes("gw1.example", None)
        reader = SyslogReader(
            prefix or Prefix("[ANETCON]", "[D]", "[X]", hashed=True), self.namespaces, self.nodes, T0 + DAY
        )
        self.times = Stamps(UTC)
        self.times.year = 2026
        self.batch = LineBatch(text.count(b"\n") + MOST_REPEATED + 1)
        self.found: BlockCounts = reader.read(text, self.times, self.batch)

    def rows(self) -> list[dict[str, Any]]:
        """The rows in words."""
        return [self._row(number) for number in range(self.batch.rows)]

    def _row(self, row: int) -> dict[str, Any]:
        of = self.batch.of
        shown: dict[str, Any] = {
            name: int(of[name][row]) for name in ("start", "proto", "mark", "src_port", "dst_port", "nat_dst_port")
        }
        shown |= {name: address(of[name][row].tobytes()) for name in ("src_ip", "dst_ip", "nat_src_ip", "nat_dst_ip")}
        shown |= {"class": CLASSES[of["class"][row]], "both": bool(of["both"][row])}
        return shown | {
            "netns": self.namespaces.names[int(of["netns"][row])],
            "node": self.nodes.names[int(of["node"][row])],
            "nat_src_port": int(of["nat_src_port"][row]),
        }


def as_rsyslog(case: dict[str, Any]) -> bytes:
    """A recorded kernel record as rsyslog writes it."""
    text: bytes = case["line"].encode("latin-1").partition(b";")[2]
    return HEAD + re.sub(rb"\\x([01][0-9a-f])", lambda found: b"#%03o" % int(found[1], 16), text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_recorded_lines(case: dict[str, Any]) -> None:
    """Each line recorded from a kernel is the row written beside it, with rsyslog's time."""
    reading = Reading(as_rsyslog(case))
    assert (len(reading.rows()), len(reading.found.unreadable)) == (bool(case["row"]), case["undecodable"])
    for row in reading.rows():
        assert row["start"] == T0
        wanted = {key: value for key, value in case["row"].items() if key not in ("time", "hash")}
        if wanted["class"] == "float":
            wanted |= {"dst_ip": "::", "dst_port": 0}
        assert {key: row[key] for key in wanted} == wanted
        assert row["netns"] == HASHES.get(case["row"]["hash"], "default")
        assert row["node"] == "gw1.example"


@pytest.mark.parametrize(
    ("head", "start"),
    [
        (b"Nov 20 13:05:09 gw1 kernel: ", T0),
        (b"Nov 20 13:05:09 gw1 kernel:", T0),
        (b"<4>Nov 20 13:05:09 gw1 kernel: [ 12.345678] ", T0),
        (b"2026-11-20T13:05:09+00:00 gw1 kernel: [12345.678901] ", T0),
        (b"2026-11-20T14:05:09.25+01:00 gw1 kernel: ", T0 + SECOND // 4),
        (b"2026-11-20T13:05:09.123456Z gw1 kernel: ", T0 + 123456),
        (b"2026-11-20 13:05:09.1234567 gw1 kernel: ", T0 + 123456),
    ],
)
@pytest.mark.parametrize(
    ("prefix", "kind", "netns"),
    [
        (b"[ANETCON][X][0123abcd] ", "nat", "qrouter-1"),
        (b"[ANETCON][D][89abcdef] ", "float", "qrouter-2"),
        (b"[ANETCON][X][11111111] ", "nat", "[11111111]"),
        (b"[ANETCON][D] ", "float", "default"),
        (b"[ANETCON] [NAT] ", "nat", "unknown"),
        (b"[ANETCON] [FLOAT] ", "float", "unknown"),
        (b"[ANETCON] [FLOAT][0123abcd] ", "float", "qrouter-1"),
        (b"[ANETCON] [NAT] [89abcdef] ", "nat", "qrouter-2"),
    ],
)
def test_every_form(head: bytes, start: int, prefix: bytes, kind: str, netns: str) -> None:
    """Stamps with and without a zone and a fraction, with the kernel's time or not; prefixes of every time."""
    (row,) = Reading(head + prefix + PACKET + b"\n").rows()
    assert (row["start"], row["class"], row["netns"]) == (start, kind, netns)
    assert (row["src_ip"], row["src_port"], row["nat_dst_ip"], row["nat_dst_port"]) == (
        *("10.0.0.5", 40000),
        *("198.51.100.9", 443),
    )


def test_who_says_a_namespace_is_believed() -> None:
    """Lines without a hash are of the namespace that was named, those of the first version too."""
    text = b"".join(HEAD + prefix + PACKET + b"\n" for prefix in (b"[ANETCON][X] ", b"[ANETCON] [NAT] "))
    assert [row["netns"] for row in Reading(text, "gw", given=True).rows()] == ["gw", "gw"]
    assert [row["netns"] for row in Reading(text, "unknown").rows()] == ["unknown", "unknown"]


@pytest.mark.parametrize("common", ["FW ", "a\tb", "#", "é"])
def test_prefixes_of_the_configuration(common: str) -> None:
    """They count beside today's, also where rsyslog or the kernel escapes them."""
    prefix = Prefix(common, "(in)", "(out)", hashed=True)
    shown = common.replace("\t", "#011").encode() + b"(in)[0123abcd] "
    (first, second) = Reading(HEAD + shown + PACKET + b"\n" + LINE, prefix=prefix).rows()
    assert (first["class"], second["class"], first["netns"]) == ("float", "nat", "qrouter-1")


def test_what_is_not_ours() -> None:
    """Lines of others are passed over, whatever they quote; ours that are broken are unreadable, with their number."""
    others = [
        b"Nov 20 13:05:09 gw1 sshd[99]: Accepted publickey\n",
        b"Nov 20 13:05:09 gw1 sudo: root : COMMAND=/bin/grep [ANETCON][X] /var/log/kern.log\n",
        b"Nov 20 13:05:09 gw1 evil: [ANETCON][X][0123abcd] " + PACKET + b"\n",
        HEAD + b"device [ANETCON][X][0123abcd] " + PACKET + b"\n",
        b"\n",
        b"\0\0\0\n",
    ]
    broken = [
        HEAD + b"[ANETCON][X][0123abcd] IN=a OUT=b SRC=10.0.0.5 DST=198.51\n",
        HEAD + b"[ANETCON][X][0123abcd] " + PACKET.replace(b"10.0.0.5", b"10.0.0.500") + b"\n",
        HEAD + b"[ANETCON][X][0123abcd] " + PACKET.replace(b"=40000", b"=70000") + b"\n",
        LINE.replace(b"Nov 20", b"Nov 31"),
        LINE.replace(b"13:05:09", b"25:05:09"),
        LINE.replace(b"Nov 20", b"Dec 20"),
        LINE[4:],
        LINE[:20] + LINE,
        LINE[:-40] + LINE,
        LINE[: LINE.index(b"DPT=443") + 6] + b"\n",
        HEAD + b"[ANETCON][F][0123abcd] " + PACKET + b"\n",
        HEAD + b"[ANETCON] [other] " + PACKET + b"\n",
    ]
    text = b"".join(others + broken) + LINE
    reading = Reading(text)
    assert (len(reading.rows()), reading.found.others, reading.found.lines) == (1, len(others), text.count(b"\n"))
    assert reading.found.unreadable == [(len(others) + number, line) for number, line in enumerate(broken)]


def test_a_kind_that_nobody_names() -> None:
    """A line whose prefix only begins as ours do is no row, and never passed over: not among lines that are all well,
    and not beside a prefix that the configuration names."""
    strange = HEAD + b"FW-F [0123abcd] " + PACKET + b"\n"
    reading = Reading(LINE + strange + LINE, prefix=Prefix("FW", "-D", "-X", hashed=True))
    assert (len(reading.rows()), reading.found.unreadable) == (2, [(1, strange)])
    assert Reading(LINE + strange).found.others == 1
    quoted = HEAD + b"[ANETCON] started: chains of 3 namespaces\n"
    assert Reading(LINE + quoted).found.others == 1


def test_what_was_lost_and_escaped_on_the_way() -> None:
    """A blank lost at the end, a carriage return, an escaped character: the line is read."""
    for text in (LINE.replace(b" \n", b"\n"), LINE.replace(b"\n", b"\r\n"), LINE.replace(b"IN=a", b"IN=a#033b")):
        reading = Reading(LINE + text)
        assert (len(reading.rows()), reading.found.unreadable) == (2, []), text


def test_a_last_line_without_its_newline() -> None:
    """It is a row where nothing can be missing of what it tells, and unreadable where something may."""
    ours = b"2026-11-20T13:05:09+00:00 gw1 anetcon: [ANETCON][X] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9 PROTO=TCP "
    ours += b"SPT=40000 DPT=443 NETNS=default NAT_SRC=203.0.113.7 NAT_SPT=40213 NAT_DST=198.51.100.9 NAT_DPT=443\n"
    for text in (LINE, ours):
        for end in range(len(text) - 60, len(text)):
            reading = Reading(LINE + text[:end])
            one, *others = reading.rows()
            assert len(others) + len(reading.found.unreadable) == 1, text[:end]
            assert all((row["nat_dst_port"], row["nat_src_port"]) == (443, 0) for row in (one, *others)), text[:end]
    assert len(Reading(LINE + LINE.rstrip()).rows()) == 2


def test_repeated_messages() -> None:
    """What rsyslog says of repetitions is as many connections; what is too many to be believed is not."""
    said = HEAD[:28] + b"message repeated 3 times: [ [ANETCON][X][0123abcd] " + PACKET + b"]\n"
    reading = Reading(LINE + said)
    assert (len(reading.rows()), reading.found.lines) == (4, 2)
    last = b"Nov 20 13:05:12 gw1 kernel: last message repeated 2 times\n"
    assert len(Reading(LINE + last).rows()) == 3
    assert Reading(b"Nov 20 13:05:09 gw1 cron: x\n" + last).found.others == 2
    assert Reading(said.replace(b"3 times", b"999999999999 times")).found.unreadable != []
    assert Reading(LINE + said).found.repeated == 2
    forged = Reading(LINE + said.replace(b"kernel:", b"rsyslogd:"))
    assert (len(forged.rows()), forged.found.others, forged.found.repeated) == (1, 1, 0)


def test_this_node_and_others() -> None:
    """The short and the whole name are this node's, whichever it has; those of other domains and addresses are not."""
    hosts = (b"gw1", b"GW1.example", b"gw1.other", b"gw10")
    whole = Nodes("gw1.example", None)
    assert [whole.names[whole[host]] for host in hosts] == ["gw1.example", "gw1.example", "gw1.other", "gw10"]
    assert (short := Nodes("gw1", None)).names[short[b"gw1.example"]] == "gw1"
    assert (address := Nodes("10.0.0.5", None)).names[address[b"10.0.0.6"]] == "10.0.0.6"


def test_zeros_and_a_byte_order_mark_before_a_line() -> None:
    """A log that was truncated while somebody wrote it begins with a hole; an editor's mark is no part of a line."""
    for before in (bytes(70_000), b"\xef\xbb\xbf"):
        reading = Reading(before + LINE + LINE)
        assert (len(reading.rows()), reading.found.unreadable) == (2, [])


NAMES = st.one_of(
    st.sampled_from(
        [
            "x\n2026-11-20T13:05:09+00:00 h anetcon: [ANETCON][X] IN= OUT= SRC=10.66.66.66 DST=1.1.1.1 PROTO=1 NETNS=x",
            "x NAT_SRC=10.66.66.66 NAT_SPT=1 NAT_DST=198.51.100.9 NAT_DPT=443",
            "x SRC=10.66.66.66",
        ]
    ),
    st.text(min_size=1).filter(lambda name: name != DEFAULT),
)


@given(NAMES.map(lambda name: name.encode(errors="surrogatepass")))
def test_a_name_forges_no_line(name: bytes) -> None:
    """Whatever a namespace is called, its line in our text logs is read back as the one that it is, with its name."""
    netns = recorded(os.fsdecode(name))
    rows = [start(netns=netns), logged(netns=netns, src_port=2)]
    lines = Lines(Settings("gw1")).of(batch("connections", rows), np.arange(2), Class.NAT).to_pylist()
    assert [line.count("\n") for line in lines] == [1, 1]
    assert all(line.partition(" NETNS=")[2].count(" ") in (0, 4) for line in lines)
    reading = Reading("".join(lines).encode())
    assert reading.found.unreadable == []
    assert [(row["netns"], row["src_port"], row["both"]) for row in reading.rows()] == [
        (netns, 40000, True),
        (netns, 2, False),
    ]


def test_our_own_text_logs() -> None:
    """Both sides are known where they were recorded; a line of a line is what a kernel line is."""
    head = b"2026-11-20T13:05:09.000000+00:00 gw1 anetcon: "
    mark = namespace_hash("qrouter-9").encode()
    both = (
        b"[ANETCON][D][" + mark + b"] IN= OUT= SRC=192.0.2.1 DST=203.0.113.9 PROTO=TCP SPT=5000 DPT=22 NETNS=qrouter-9 "
    )
    both += b"NAT_SRC=192.0.2.1 NAT_SPT=5000 NAT_DST=10.0.0.9 NAT_DPT=2222\n"
    echo = b"[ANETCON][X] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9 PROTO=ICMP TYPE=8 CODE=0 ID=77 NETNS=default "
    echo += b"NAT_SRC=203.0.113.7 NAT_ID=88 NAT_DST=198.51.100.9\n"
    gre = b"[ANETCON][X] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9 PROTO=47 NETNS=default NAT_SRC=203.0.113.7 "
    gre += b"NAT_DST=198.51.100.9\n"
    half = b"[ANETCON][D] IN= OUT= SRC=192.0.2.1 DST=10.0.0.9 PROTO=SCTP SPT=5000 DPT=22 NETNS=a b\n"
    reading = Reading(b"".join(head + text for text in (both, echo, gre, half)))
    rows = reading.rows()
    assert reading.found.unreadable == []
    assert [(row["both"], row["class"], row["netns"], row["proto"]) for row in rows] == [
        (True, "float", "qrouter-9", 6),
        (True, "nat", "default", 1),
        (True, "nat", "default", 47),
        (False, "float", "a b", 132),
    ]
    ends = [
        (r["src_port"], r["dst_ip"], r["dst_port"], r["nat_src_port"], r["nat_dst_ip"], r["nat_dst_port"]) for r in rows
    ]
    assert ends == [
        (5000, "203.0.113.9", 22, 5000, "10.0.0.9", 2222),
        (77, "198.51.100.9", 2048, 88, "198.51.100.9", 2048),
        (0, "198.51.100.9", 0, 0, "198.51.100.9", 0),
        (5000, "::", 0, 0, "10.0.0.9", 22),
    ]


PIECES = [
    *LINE.split(b" "),
    b"[ANETCON][X]",
    b"message repeated 2 times: [ ",
    b"message repeated 0 times",
    HEAD + b"message repeated 3 times: [ " + LINE[len(HEAD) :].rstrip(b"\n") + b"]\n",
    LINE,
    b"\n",
    b"\0",
    b"\xff",
    b"#033",
    b"NETNS=x",
    HEAD + b"[ANETCON][F] " + PACKET + b"\n",
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=60))
def test_any_bytes(words: list[bytes]) -> None:
    """Whatever a file holds: every line is a row, somebody else's or unreadable, and nothing is raised."""
    text = b" ".join(words)
    found = Reading(text).found
    assert found.lines == text.count(b"\n") + (not text.endswith(b"\n"))
    assert found.lines + found.repeated == found.rows + found.others + len(found.unreadable)


@given(st.lists(st.sampled_from([as_rsyslog(case) for case in CASES] + [LINE]), min_size=1, max_size=20), st.randoms())
def test_a_broken_line_among_others_changes_nothing(lines: list[bytes], draw: Any) -> None:
    """A block that has to be looked at line by line gives the rows that it gives at once."""
    whole = Reading(b"".join(lines))
    at = draw.randrange(len(lines) + 1)
    broken = Reading(b"".join([*lines[:at], LINE[:100] + b"\n", *lines[at:]]))
    assert broken.rows() == whole.rows()
    assert len(broken.found.unreadable) == len(whole.found.unreadable) + 1
