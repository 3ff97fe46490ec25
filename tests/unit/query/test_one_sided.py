"""`who` about a time of which the record has kernel lines alone: possible answers, said to be that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anetcon.store.entry import rfc3339
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import DAY, INODE, ROUTER, SECOND, T0, Making, ends, logged, logged_float, start, whole

PUBLIC, REMOTE = "203.0.113.7:40213", "198.51.100.9:443"
FLOATING, OUTSIDE = "203.0.113.9:22", "192.0.2.1:5000"
COUNTERS = {"packets_out", "bytes_out", "packets_in", "bytes_in"}
NOT_PROVEN = "the public side was not recorded (kernel lines tell no translated address or port)"


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store of a daemon whose engine reads kernel lines."""
    limit = {"node": "gw1", "netns": None, "from": T0 - DAY, "to": None, "cause": "log-engine", "lost": None}
    return Making(tmp_path / "store").add(limit, table="gaps").alive(T0 + DAY)


def of_address(address: str, **values: Any) -> dict[str, Any]:
    """A row of the table addresses: the router's, always."""
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "qg-1", "address": address}
    return row | {"from": T0 - DAY, "to": None} | values


def asked(making: Making, address: str = PUBLIC, at: int = T0, *words: str) -> Answer:
    """The answer to `who`."""
    return Answer("who", address, "--at", rfc3339(at), "--store", making.path, *words)


def who(making: Making, address: str = PUBLIC, at: int = T0, *words: str) -> dict[str, Any]:
    """The same as JSON."""
    return asked(making, address, at, *words, "--format", "json").json


def ports(said: dict[str, Any]) -> list[int]:
    """The source ports of the connections, by which tests know them."""
    return [record["src_port"] for record in said["connections"]]


@pytest.mark.parametrize("sealed", [False, True])
def test_an_instance_that_calls_out(making: Making, sealed: bool) -> None:
    """By the other end and the time, with the record's own nulls and the gap that says why."""
    making.add(logged())
    if sealed:
        making.rotate().alive(T0 + DAY)
        assert Sealer(making.path, clock=lambda: T0).seal()
    said = who(making, PUBLIC, T0, "--to", REMOTE)
    (record,) = said["connections"]
    assert (said["verdict"], said["possible"], said["more_with_to"]) == ("one", 1, False)
    assert [gap["cause"] for gap in said["coverage"]["gaps"]] == ["log-engine"]
    assert (record["src_ip"], record["dst_ip"], record["nat_dst_port"]) == ("10.0.0.5", "198.51.100.9", 443)
    unknown = [name for name, value in record.items() if value is None and "tes" not in name and "pack" not in name]
    assert (unknown, record["end_reason"], record["origin"]) == (
        ["end", "nat_src_ip", "nat_src_port", *(["ct_id"] if sealed else []), "reply"],
        "unknown",
        "log",
    )
    assert asked(making, PUBLIC, T0, "--to", REMOTE).status == 0


def test_an_instance_that_is_called(making: Making) -> None:
    """A line behind the translation knows who came and the inside that was reached."""
    making.add(logged_float())
    said = who(making, FLOATING, T0, "--to", OUTSIDE)
    (record,) = said["connections"]
    assert (record["dst_ip"], record["dst_port"], record["nat_dst_ip"]) == (None, None, "10.0.0.9")
    first = asked(making, FLOATING, T0, "--to", OUTSIDE).out.splitlines()[0]
    assert " may have been 10.0.0.9:22 in " in first


def test_it_is_said_to_be_no_proof(making: Making) -> None:
    """In the sentence, in the table, and in what the record is said not to tell."""
    making.add(logged())
    lines = asked(making, PUBLIC, T0, "--to", REMOTE).out.splitlines()
    assert lines[0] == (
        f"{PUBLIC} at 2026-11-20 13:05:09 UTC may have been 10.0.0.5:40000 in {ROUTER}; "
        f"{NOT_PROVEN}, so this is possible, not proven"
    )
    assert lines[3].split()[2:] == ["?", ROUTER, "nat", "tcp", "10.0.0.5:40000", REMOTE, "?", "=", "unknown"]
    assert lines[5:] == [
        "searched 2026-11-20 13:04:09 to 2026-11-20 13:06:09 UTC; the record does not tell everything there:",
        "  2026-11-19 13:05:09 to now: an engine that reads kernel lines was running: ends, counters and the "
        "public side of a translation are not recorded",
        f"'{rfc3339(T0)}' was read as 2026-11-20 13:05:09 UTC",
    ]


