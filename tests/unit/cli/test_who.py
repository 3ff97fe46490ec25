"""The inside behind a public address, for every kind of connection; what is said when there is none, or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anetcon.cli.answer import HANDSHAKE
from anetcon.errors import NOT_FOUND_WITH_GAPS
from anetcon.query.times import rfc3339
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import DAY, INODE, ROUTER, SECOND, T0, Making, end, ends, lone, start, whole

PUBLIC = "203.0.113.7:40213"
FLOATING = ends(src="192.0.2.1:5000", dst="203.0.113.9:22", nat_src="192.0.2.1:5000", nat_dst="10.0.0.9:2222")


def of_address(address: str, **values: Any) -> dict[str, Any]:
    """A row of the table addresses."""
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "qg-1", "address": address}
    return row | {"from": T0 - DAY, "to": None} | {name.rstrip("_"): value for name, value in values.items()}


def of_neighbour(address: str, mac: str, **values: Any) -> dict[str, Any]:
    """A row of the table neighbours."""
    return of_address(address, **values) | {"interface": "qr-1", "mac": bytes.fromhex(mac.replace(":", ""))}


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store of a router that has one address, recorded since a day before T0."""
    making = Making(tmp_path / "store")
    making.add({"node": "gw1", "from": None, "to": T0 - DAY, "cause": "never-recorded"}, table="gaps")
    return making.add(of_address("203.0.113.7"), table="addresses")


def who(making: Making, address: str = PUBLIC, at: int = T0 + SECOND, *more: str) -> dict[str, Any]:
    """The answer as JSON; its exit status fits its verdict."""
    making.alive(T0 + 2 * DAY)
    answer = Answer("who", address, "--at", rfc3339(at), "--store", making.path, "--format", "json", *more)
    said = answer.json
    complete = said["coverage"]["complete"]
    assert answer.status == (0 if said["connections"] else 1 if complete else 3)
    assert (said["verdict"] == "none") == (said["connections"] == [])
    return said


def ports(said: dict[str, Any]) -> list[int]:
    """The inner source ports found, nearest first."""
    return [record["src_port"] for record in said["connections"]]


def test_a_time_that_is_still_to_come(making: Making) -> None:
    """It is said to be, and the window that was searched does not end before it begins, whoever wrote the store."""
    later = "2190-01-01T00:00:00Z"
    for journal in (False, True):
        if journal:
            making.alive(T0)
        said = Answer("who", PUBLIC, "--at", later, "--store", making.path)
        assert said.out.splitlines()[-1] == "that time is still to come"
        assert "the window has not begun: that time is in the future by this machine's clock" in said.out
        assert said.status == NOT_FOUND_WITH_GAPS
        assert "searched 2189-12-31 23:59:00 to 2189-12-31 23:59:00 UTC" in said.out
    assert (
        Answer("who", PUBLIC, "--at", "now", "--store", making.path, "--format", "json").json["query"]["note"] is None
    )


def test_the_shape_of_the_answer(making: Making) -> None:
    """The JSON answer has exactly these keys, and its records exactly the fields of the record."""
    said = who(making.add(*whole()), PUBLIC, T0 + SECOND, "--to", "198.51.100.9:443", "--netns", "qrouter")
    assert list(said) == [
        *("version", "query", "verdict", "possible", "packets", "more_with_to", "coverage"),
        *("connections", "address", "neighbours", "macs", "source", "same_connection"),
    ]
    assert said["version"] == 1
    assert said["coverage"] == {
        "complete": True,
        "from": "2026-11-20T13:04:10.000000Z",
        "to": "2026-11-20T13:06:10.000000Z",
        "gaps": [],
        "notes": [],
        "namespaces": 1,
    }
    assert said["connections"] == [
        {
            "start": "2026-11-20T13:05:09.000000Z",
            "end": "2026-11-20T13:05:19.000000Z",
            "node": "gw1",
            "netns": ROUTER,
            "class": "nat",
            "proto": "tcp",
            "src_ip": "10.0.0.5",
            "src_port": 40000,
            "dst_ip": "198.51.100.9",
            "dst_port": 443,
            "nat_src_ip": "203.0.113.7",
            "nat_src_port": 40213,
            "nat_dst_ip": "198.51.100.9",
            "nat_dst_port": 443,
            "packets_out": 6,
            "bytes_out": 600,
            "packets_in": 5,
            "bytes_in": 5000,
            "end_reason": "closed",
            "zone": 0,
            "mark": 0,
            "ct_id": 7,
            "origin": "event",
            "family": "ipv4",
            "reply": "assured",
            "start_is": "begin",
        }
    ]
    query = said["query"]
    assert (query["address"], query["port"], query["to"]) == (
        "203.0.113.7",
        40213,
        {"address": "198.51.100.9", "port": 443},
    )
    assert (query["at"], query["within_seconds"], query["netns"]) == ("2026-11-20T13:05:10.000000Z", 60.0, ["qrouter"])


