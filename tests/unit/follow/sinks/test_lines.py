"""Lines of text against a plain formatter, and line by line."""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.follow.sinks import lines
from anetcon.follow.sinks.lines import Lines, Settings
from anetcon.record import Class
from anetcon.system.printable import namespace_hash
from tests.support.records import ROUTER, T0, batch, end, logged, logged_float, start

MAKER = Lines(Settings("NODE"))
HASH = hashlib.md5(ROUTER.encode(), usedforsecurity=False).hexdigest()[:8]
BEFORE = f"2026-11-20T13:05:09.000000+00:00 NODE anetcon: [ANETCON][X][{HASH}] IN= OUT= "


def written(*rows: dict[str, Any], kind: Class = Class.NAT, maker: Lines = MAKER) -> list[str]:
    """The lines of these rows."""
    made = maker.of(batch("connections", list(rows)), np.arange(len(rows)), kind)
    assert all(line.endswith("\n") for line in made.to_pylist())
    return [line[:-1] for line in made.to_pylist()]


def test_a_tcp_connection() -> None:
    """The order a reader of kernel LOG lines expects, with the translation behind it."""
    assert written(start(start=T0 + 123456)) == [
        f"2026-11-20T13:05:09.123456+00:00 NODE anetcon: [ANETCON][X][{HASH}] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9 "
        f"PROTO=TCP SPT=40000 DPT=443 NETNS={ROUTER} NAT_SRC=203.0.113.7 NAT_SPT=40213 NAT_DST=198.51.100.9 NAT_DPT=443"
    ]


def test_a_floating_ip_has_the_other_prefix() -> None:
    """[D] where the destination was translated."""
    (line,) = written(start(nat_dst_ip="10.0.0.5", nat_dst_port=22), kind=Class.FLOAT)
    assert f" anetcon: [ANETCON][D][{HASH}] IN= OUT= SRC=10.0.0.5 " in line
    assert line.endswith(" NAT_DST=10.0.0.5 NAT_DPT=22")


def test_an_end_is_written_with_its_start() -> None:
    """A line's time is the connection's start whichever row it is made from."""
    assert written(end(60)) == written(start())


def test_icmp_has_type_code_and_id() -> None:
    """In place of the ports, and the translated id in place of theirs."""
    row = start(proto=1, src_port=77, dst_port=8 << 8 | 3, nat_src_port=78, nat_dst_port=8 << 8 | 3)
    assert written(row) == [
        f"{BEFORE}SRC=10.0.0.5 DST=198.51.100.9 PROTO=ICMP TYPE=8 CODE=3 ID=77 NETNS={ROUTER} "
        "NAT_SRC=203.0.113.7 NAT_ID=78 NAT_DST=198.51.100.9"
    ]


@pytest.mark.parametrize(("proto", "name"), [(47, "47"), (50, "ESP"), (4, "4"), (255, "255")])
def test_a_protocol_without_ports_has_none(proto: int, name: str) -> None:
    """GRE and others: addresses alone."""
    row = start(proto=proto, src_port=5, dst_port=6, nat_src_port=7, nat_dst_port=8)
    assert written(row) == [
        f"{BEFORE}SRC=10.0.0.5 DST=198.51.100.9 PROTO={name} NETNS={ROUTER} NAT_SRC=203.0.113.7 NAT_DST=198.51.100.9"
    ]


@pytest.mark.parametrize(
    ("proto", "name"), [(6, "TCP"), (17, "UDP"), (136, "UDPLITE"), (132, "SCTP"), (33, "33"), (58, "ICMPv6")]
)
def test_protocols_are_named_as_the_kernel_does(proto: int, name: str) -> None:
    """What the kernel's LOG does not name is a number."""
    assert f" PROTO={name} " in written(start(proto=proto))[0]


def test_ipv6_is_written_as_the_kernel_does() -> None:
    """Eight groups of four digits, nothing left out."""
    row = start(src_ip="2001:db8::5", dst_ip="2001:db8:1::9", nat_src_ip="2001:db8::5", nat_dst_ip="2001:db8:1::9")
    (line,) = written(row)
    assert " SRC=2001:0db8:0000:0000:0000:0000:0000:0005 DST=2001:0db8:0001:0000:0000:0000:0000:0009 PROTO=TCP " in line
    assert " NAT_SRC=2001:0db8:0000:0000:0000:0000:0000:0005 NAT_SPT=40213 " in line


def test_ipv6_that_holds_ipv4_is_written_as_ipv6() -> None:
    """It has the dots of the IPv4 address behind its prefix, which tells it from that."""
    (line,) = written(start(src_ip="::ffff:10.1.0.12", dst_ip="::ffff:198.51.100.9", nat_src_ip="::ffff:203.0.113.7"))
    assert " SRC=::ffff:10.1.0.12 DST=::ffff:198.51.100.9 " in line
    assert " NAT_SRC=::ffff:203.0.113.7 " in line


