"""LOG lines become rows as the slow reader has them; what is torn or hostile never does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.decode.columns import NONE, Columns
from anetcon.decode.logline import NOT_OURS, DecodedLines, LineDecoder, Prefix, escaped
from anetcon.record import CLASSES, EndReason, Origin
from tests.support import line_oracle
from tests.support.line_oracle import BadError

DATA = Path(__file__).parents[2] / "data" / "loglines"
CASES = sorted(DATA.glob("*.json"))
HASHES = ("0123abcd", "89abcdef")
CODES = {b"": 7, **{text.encode(): code for code, text in enumerate(HASHES)}}
PREFIX = Prefix("[ANETCON]", "[D]", "[X]", hashed=True)

DECODER = LineDecoder(PREFIX)


def load(path: Path) -> dict[str, Any]:
    """A recorded line with what it must become."""
    case: dict[str, Any] = json.loads(path.read_text())
    return case


RECORDED = [load(path)["line"].encode("latin-1") for path in CASES]


def decoded(data: bytes, codes: dict[bytes, int] | None = None) -> tuple[list[dict[str, Any]], DecodedLines]:
    """The rows of a batch as dictionaries, and what else it said."""
    columns = Columns(data.count(b"\n") + 1)
    lines = DECODER.decode(data, codes or CODES, columns)
    return [as_row(columns, row) for row in range(columns.rows)], lines


def as_row(columns: Columns, row: int) -> dict[str, Any]:
    """One row in the slow reader's words; what is always so for a line is checked here."""
    of = columns.of
    assert (of["end"][row], of["end_reason"][row], of["origin"][row]) == (NONE, EndReason.UNKNOWN, Origin.LOG)
    assert not any(mask[row] for mask in columns.given.values())
    assert not any(of[name][row].any() for name in ("nat_src_ip", "nat_src_port", "zone", "ct_id"))
    hashes = {code: text.decode() for text, code in CODES.items()}
    kind = CLASSES[of["class"][row]]
    shown = {
        "time": int(of["start"][row]),
        "hash": hashes[int(of["netns"][row])],
        "class": kind,
        "src_ip": address(of["src_ip"][row].tobytes()),
        "nat_dst_ip": address(of["nat_dst_ip"][row].tobytes()),
        "dst_ip": address(of["dst_ip"][row].tobytes()),
        **{name: int(of[name][row]) for name in ("proto", "mark", "src_port", "dst_port", "nat_dst_port")},
    }
    if kind == "float":
        assert not of["dst_ip"][row].any()
        assert not of["dst_port"][row]
        shown |= {"dst_ip": None, "dst_port": None}
    return shown


def address(packed: bytes) -> str:
    """An address as text, mapped IPv4 as IPv4."""
    wide = IPv6Address(packed)
    return str(wide.ipv4_mapped or wide)