def test_source_translation(making: Making) -> None:
    """The instance behind the router's address and port; another port, or another far end, is another connection."""
    making.add(*whole(), *whole(src_port=40001, nat_src_port=40214, dst_port=80, nat_dst_port=80))
    assert ports(who(making)) == [40000]
    assert sorted(ports(who(making, "203.0.113.7"))) == [40000, 40001]
    assert ports(who(making, "203.0.113.7", T0, "--to", "198.51.100.9:80")) == [40001]
    assert ports(who(making, PUBLIC, T0, "--to", "198.51.100.9:80")) == []
    assert sorted(ports(who(making, "203.0.113.7", T0, "--to", "198.51.100.9"))) == [40000, 40001]


def test_floating_address(making: Making) -> None:
    """An instance that is reached by its floating address, and one that calls out with it, is found by it."""
    making.add(*whole(class_="float", **FLOATING))
    making.add(*whole(**ends(src="10.0.0.9:6000", dst="192.0.2.2:53", nat_src="203.0.113.9:6000")))
    said = who(making, "203.0.113.9:22")
    assert [record["nat_dst_ip"] for record in said["connections"]] == ["10.0.0.9"]
    assert ports(who(making, "203.0.113.9:22", T0, "--to", "192.0.2.1:5000")) == [5000]
    assert ports(who(making, "203.0.113.9:22", T0, "--to", "192.0.2.1:5001")) == []
    assert who(making, "203.0.113.9")["verdict"] == "one"
    assert len(who(making, "203.0.113.9")["connections"]) == 2


def test_hairpin(making: Making) -> None:
    """Translated at both ends, a connection is found by either public side, each with its own inside."""
    making.add(
        *whole(
            class_="float",
            **ends(src="10.0.0.5:40000", dst="203.0.113.9:22", nat_src="203.0.113.7:40213", nat_dst="10.0.0.9:22"),
        )
    )
    assert ports(who(making, PUBLIC, T0, "--to", "203.0.113.9:22")) == [40000]
    assert ports(who(making, "203.0.113.9:22", T0, "--to", PUBLIC)) == [40000]
    table = [
        Answer("who", address, "--at", rfc3339(T0), "--store", making.path).out.splitlines()[0]
        for address in (PUBLIC, "203.0.113.9:22")
    ]
    assert f"was 10.0.0.5:40000 in {ROUTER}" in table[0]
    assert f"was 10.0.0.9:22 in {ROUTER}" in table[1]


@pytest.mark.parametrize("proto", [17, 1, 47, 132])
def test_other_protocols(making: Making, proto: int) -> None:
    """UDP, ICMP (its id in the port's place) and the others are found as TCP is, side by side with it."""
    making.add(*whole(), *whole(src_port=9, proto=proto))
    assert sorted(ports(who(making))) == [9, 40000]


def test_ipv6(making: Making) -> None:
    """An address of IPv6, which nobody translates, is found at either end, with its port or without."""
    making.add(*whole(**ends(src="[2001:db8::5]:4000", dst="[2001:db8:9::1]:443", nat_src="[2001:db8::5]:4000")))
    for address in ("[2001:db8::5]:4000", "2001:db8::5", "[2001:DB8:0::5]", "[2001:db8:9::1]:443"):
        assert ports(who(making, address)) == [4000], address
    assert ports(who(making, "[2001:db8::5]:4001")) == []


def test_one_public_port_for_two_insides(making: Making) -> None:
    """Used by two insides within the window, the port is of several, the one nearer to the time first."""
    other = ends(src="10.0.0.6:1111", dst="198.51.100.9:443", nat_src=PUBLIC)
    making.add(*whole(5), *whole(5, start=T0 + 20 * SECOND, **other))
    for at, order in ((T0, [40000, 1111]), (T0 + 21 * SECOND, [1111, 40000]), (T0 + 19 * SECOND, [1111, 40000])):
        said = who(making, PUBLIC, at)
        assert (said["verdict"], ports(said)) == ("several", order)
    assert who(making, PUBLIC, T0, "--within", "10s")["verdict"] == "one"