def test_the_default_namespace_has_no_hash() -> None:
    """Nor has any when it is turned off; prefix parts and node are as configured."""
    assert " anetcon: [ANETCON][X] IN= " in written(start(netns="default"))[0]
    plain = Lines(Settings("gw", "<A>", "<d>", "<x>", False))
    (line,) = written(start(), maker=plain)
    assert " gw anetcon: <A><x> IN= OUT= SRC=" in line


def test_the_hash_is_md5sums() -> None:
    """`printf %s NAME | md5sum`, its first 8 digits."""
    assert namespace_hash("qrouter-1") == "d48368ae"


def test_a_connection_learnt_from_a_line() -> None:
    """What it does not know is left out, and what readers look for stands where it does in every line."""
    assert written(logged(start=T0 + 123456)) == [
        f"2026-11-20T13:05:09.123456+00:00 NODE anetcon: [ANETCON][X][{HASH}] IN= OUT= SRC=10.0.0.5 DST=198.51.100.9 "
        f"PROTO=TCP SPT=40000 DPT=443 NETNS={ROUTER}"
    ]
    (line,) = written(logged_float(), kind=Class.FLOAT)
    assert line.endswith(f" IN= OUT= SRC=192.0.2.1 DST=10.0.0.9 PROTO=TCP SPT=5000 DPT=22 NETNS={ROUTER}")
    (line,) = written(logged(proto=1, src_port=77, dst_port=8 << 8))
    assert line.endswith(f" PROTO=ICMP TYPE=8 CODE=0 ID=77 NETNS={ROUTER}")


def plain(row: dict[str, Any]) -> str:
    """The same line, the slow way."""
    time = datetime.fromtimestamp(row["start"] // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if row["origin"] in ("log", "import"):
        return plain(row | {"origin": "event"} | _filled(row)).partition(" NAT_SRC=")[0]
    text = {side: _address(row[f"{side}_ip"]) for side in ("src", "dst", "nat_src", "nat_dst")}
    proto, port = row["proto"], row["dst_port"]
    name = lines.PROTOCOLS.get(proto, str(proto))
    hashed = "" if row["netns"] == "default" else f"[{namespace_hash(row['netns'])}]"
    words = [
        f"{time}.{row['start'] % 10**6:06d}+00:00 NODE anetcon: [ANETCON][X]{hashed} IN= OUT=",
        f"SRC={text['src']} DST={text['dst']} PROTO={name}",
    ]
    nat = [f"NETNS={row['netns']} NAT_SRC={text['nat_src']}", f"NAT_DST={text['nat_dst']}"]
    if proto in (1, 58):
        words.append(f"TYPE={port >> 8} CODE={port & 255} ID={row['src_port']}")
        nat.insert(1, f"NAT_ID={row['nat_src_port']}")
    elif proto in (6, 17, 33, 132, 136):
        words.append(f"SPT={row['src_port']} DPT={port}")
        nat = [nat[0], f"NAT_SPT={row['nat_src_port']}", nat[1], f"NAT_DPT={row['nat_dst_port']}"]
    return " ".join(words + nat)


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """What stands for that which a line of text does not tell."""
    filled = {"dst_ip": row["nat_dst_ip"], "dst_port": row["nat_dst_port"]}
    return filled | {"nat_src_ip": "192.0.2.255", "nat_src_port": 0}


def _address(text: str) -> str:
    parsed = ipaddress.ip_address(text)
    held = parsed.ipv4_mapped if parsed.version == 6 else None
    return f"::ffff:{held}" if held else str(parsed) if parsed.version == 4 else parsed.exploded


PORT = st.integers(0, 65535)
FOUR = st.ip_addresses(v=4).map(str)
SIX = st.one_of(st.integers(1 << 48, (1 << 128) - 1).map(ipaddress.IPv6Address).map(str), FOUR.map("::ffff:{}".format))
ROWS = st.builds(
    lambda make, addresses, ports, proto, time, netns: make(
        proto=proto,
        start=time,
        netns=netns,
        **dict(zip(("src_ip", "dst_ip", "nat_src_ip", "nat_dst_ip"), addresses, strict=True)),
        **dict(zip(("src_port", "dst_port", "nat_src_port", "nat_dst_port"), ports, strict=True)),
    ),
    st.sampled_from([start, start, logged, logged_float]),
    st.one_of(st.tuples(FOUR, FOUR, FOUR, FOUR), st.tuples(SIX, SIX, SIX, SIX)),
    st.tuples(PORT, PORT, PORT, PORT),
    st.one_of(st.sampled_from([1, 6, 17, 33, 47, 58, 132, 136]), st.integers(0, 255)),
    st.integers(0, 4 * 10**15),
    st.sampled_from(["default", ROUTER, "naïve"]),
)


@given(st.lists(ROWS, min_size=1, max_size=12), st.data())
def test_lines_are_the_plain_ones(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """Whatever rows, of both families and every origin in any order, and whichever of them are wanted."""
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True).map(sorted))
    made = MAKER.of(batch("connections", rows), np.array(wanted, np.int64), Class.NAT)
    assert made.type == pa.string()
    assert made.to_pylist() == [plain(rows[number]) + "\n" for number in wanted]