def test_without_the_other_end(making: Making) -> None:
    """Thousands would match: none is listed, what to add is said, and the status is that of a record with gaps."""
    making.add(*(logged(src_port=port) for port in range(50)))
    said = who(making)
    assert (said["verdict"], said["connections"], said["possible"], said["more_with_to"]) == ("none", [], 0, True)
    answer = asked(making)
    assert answer.status == 3
    assert "name the other end with --to IP[:PORT] to see which" in answer.out


def test_nothing_fits(making: Making) -> None:
    """With the other end, lines of other ends are none; and the record still claims nothing."""
    making.add(logged(), logged_float())
    answer = asked(making, PUBLIC, T0, "--to", "198.51.100.10")
    assert answer.status == 3
    assert "no connection found" in answer.out
    assert "--to" not in answer.out
    assert who(making, PUBLIC, T0, "--to", "198.51.100.9:444")["verdict"] == "none"
    assert who(making, PUBLIC, T0 + 61 * SECOND, "--to", REMOTE)["verdict"] == "none"


def test_several_insides(making: Making) -> None:
    """All that fit, the nearest in time first."""
    making.add(*(logged(src_ip=f"10.0.0.{n}", src_port=n, start=T0 + n * SECOND) for n in range(1, 8)))
    said = who(making, PUBLIC, T0 + 5 * SECOND, "--to", REMOTE, "--limit", "3")
    assert (said["verdict"], ports(said)[0], said["possible"]) == ("several", 5, 7)
    first = asked(making, PUBLIC, T0 + 5 * SECOND, "--to", REMOTE).out.splitlines()[0]
    assert " could be any of 7 inside hosts, the nearest first: 10.0.0.5:5 in " in first
    assert first.endswith(f" and 2 more; {NOT_PROVEN}, so this is possible, not proven")


def test_how_far_off(making: Making) -> None:
    """Nobody knows how long it lasted: what is said is how long before it began."""
    making.add(logged())
    later, before = (asked(making, PUBLIC, T0 + s * SECOND, "--to", REMOTE).out.splitlines()[0] for s in (-7, 9))
    assert "; the nearest connection began 7 s later; the public side" in later
    assert "; the nearest connection began 9 s before, its end is not known; the public side" in before


def test_the_likelier_first(making: Making) -> None:
    """A namespace that had the address comes before others, then the same port inside as outside, then the time."""
    elsewhere = {"netns": "qrouter-2", "netns_inode": INODE + 1}
    making.add(of_address("203.0.113.7"), table="addresses")
    making.add(
        logged(src_port=1),
        logged(src_port=40213, start=T0 + 9 * SECOND),
        logged(src_port=40213, src_ip="10.0.0.6", **elsewhere),
        logged(src_port=2, start=T0 + SECOND),
    )
    said = who(making, PUBLIC, T0, "--to", REMOTE)
    assert [(record["src_port"], record["netns"]) for record in said["connections"]] == [
        (40213, ROUTER),
        (1, ROUTER),
        (2, ROUTER),
        (40213, "qrouter-2"),
    ]
    assert said["address"]["on_node"] is True


def test_beside_what_is_certain(making: Making) -> None:
    """Once a connection whose public side is recorded was open at that time, it was that one, and nothing else is
    offered; else it comes first, and the lines behind it."""
    making.add(*whole(5), logged(src_port=1, src_ip="10.0.0.6", start=T0 + 20 * SECOND))
    said = who(making, PUBLIC, T0 + SECOND, "--to", REMOTE)
    assert (said["verdict"], ports(said), said["possible"]) == ("one", [40000], 0)
    said = who(making, PUBLIC, T0 + 20 * SECOND, "--to", REMOTE)
    assert (said["verdict"], ports(said), said["possible"]) == ("several", [40000, 1], 1)
    first = asked(making, PUBLIC, T0 + 20 * SECOND, "--to", REMOTE).out.splitlines()[0]
    assert first.endswith(f"; of 1 of these 2 connections {NOT_PROVEN}: they are possible, not proven")


def test_a_certain_one_of_the_same_inside(making: Making) -> None:
    """The sentence rests on it, and does not make it less certain than it is."""
    making.add(*whole(5), logged(start=T0 + 20 * SECOND))
    first = asked(making, PUBLIC, T0 + 20 * SECOND, "--to", REMOTE).out.splitlines()[0]
    assert f"UTC was 10.0.0.5:40000 in {ROUTER}; " in first
    assert "of 1 of these 2 connections" in first