def test_open_at_the_time_comes_first(making: Making) -> None:
    """What was open at the time, however long ago it began, is nearer than what had ended, however shortly before."""
    making.add(*whole(3 * 3600, src_port=1, start=T0 - 2 * 3600 * SECOND), *whole(1, src_port=2))
    making.add(*whole(1, src_port=3, start=T0 + 4 * SECOND), *whole(60, src_port=4, start=T0 - 30 * SECOND))
    assert ports(who(making, PUBLIC, T0 + 3 * SECOND)) == [4, 1, 3, 2]


def test_the_same_inside_in_two_namespaces(making: Making) -> None:
    """The same inner address in two namespaces is two insides."""
    making.add(*whole(), *whole(netns="qrouter-2", netns_inode=INODE + 1))
    assert who(making)["verdict"] == "several"
    assert who(making, PUBLIC, T0, "--netns", "^qrouter-2$")["verdict"] == "one"


def test_one_whole_tuple_twice(making: Making) -> None:
    """The same five numbers used again are two connections of one inside."""
    making.add(*whole(1), *whole(1, start=T0 + 5 * SECOND))
    said = who(making, PUBLIC, T0 + 5 * SECOND)
    assert (said["verdict"], len(said["connections"])) == ("one", 2)
    assert said["connections"][0]["start"] == rfc3339(T0 + 5 * SECOND)


def test_still_open(making: Making) -> None:
    """A connection that began days before is found while it is open, and for every moment of its life once it ended."""
    making.add(start(start=T0 - 20 * 3600 * SECOND)).rotate()
    Sealer(making.path, clock=lambda: T0).seal()
    assert [record["end"] for record in who(making)["connections"]] == [None]
    making.add(end(40 * 3600, start=T0 - 20 * 3600 * SECOND))
    assert ports(who(making)) == [40000]
    making.rotate()
    Sealer(making.path, clock=lambda: T0).seal()
    assert ports(who(making)) == [40000]
    assert ports(who(making, PUBLIC, T0 + 21 * 3600 * SECOND)) == []


def test_the_window(making: Making) -> None:
    """What ended or began at the very edge of the window is found, and nothing beyond it."""
    making.add(*whole(10))
    for offset, count in ((70 * SECOND, 1), (70 * SECOND + 1, 0), (-60 * SECOND, 1), (-60 * SECOND - 1, 0)):
        assert len(who(making, PUBLIC, T0 + offset)["connections"]) == count, offset


def test_passing_another_router(making: Making) -> None:
    """When two routers of one node saw a connection, who it was is known to the one that translated."""
    making.add(*whole(**ends(src="10.0.0.5:40000", dst="203.0.113.9:22", nat_src=PUBLIC)))
    seen_there = ends(src=PUBLIC, dst="203.0.113.9:22", nat_src=PUBLIC, nat_dst="10.1.0.9:22")
    making.add(*whole(netns="qrouter-2", netns_inode=INODE + 1, class_="float", **seen_there))
    said = who(making)
    assert (said["verdict"], said["connections"][0]["src_ip"]) == ("one", "10.0.0.5")
    said = who(making, "203.0.113.9:22")
    assert (said["verdict"], said["connections"][0]["netns"]) == ("one", "qrouter-2")


def test_the_far_side_is_nobody_of_ours(making: Making) -> None:
    """Whom an instance called, or who called one, is not behind this node."""
    making.add(*whole(), *whole(class_="float", **FLOATING))
    assert who(making, "198.51.100.9:443")["verdict"] == "none"
    assert who(making, "192.0.2.1:5000")["verdict"] == "none"


def test_an_address_that_calls_itself(making: Making) -> None:
    """A public address that reaches, through its own translation, an inside: that is the inside."""
    own = ends(src="203.0.113.7:5000", dst="203.0.113.7:80", nat_src="203.0.113.7:5000", nat_dst="10.0.0.9:80")
    making.add(*whole(class_="float", **own)).alive(T0 + DAY)
    line = Answer("who", "203.0.113.7", "--at", rfc3339(T0), "--store", making.path).out.splitlines()[0]
    assert f"was 10.0.0.9 in {ROUTER}, 1 connection" in line


