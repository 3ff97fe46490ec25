"""Networks and addresses of a namespace as capture follows them, against what iproute2 shows there."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from anetcon.capture.addresses import MOST_ROUTES, Context
from anetcon.capture.surroundings import Surroundings
from anetcon.keeper import attach
from anetcon.testbed.bed import Namespace, Testbed
from tests.support.waiting import wait_until

Route = tuple[str, str]
"""Network and interface."""


class Follower:
    """What capture knows of one namespace, read as its loop reads: `turn` until it is as it should be."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        with namespace.inside():
            self.sockets = attach.open_sockets(1 << 16, True)
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.again()

    def again(self) -> None:
        """Begin as another capture does that is handed the same sockets."""
        now = time.time_ns() // 1000
        self.rows.clear()
        inode = self.namespace.inode
        self.capture = Surroundings(self.sockets.route, Context("n", self.namespace.name, inode))
        self.capture.follow(now)

    def turn(self) -> int:
        """Take what waits; how many datagrams that were at most."""
        now = time.time_ns() // 1000
        self.capture.read(now)
        self.capture.ask(now)
        self.rows += self.capture.context.take_rows()
        return now

    def open(self, table: str) -> set[Route]:
        """What lasts now, by the rows that were written."""
        now: dict[tuple[Any, ...], int] = {}
        for _, row in (each for each in self.rows if each[0] == table):
            address = _text(row["network" if table == "routes" else "address"], row["family"])
            key = f"{address}/{row['prefix_length']}", row["interface"]
            now[key] = now.get(key, 0) + (1 if row["to"] is None else -1)
        assert set(now.values()) <= {0, 1}, "a row is begun once and ended once"
        return {(network, interface) for (network, interface), count in now.items() if count}

    def settled(self, seconds: float = 5) -> None:
        """Wait until it knows what the kernel shows, and nothing is to be asked for."""

        def same() -> bool:
            self.turn()
            shown = routes(self.namespace), addresses(self.namespace)
            return (self.open("routes"), self.open("addresses")) == shown and not self.capture.context.wanted

        wait_until(same, seconds, "capture knows the routes and addresses")


def _text(packed: bytes, family: str) -> str:
    return str(ipaddress.ip_address(packed[12:] if family == "ipv4" else packed))


def routes(namespace: Namespace) -> set[Route]:
    """Unicast routes of every table but `local`, as iproute2 has them; not those that lead to a dead interface."""
    found: set[Route] = set()
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        listed = json.loads(namespace.run("ip", "-j", family, "route", "show", "table", "all", "type", "unicast"))
        for route in listed:
            network = everything if route["dst"] == "default" else str(ipaddress.ip_network(route["dst"]))
            hops = route.get("nexthops", [route])
            if route.get("table") != "local" and not network.startswith("fe80:"):
                found |= {(network, hop["dev"]) for hop in hops if "dead" not in hop.get("flags", [])}
    return found


def addresses(namespace: Namespace) -> set[Route]:
    """Addresses as iproute2 has them; that of a link to one peer has no network (the length is that of the peer's)."""
    links = json.loads(namespace.run("ip", "-j", "address"))
    return {
        (f"{each['local']}/{32 if 'address' in each else each['prefixlen']}", link["ifname"])
        for link in links
        for each in link["addr_info"]
    }


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    """A namespace with two links and an address of each family on each."""
    made = bed.namespace("routes")
    for number in (1, 2):
        name = f"d{number}"
        made.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"p{number}")
        made.run("ip", "link", "set", f"p{number}", "up")
        made.run("ip", "link", "set", name, "up")
        made.run("ip", "address", "add", f"10.{number}.0.1/24", "dev", name)
        made.run("ip", "address", "add", f"2001:db8:{number}::1/64", "dev", name, "nodad")
    return made


@pytest.fixture
def follower(namespace: Namespace) -> Iterator[Follower]:
    """One that knows everything there is."""
    made = Follower(namespace)
    made.settled()
    yield made
    made.sockets.close()


CHANGES = [
    "route add 10.5.0.0/16 via 10.1.0.2",
    "route replace 10.5.0.0/16 via 10.2.0.2",
    "route append 10.5.0.0/16 via 10.1.0.2",
    "route del 10.5.0.0/16 via 10.2.0.2",
    "route add default via 10.1.0.2",
    "route change default via 10.2.0.2",
    "route add default via 10.1.0.2 metric 50",
    "route del default via 10.2.0.2",
    "route add 10.6.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2",
    "route add 10.7.0.0/16 via 10.1.0.2 table 100100",
    "route add 10.7.0.0/16 via 10.1.0.2 table 16",
    "route del 10.7.0.0/16 via 10.1.0.2 table 16",
    "route add blackhole 10.66.0.0/16",
    "route add unreachable 10.67.0.0/16",
    "-6 route add 2001:db8:6::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2",
    "-6 route add 2001:db8:7::/48 via 2001:db8:1::2",
    "-6 route replace 2001:db8:7::/48 via 2001:db8:2::2",
    "-6 route append 2001:db8:7::/48 via 2001:db8:1::2",
    "-6 route del 2001:db8:7::/48 via 2001:db8:2::2",
    "-6 route add default via 2001:db8:1::2",
    "route add 10.8.0.0/16 dev d2 src 10.1.0.1",
    "nexthop add id 7 via 10.2.0.2 dev d2",
    "route add 10.9.0.0/16 nhid 7",
    "-6 nexthop add id 8 via 2001:db8:2::2 dev d2",
    "-6 route add 2001:db8:9::/48 nhid 8",
    "nexthop replace id 7 via 10.1.0.2 dev d1",
    "nexthop del id 7",
    "nexthop del id 8",
    "link set d2 down",
    "link set d2 up",
    "link set d2 name e2",
    "address add 10.2.0.1/32 dev e2",
    "address add 10.3.0.1 peer 10.30.0.1/24 dev e2",
    "address del 10.1.0.1/24 dev d1",
    "link set p1 down",
    "link set p1 up",
    "link set e2 down",
    "link add br0 type bridge",
    "link set e2 master br0",
    "link set e2 nomaster",
    "link set p1 netns {other}",
    "link del e2",
]