def expected(records: Sequence[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The slow reader's rows, and how many lines it cannot read."""
    rows, bad = [], 0
    for data in records:
        try:
            row = line_oracle.record(data)
        except BadError:
            bad += 1
            continue
        if row is not None:
            rows.append(row)
    return rows, bad


def test_there_are_recorded_lines() -> None:
    """Both families, every protocol the kernel has a name for, and some it has none for."""
    rows = [row for path in CASES if (row := load(path)["row"])]
    assert {row["proto"] for row in rows} >= {1, 2, 6, 17, 47, 50, 51, 58, 89, 132, 136}
    assert {row["class"] for row in rows} == {"nat", "float"}
    assert {":" in row["src_ip"] for row in rows} == {True, False}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_recorded_lines(path: Path) -> None:
    """Each line recorded from a kernel becomes the row written beside it, by either reader."""
    case = load(path)
    line = case["line"].encode("latin-1")
    rows, lines = decoded(line)
    assert rows == ([case["row"]] if case["row"] else [])
    assert len(lines.undecodable) == case["undecodable"]
    assert expected([line]) == (rows, case["undecodable"])


def test_a_batch_is_decoded_whole() -> None:
    """All recorded lines together give the same rows, in order, with their numbers and times."""
    rows, lines = decoded(b"".join(RECORDED))
    assert (rows, len(lines.undecodable)) == expected(RECORDED)
    assert lines.sequence.tolist() == [int(line.split(b",")[1]) for line in RECORDED]
    assert lines.time.tolist() == [int(line.split(b",")[2]) for line in RECORDED]


def test_only_the_kernel_is_believed() -> None:
    """What user space writes to the log has another facility: it counts as a message, and is no line."""
    forged = RECORDED[0].replace(b"4,", b"12,", 1)
    rows, lines = decoded(forged + RECORDED[1])
    assert len(rows) == 1
    assert len(lines.sequence) == 2
    assert lines.undecodable == []


def test_foreign_messages_and_dictionaries_are_passed_over() -> None:
    """Other messages of the kernel are counted by number only; the lines of a message's dictionary are no messages."""
    foreign = b"6,5,1000000,-;usb 1-1: new device\n SUBSYSTEM=usb\n DEVICE=c189:1\n"
    rows, lines = decoded(foreign + RECORDED[0])
    assert lines.sequence.tolist()[0] == 5
    assert len(lines.sequence) == 2
    assert len(rows) == 1


def test_lines_of_others_are_left_out() -> None:
    """Lines of a namespace that is not ours are neither rows nor undecodable."""
    torn = RECORDED[0].replace(b" SRC=", b" SRC=x")
    rows, lines = decoded(RECORDED[0] + torn, dict.fromkeys(CODES, NOT_OURS))
    assert rows == []
    assert lines.undecodable == []
    assert len(lines.sequence) == 2


def test_prefixes_are_compared_as_the_kernel_shows_them() -> None:
    """A prefix with bytes that /dev/kmsg escapes finds its lines."""
    case = load(DATA / "tcp-escaped-prefix.json")
    columns = Columns(4)
    LineDecoder(Prefix("[ä\\", "][D]", "][X]", hashed=True)).decode(case["line"].encode("latin-1"), CODES, columns)
    assert columns.rows == 1
    assert escaped("ä\\") == rb"\xc3\xa4\x5c"


def test_nothing_gives_nothing() -> None:
    """No bytes, and bytes that are no records, give no row."""
    for data in (b"", b"\n", b"garbage", b"4,1\n", bytes(range(256))):
        rows, lines = decoded(data)
        assert rows == []
        assert len(lines.sequence) == 0


octet = st.integers(0, 255)
ipv4 = st.tuples(octet, octet, octet, octet).map(lambda parts: ".".join(map(str, parts)))
ipv6 = st.lists(st.integers(0, 65535), min_size=8, max_size=8).map(lambda p: ":".join(f"{part:04x}" for part in p))
port = st.integers(0, 65535)
names = st.text("abcSRCDT=.-0123456789", min_size=0, max_size=15)
flags = st.sampled_from(["SYN", "ACK SYN", "SYN URGP=0 OPT (020405B4)"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A line as the kernel would print it."""
    wide = draw(st.booleans())
    address = ipv6 if wide else ipv4
    head = (
        f"{draw(st.sampled_from([0, 4, 6, 12, 30]))},{draw(st.integers(1, 10**12))},{draw(st.integers(0, 10**14))},"
        f"{draw(st.sampled_from(['-', 'c', '-,caller=T1']))};[ANETCON]{draw(st.sampled_from(['[D]', '[X]', '[Y]']))}"
        f"{draw(st.sampled_from(['', *(f'[{text}]' for text in HASHES)]))} IN={draw(names)} OUT={draw(names)} "
        f"{draw(st.sampled_from(['', 'MAC= ', 'MAC=fa:16:3e:01:00:01 ', 'PHYSIN=a PHYSOUT=b MACSRC=1 MACDST=2 ']))}"
        f"SRC={draw(address)} DST={draw(address)} LEN={draw(port)} "
    )
    if wide:
        middle = (
            f"TC=0 HOPLIMIT=63 FLOWLBL={draw(port)} {draw(st.sampled_from(['', 'FRAG:0 ID:0000abcd ', 'OPT ( AH ) ']))}"
        )
    else:
        middle = f"TOS=0x00 PREC=0x00 TTL=63 ID={draw(port)} {draw(st.sampled_from(['', 'DF ', 'CE MF FRAG:8 ']))}"
    protocol = draw(
        st.one_of(
            st.builds("TCP SPT={} DPT={} WINDOW=1 RES=0x00 {} ".format, port, port, flags),
            st.builds("{} SPT={} DPT={} LEN=8 ".format, st.sampled_from(["UDP", "UDPLITE"]), port, port),
            st.builds("{} TYPE={} CODE={} ".format, st.sampled_from(["ICMP", "ICMPv6"]), octet, octet),
            st.builds(
                "{} TYPE={} CODE={} ID={} SEQ=1 ".format, st.sampled_from(["ICMP", "ICMPv6"]), octet, octet, port
            ),
            st.builds(
                "ICMP TYPE=3 CODE=1 [SRC={} DST={} LEN=9 PROTO=UDP SPT={} DPT=2 LEN=8 ] ".format, ipv4, ipv4, port
            ),
            st.builds("{} SPI=0x12 ".format, st.sampled_from(["ESP", "AH"])),
            st.builds("{} ".format, st.integers(0, 300)),
            st.just("TCP INCOMPLETE [8 bytes] "),
        )
    )
    tail = draw(st.sampled_from(["", "UID=0 GID=0 ", "MARK=0x4000000 ", "UID=1 GID=1 MARK=0xffffffff "]))
    made: str = head + middle + "PROTO=" + protocol + tail + "\n"
    return made.encode()


@given(st.lists(records(), max_size=8))
def test_generated_lines(made: list[bytes]) -> None:
    """Whatever the kernel may print, both readers agree."""
    rows, lines = decoded(b"".join(made))
    assert (rows, len(lines.undecodable)) == expected(made)


def _changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """A record with pieces of its text replaced; it still ends where the kernel ends it."""
    for at, length, new in changes:
        start = at % len(data)
        data = data[:start] + new + data[start + length :]
    return data.replace(b"\n", b"") + b"\n"


pieces = st.one_of(
    st.binary(max_size=3), st.sampled_from([b" ", b"=", b"SRC=1.2.3.4 ", b" MARK=0x1 ", b"DPT=1 ", b"ID="])
)
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), pieces), min_size=1, max_size=3)


@given(st.lists(st.one_of(records(), st.sampled_from(RECORDED)).flatmap(lambda r: edits.map(lambda e: _changed(r, e)))))
def test_torn_and_hostile_lines(made: list[bytes]) -> None:
    """Cut, overwritten and stuffed lines never raise, and are rows only where the slow reader agrees."""
    rows, lines = decoded(b"".join(made))
    assert (rows, len(lines.undecodable)) == expected(made)


@pytest.mark.parametrize("line", RECORDED, ids=[path.stem for path in CASES])
def test_lines_cut_anywhere(line: bytes) -> None:
    """A line cut within its values is no row: at least the addresses and ports are whole where there is one."""
    whole, _ = decoded(line)
    for end in range(len(line) - 1):
        rows, _ = decoded(line[:end] + b"\n")
        for row in rows:
            assert {**row, "mark": 0} == {**whole[0], "mark": 0}


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """No bytes at all make the decoder raise."""
    decoded(data)