def test_the_router_itself(making: Making) -> None:
    """A connection to the router's own address has the namespace itself as its inside."""
    making.add(*whole(class_="local", **ends(src="192.0.2.1:5000", dst="203.0.113.7:22", nat_src="192.0.2.1:5000")))
    assert who(making, "203.0.113.7:22")["verdict"] == "one"
    line = Answer("who", "203.0.113.7:22", "--at", rfc3339(T0), "--store", making.path).out.splitlines()[0]
    assert f"was {ROUTER} itself (203.0.113.7:22)" in line


def test_what_the_router_itself_sent_to_a_group(making: Making) -> None:
    """VRRP is class `local` too, and its source is found all the same: the router was not what was reached."""
    vrrp = ends(src="169.254.192.5:0", dst="224.0.0.18:0", nat_src="169.254.192.5:0", nat_dst="224.0.0.18:0")
    making.add(*whole(class_="local", **vrrp))
    assert who(making, "169.254.192.5")["verdict"] == "one"


def test_addresses_of_this_node(making: Making) -> None:
    """The answer says whether the address was on this node then, and when it was."""
    making.add(of_address("203.0.113.8", to=T0 - 3600 * SECOND), table="addresses")
    said = who(making)["address"]
    assert (said["on_node"], [row["interface"] for row in said["intervals"]]) == (True, ["qg-1"])
    assert who(making, "203.0.113.8")["address"] == {"on_node": None, "intervals": []}
    assert who(making, "203.0.113.8", T0 - 2 * 3600 * SECOND)["address"]["on_node"] is True
    assert who(making, "203.0.113.8", T0 - 2 * DAY)["address"]["on_node"] is None


def test_never_here(making: Making) -> None:
    """Of an address that nothing here accounts for nothing is claimed, and it is said what to do. With a match there is
    no such line: it is the address of a pool, which stands on no interface."""
    making.alive(T0 + DAY)
    answer = Answer("who", "203.0.113.250", "--at", rfc3339(T0), "--store", making.path)
    assert answer.status == 3
    assert "203.0.113.250 stood on no interface of an audited namespace in that time" in answer.out
    assert "2026-11-20 13:04:09 to 2026-11-20 13:06:09: not-audited in every namespace" in answer.out
    assert "audit.public" in answer.out
    making.add(*whole(nat_src_ip="203.0.113.250"))
    answer = Answer("who", "203.0.113.250", "--at", rfc3339(T0), "--store", making.path)
    assert answer.status == 0
    assert "interface" not in answer.out


def test_nothing_found_in_a_gap(making: Making) -> None:
    """Nothing found where something is missing is another exit status, and the gap is named."""
    making.add({"node": "gw1", "from": T0, "to": T0 + SECOND, "cause": "overrun", "lost": 3}, table="gaps").alive(
        T0 + DAY
    )
    answer = Answer("who", PUBLIC, "--at", rfc3339(T0), "--store", making.path)
    assert answer.status == 3
    assert "overrun in every namespace, 3 lost" in answer.out
    assert who(making)["coverage"]["gaps"][0]["lost"] == 3


def of_macs(making: Making, *intervals: tuple[str, int, int | None], **other: Any) -> tuple[Any, str]:
    """What is said of the MAC addresses of an inside that had these from and to a time around its connection's start,
    in microseconds: in JSON, and in the sentence."""
    rows = [
        of_neighbour("10.0.0.5", f"fa:16:3e:00:00:{mac}", from_=T0 + begin, to=None if over is None else T0 + over)
        for mac, begin, over in intervals
    ]
    making.add(*whole()).add(*(row | other for row in rows), table="neighbours")
    (macs,) = who(making)["macs"]
    said = Answer("who", PUBLIC, "--at", rfc3339(T0), "--store", making.path).out.splitlines()[0]
    assert (macs["node"], macs["netns"], macs["address"]) == ("gw1", ROUTER, "10.0.0.5")
    short = [[mac[-2:] for mac in macs[key]] for key in ("at_start", "others")]
    return short, said.replace("fa:16:3e:00:00:", "")


HOURS = 3600 * SECOND
MS = 1000