def test_ipv6_that_nobody_translates(making: Making) -> None:
    """A line whose source is the very address is found without --to, and with it the lines of others are not it."""
    own = ends(src="[2001:db8::5]:4000", dst="[2001:db8:9::1]:443")
    other = ends(src="[2001:db8::6]:4001", dst="[2001:db8:9::1]:443")
    making.add(logged(**own), logged(**other))
    for words in ([], ["--to", "2001:db8:9::1"]):
        assert ports(who(making, "[2001:db8::5]:4000", T0, *words)) == [4000]
        assert ports(who(making, "2001:db8::6", T0, *words)) == [4001]
    assert ports(who(making, "[2001:db8::5]:4001", T0)) == []
    assert ports(who(making, "[2001:db8:9::1]:443", T0)) == []


def test_passing_another_router(making: Making) -> None:
    """A line of a second router shows the public address as its source: it passed there, and is not the inside."""
    making.add(of_address("203.0.113.7"), table="addresses")
    passing = logged(netns="qrouter-2", netns_inode=INODE + 1, **ends(src=PUBLIC, dst=REMOTE))
    making.add(passing)
    assert [record["netns"] for record in who(making, PUBLIC, T0, "--to", REMOTE)["connections"]] == ["qrouter-2"]
    making.add(logged())
    assert ports(who(making, PUBLIC, T0, "--to", REMOTE)) == [40000]


def test_the_router_itself(making: Making) -> None:
    """What the namespace opened itself, from its own address, may be it as much as what it translated."""
    making.add(of_address("203.0.113.7"), table="addresses")
    making.add(logged(**ends(src=PUBLIC, dst=REMOTE)), logged())
    assert ports(who(making, PUBLIC, T0, "--to", REMOTE)) == [40213, 40000]


def test_neighbours(making: Making) -> None:
    """The MAC address behind the inner address is joined, whichever side that is."""
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "qr-1", "from": T0 - DAY, "to": None}
    making.add(row | {"address": "10.0.0.5", "mac": bytes.fromhex("fa163e000001")}, table="neighbours")
    making.add(row | {"address": "10.0.0.9", "mac": bytes.fromhex("fa163e000002")}, table="neighbours")
    making.add(logged(), logged_float())
    assert "(MAC fa:16:3e:00:00:01)" in asked(making, PUBLIC, T0, "--to", REMOTE).out
    assert "(MAC fa:16:3e:00:00:02)" in asked(making, FLOATING, T0, "--to", OUTSIDE).out


def test_holes_beside_what_is_never_told(making: Making) -> None:
    """Gaps are listed as gaps, and what the record of that time does not tell behind them."""
    making.add({"node": "gw1", "from": T0, "to": T0 + SECOND, "cause": "overrun", "lost": 3}, table="gaps")
    lines = asked(making, PUBLIC, T0).out.splitlines()
    at = lines.index("searched 2026-11-20 13:04:09 to 2026-11-20 13:06:09 UTC; the record has gaps there:")
    assert lines[at + 1].endswith(": overrun in every namespace, 3 lost")
    assert lines[at + 2] == "and it does not tell everything:"


def test_lines_imported(making: Making) -> None:
    """Lines of another program's log are answered as the kernel's own are."""
    making.add(logged(origin="import"), start(src_port=9, dst_port=80, nat_dst_port=80))
    said = who(making, PUBLIC, T0, "--to", REMOTE)
    assert (ports(said), said["possible"]) == ([40000], 1)


@pytest.mark.parametrize("netns", [["--netns", r"\Aqrouter\pP"], ["--netns", "unknown"], []])
def test_who_names_a_namespace_hears_of_lines_that_tell_none(making: Making, netns: list[str]) -> None:
    """A line without a hash may be of the namespace named: `who` and `search` say so, if it fits all else."""
    making.add(logged(netns="unknown", netns_inode=0))
    fitting = asked(making, PUBLIC, T0, "--to", REMOTE, *netns)
    other = asked(making, PUBLIC, T0, "--to", "198.51.100.9:80", *netns)
    searched = Answer("search", "--dport", "443", "--store", making.path, *netns)
    past = Answer("search", "--dport", "80", "--store", making.path, *netns)
    left_out = netns != [] and netns[1] != "unknown"
    hint = "--netns unknown shows them"
    assert [hint in answer.err for answer in (fitting, other, searched, past)] == [left_out, False, left_out, False]
    assert (fitting.status, searched.status) == ((3, 3) if left_out else (0, 0))