def test_each_kind_of_change(bed: Testbed, namespace: Namespace, follower: Follower) -> None:
    """After each of them what is open is what the kernel has: routes replaced, with several next hops, in other tables,
    and those that go without a word with their interface, address or next hop."""
    other = bed.namespace("other").name
    for change in CHANGES:
        namespace.run("ip", *change.format(other=other).split())
        try:
            follower.settled()
        except AssertionError:
            raise AssertionError(f"after `ip {change}`: {follower.open('routes')}, {routes(namespace)}") from None


def test_a_route_that_goes_without_a_word_ends_when_it_did(namespace: Namespace, follower: Follower) -> None:
    """Its row ends no later than the moment after its interface went down, however late the routes are listed."""
    before = time.time_ns() // 1000
    namespace.run("ip", "link", "set", "d2", "down")
    assert not any(interface == "d2" for _, interface in routes(namespace))
    follower.capture.read(time.time_ns() // 1000)
    after = time.time_ns() // 1000
    assert not follower.capture.context.rows or all(t != "routes" for t, _ in follower.capture.context.rows)
    follower.settled()
    (ended,) = [row for table, row in follower.rows if table == "routes" and row["to"] and row["family"] == "ipv4"]
    assert before <= ended["to"] <= after


def test_changes_faster_than_they_are_read(namespace: Namespace, follower: Follower) -> None:
    """What the socket had no room for is found by listing everything again: addresses and links that went, too."""
    batch = [f"address add 10.200.{n // 256}.{n % 256}/32 dev d1" for n in range(1500)]
    namespace.run("ip", "-batch", "-", text="\n".join(batch))
    follower.settled(20)
    batch = [f"address del 10.200.{n // 256}.{n % 256}/32 dev d1" for n in range(1500)]
    batch += ["link del d2", *(f"address add 10.201.{n // 256}.{n % 256}/32 dev d1" for n in range(300))]
    namespace.run("ip", "-batch", "-", text="\n".join(batch))
    follower.settled(20)


def test_another_capture_goes_on(namespace: Namespace, follower: Follower) -> None:
    """It is handed sockets in which the rest of a listing is left that it never asked for: it knows everything all the
    same, and takes nothing of the rest for its own."""
    namespace.run("ip", "-batch", "-", text="\n".join(f"route add 10.100.{n}.0/24 via 10.1.0.2" for n in range(256)))
    follower.settled()
    for _ in range(3):
        follower.again()
        follower.sockets.route.recv(1, socket.MSG_DONTWAIT)  # the answer is begun
    follower.again()
    follower.settled()


def test_too_many_routes(namespace: Namespace, follower: Follower) -> None:
    """One more than are followed, and none is: those that were known end, and nothing is told of later ones. A capture
    that comes when there are fewer follows them again."""
    batch = [f"10.{100 + n // 256}.{n % 256}.0/24 via 10.1.0.2" for n in range(MOST_ROUTES)]
    namespace.run("ip", "-batch", "-", text="\n".join(f"route add {each}" for each in batch))
    wait_until(lambda: follower.turn() and follower.capture.context.routes_unknown, 10, "there are too many")
    assert follower.open("routes") == set()
    follower.turn()
    namespace.run("ip", "route", "add", "10.250.0.0/24", "via", "10.1.0.2")
    with pytest.raises(BlockingIOError):
        follower.sockets.route.recv(1, socket.MSG_DONTWAIT)
    namespace.run("ip", "-batch", "-", text="\n".join(f"route del {each}" for each in batch))
    follower.again()
    follower.settled()


def test_a_whole_table_holds_nothing_up(namespace: Namespace, follower: Follower) -> None:
    """Of a hundred times as many routes as are followed no more than those are looked at, and no more than a piece is
    read at a turn; addresses that change meanwhile are known."""
    batch = (f"route add {20 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24 dev d1" for n in range(100 * MOST_ROUTES))
    namespace.run("ip", "-batch", "-", text="\n".join(batch))
    follower.again()
    namespace.run("ip", "address", "add", "10.77.0.1/24", "dev", "d2")
    turns = 0

    def known() -> bool:
        nonlocal turns
        follower.turn()
        turns += 1
        idle = follower.capture._asked is None and not follower.capture.context.wanted
        return idle and follower.open("addresses") == addresses(namespace)

    wait_until(known, 30, "all is read")
    assert turns > 2
    assert follower.capture.context.routes_unknown
    assert follower.open("routes") == set()
    assert sum(table == "routes" for table, _ in follower.rows) <= 2 * (MOST_ROUTES + 1)