@pytest.mark.parametrize(
    ("intervals", "macs", "words"),
    [
        ([("01", -HOURS, None)], [["01"], []], "(MAC 01)"),
        ([("01", -HOURS, 9 * MS), ("02", 9 * MS, None)], [["01", "02"], []], "01 or 02: the address changed its MAC"),
        ([("01", -HOURS, -9 * MS), ("02", -9 * MS, None)], [["01", "02"], []], "01 or 02: the address changed its MAC"),
        ([("01", -HOURS, 2 * SECOND), ("02", 2 * SECOND, None)], [["01"], ["02"]], "(MAC 01; in the window also 02)"),
        ([("01", -HOURS, -2 * SECOND), ("02", -2 * SECOND, None)], [["02"], ["01"]], "(MAC 02; in the window also 01)"),
        ([("02", 900 * MS, None)], [["02"], []], "(MAC 02)"),
        ([("01", -HOURS, 5 * MS), ("01", 6 * MS, None)], [["01"], []], "(MAC 01)"),
        ([("02", 3 * SECOND, None)], [[], ["02"]], "(MAC 02, known from 3 s later on)"),
        ([("01", -HOURS, -3 * SECOND)], [[], ["01"]], "(MAC 01, known until 3 s before)"),
    ],
)
def test_macs_around_the_start(
    making: Making, intervals: list[tuple[str, int, int | None]], macs: Any, words: str
) -> None:
    """The MAC address of that time is in the sentence; where it changed within a second of the start it may be either,
    since a change is dated when it is read. Others that the address had in the window are told from those."""
    found, said = of_macs(making, *intervals)
    assert found == macs
    assert words in said


def test_the_mac_of_another_time_is_not_named(making: Making) -> None:
    """One that the address had only before the window is none of its."""
    found, said = of_macs(making, ("01", -2 * HOURS, -HOURS))
    assert found == [[], []]
    assert "MAC" not in said


@pytest.mark.parametrize("other", [{"netns_inode": INODE + 1}, {"netns": "qrouter-other"}, {"node": "gw2"}])
def test_the_mac_of_another_namespace(making: Making, other: dict[str, Any]) -> None:
    """A namespace of the same name before this one, another one, or one of another node says nothing about it."""
    found, said = of_macs(making, ("01", -HOURS, None), **other)
    assert found == [[], []]
    assert "MAC" not in said


def test_neighbours(making: Making) -> None:
    """The MAC addresses behind the inner address are joined."""
    making.add(*whole()).add(
        of_neighbour("10.0.0.5", "fa:16:3e:00:00:01", to=T0 - 10 * SECOND),
        of_neighbour("10.0.0.5", "fa:16:3e:00:00:02", from_=T0 - 9 * SECOND),
        of_neighbour("10.0.0.6", "fa:16:3e:00:00:03"),
        table="neighbours",
    )
    macs = [row["mac"] for row in who(making)["neighbours"]]
    assert macs == ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02"]


def test_in_words(making: Making) -> None:
    """The answer for a person is a sentence, the connections, the window in UTC, and how the time was read."""
    making.add(*whole()).alive(T0 + DAY)
    words = ["--at", "2026-11-20 14:05:30", "--tz", "Europe/Madrid", "--store", str(making.path)]
    lines = Answer("who", PUBLIC, *words).out.splitlines()
    assert lines[0] == (
        f"{PUBLIC} at 2026-11-20 13:05:30 UTC was 10.0.0.5:40000 in {ROUTER}; "
        "the nearest connection had ended 11 s before"
    )
    assert lines[1] == HANDSHAKE
    assert "10.0.0.5:40000" in lines[4]
    assert "searched 2026-11-20 13:04:30 to 2026-11-20 13:06:30 UTC; the record is complete for 1 namespace" in lines
    assert "'2026-11-20 14:05:30' was read as 2026-11-20 13:05:30 UTC" in lines


@pytest.mark.parametrize(
    ("at", "says"),
    [(-SECOND, "began 1 s later"), (1 - SECOND, ""), (0, ""), (10 * SECOND, ""), (12 * SECOND, "had ended 2 s before")],
)
def test_how_far_off(making: Making, at: int, says: str) -> None:
    """The sentence says how far off the nearest connection is, when it is by a second or more."""
    making.add(*whole(10)).alive(T0 + DAY)
    line = Answer("who", PUBLIC, "--at", rfc3339(T0 + at), "--store", making.path).out.splitlines()[0]
    assert line.endswith(f"; the nearest connection {says}" if says else ROUTER)


def test_several_in_words(making: Making) -> None:
    """Several insides are listed, the nearest first, the rest counted."""
    for number in range(7):
        making.add(*whole(src_ip=f"10.0.0.{number + 1}", start=T0 + number * SECOND))
    making.alive(T0 + DAY)
    line = Answer("who", PUBLIC, "--at", rfc3339(T0), "--store", making.path).out.splitlines()[0]
    assert "any of 7 inside hosts, the nearest first: 10.0.0.1:40000 in" in line
    assert line.endswith(" and 2 more")


def test_without_a_port(making: Making) -> None:
    """Who names no port is told the inside hosts and how many connections each had, all of them whatever the limit."""
    asked = ["who", "203.0.113.7", "--at", rfc3339(T0), "--store", str(making.path)]
    making.add(*(row for port in (1, 2, 3) for row in whole(src_port=port, nat_src_port=port))).alive(T0 + DAY)
    line = Answer(*asked).out.splitlines()[0]
    assert line == f"203.0.113.7 at 2026-11-20 13:05:09 UTC was 10.0.0.5 in {ROUTER}, 3 connections"
    making.add(*whole(src_ip="10.0.0.6", start=T0 + 30 * SECOND)).add(
        of_neighbour("10.0.0.6", "fa:16:3e:00:00:06"), table="neighbours"
    )
    for limit in ("3", "0"):
        line = Answer(*asked, "--limit", limit).out.splitlines()[0]
        assert line == (
            "203.0.113.7 at 2026-11-20 13:05:09 UTC could be any of 2 inside hosts, the nearest first: "
            f"10.0.0.5 in {ROUTER}, 3 connections; 10.0.0.6 in {ROUTER} (MAC fa:16:3e:00:00:06), 1 connection"
        )


def test_more_than_are_shown(making: Making) -> None:
    """With a limit the nearest are shown, and how many there are is said; the verdict is of all."""
    for number in range(5):
        making.add(*whole(src_ip=f"10.0.0.{number + 1}", start=T0 + number * SECOND))
    making.alive(T0 + DAY)
    answer = Answer("who", PUBLIC, "--at", rfc3339(T0), "--store", making.path, "--limit", "1", "--format", "json")
    assert [record["src_ip"] for record in answer.json["connections"]] == ["10.0.0.1"]
    assert answer.json["verdict"] == "several"
    assert "5 connections match" in answer.err


def test_what_was_only_found_began_before(making: Making) -> None:
    """Of a connection that the kernel told no start of the answer says so: it may have been open before it was found,
    and comes behind one that was open."""
    found = start(origin="dump", start_is="found", start=T0 + 30 * SECOND)
    making.add(found).alive(T0 + DAY)
    said = Answer("who", PUBLIC, "--at", rfc3339(T0), "--store", making.path).out
    assert "the nearest connection was found 30 s later: it began then or before" in said
    assert "before 2026-11-20 13:05:39.000" in said
    assert who(making, PUBLIC, T0)["connections"][0]["start_is"] == "found"
    making.add(*whole(20, start=T0 - 15 * SECOND, src_port=1))
    assert ports(who(making, PUBLIC, T0)) == [1, 40000]
    assert ports(who(making, PUBLIC, T0 + 6 * SECOND)) == [40000, 1]


@pytest.mark.parametrize(
    ("reply", "proto", "words"),
    [
        ("none", 6, "source unproven: no reply came back"),
        ("seen", 6, "answered; that does not prove the source"),
        ("assured", 6, HANDSHAKE),
        ("none", 17, "source unproven: no reply came back"),
        ("assured", 17, "answered; that does not prove the source"),
    ],
)
def test_what_a_reply_proves(making: Making, reply: str, proto: int, words: str) -> None:
    """A source is anybody's to write: the answer says what came back to it, in words and as JSON."""
    making.add(end(reply=reply, proto=proto)).alive(T0 + DAY)
    asked = ["who", PUBLIC, "--at", rfc3339(T0), "--store", str(making.path)]
    assert Answer(*asked).out.splitlines()[1] == words
    assert who(making)["source"] == words
    making.add(end(src_port=1, start=T0 - SECOND, reply="none"))
    assert Answer(*asked).out.splitlines()[1] == f"of the nearest: {words}"


def test_what_came_back_is_not_known_yet(making: Making) -> None:
    """While a connection is open, and its start alone is on record."""
    making.add(start())
    assert who(making)["source"] == "whether a reply came back is known when it ends"


def test_rows_alone(making: Making) -> None:
    """As csv and jsonl the answer is the records alone, and one line on stderr about the window."""
    making.add(*whole()).alive(T0 + DAY)
    asked = ["who", PUBLIC, "--at", rfc3339(T0), "--store", str(making.path), "--format"]
    (line,) = Answer(*asked, "jsonl").lines
    said = "searched 2026-11-20 13:04:09 to 2026-11-20 13:06:09 UTC; the record is complete for 1 namespace\n"
    assert Answer(*asked, "jsonl").err == Answer(*asked, "csv").err == said
    head, row = Answer(*asked, "csv").out.splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True)) == {name: str(value) for name, value in line.items()}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["203.0.113.7:x", "--at", "now"], "IP[:PORT]"),
        (["203.0.113.7:70000", "--at", "now"], "IP[:PORT]"),
        (["203.0.113.0/24", "--at", "now"], "IP[:PORT]"),
        (["[2001:db8::1", "--at", "now"], "IP[:PORT]"),
        (["example.org", "--at", "now"], "IP[:PORT]"),
        (["203.0.113.7", "--at", "soon"], "--at"),
        (["203.0.113.7"], "--at"),
        (["203.0.113.7", "--at", "now", "--within", "long"], "--within"),
        (["203.0.113.7", "--at", "now", "--to", "x"], "--to"),
        (["203.0.113.7", "--at", "now", "--tz", "Mars"], "--tz"),
        (["203.0.113.7", "--at", "now", "--netns", "("], "--netns"),
        (["203.0.113.7", "--at", "now", "--netns", "qruoter"], "--netns"),
        (["203.0.113.7", "--at", "now", "--node", "gw2"], "--node"),
        (["203.0.113.7", "--at", "now", "--format", "xml"], "--format"),
    ],
)
def test_wrong_usage(making: Making, words: list[str], names: str) -> None:
    """What cannot be read is wrong usage that names the option."""
    answer = Answer("who", *words, "--store", making.path)
    assert answer.status == 2
    assert names in answer.err


def test_no_store(tmp_path: Path) -> None:
    """Without a store there is one sentence and an exit status of its own."""
    answer = Answer("who", PUBLIC, "--at", "now", "--store", tmp_path)
    assert (answer.status, answer.out) == (8, "")
    assert answer.err.startswith("anetcon: there is no store")


ROUTED = ends(src="[2001:db8:1::12]:4000", dst="[2001:db8:f::1]:80", nat_src="[2001:db8:1::12]:4000")
INVALID = "no connection, but a sample of packets that conntrack calls invalid, which nothing translated"


@pytest.mark.parametrize("sealed", [False, True])
def test_packets_that_are_no_connection(making: Making, sealed: bool) -> None:
    """Each is a row for itself, also of the tuple of a connection of that very time; it is said what they are."""
    making.add(lone(**ROUTED), lone(**ROUTED), lone(**(ROUTED | {"start": T0 + SECOND})))
    if sealed:
        making.rotate().alive(T0 + DAY)
        assert Sealer(making.path, clock=lambda: T0 + DAY).seal()
    said = who(making, "[2001:db8:1::12]:4000", T0)
    assert (said["verdict"], len(said["connections"]), said["packets"]) == ("one", 3, 3)
    assert said["source"] == "source unproven: a packet of no connection, which anybody can forge"
    words = Answer("who", "[2001:db8:1::12]:4000", "--at", rfc3339(T0 + 9 * SECOND), "--store", making.path).out
    assert f" UTC may have been [2001:db8:1::12]:4000 in {ROUTER}; the nearest packet left 8 s before; all" in words
    assert f"; all of this is {INVALID}\n" in words
    assert words.count("none: a packet, invalid") == 3
    making.add(start(**(ROUTED | {"start": T0 + 60})))
    said = who(making, "[2001:db8:1::12]:4000", T0)
    assert (said["verdict"], len(said["connections"]), said["packets"]) == ("one", 4, 3)
    words = Answer("who", "2001:db8:1::12", "--at", rfc3339(T0), "--store", making.path).out
    assert " was 2001:db8:1::12 in" in words
    assert f"; 3 of these 4 rows are {INVALID}\n" in words


def test_a_packet_beside_a_translated_connection(making: Making) -> None:
    """It carries the public address untranslated, as a forged one does: it is not taken for that connection."""
    making.add(*whole(), lone(**ends(src=PUBLIC, nat_src=PUBLIC)))
    said = who(making)
    assert (ports(said), said["packets"], said["verdict"]) == ([40000], 0, "one")
