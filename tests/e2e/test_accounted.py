"""Who is asked about an address that nothing audited has says so: two gateways on one network, of which one is audited,
an address of a pool, routed IPv6, a daemon that audits nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Namespace, Testbed, command
from anetcon.testbed.traffic import Made, Server
from tests.support.daemon import QUICK, Daemon
from tests.support.waiting import wait_until

SERVER, GATEWAY, POOL = "198.51.100.10", "203.0.113.1", "203.0.113.50"
FORWARDS = {"ipv4__ip_forward": 1, "ipv6__conf__all__forwarding": 1, "ipv6__conf__default__accept_dad": 0}


class Segment:
    """203.0.113.0/24 and 2001:db8:ffff::/64: a world with a server, and gateways on them."""

    def __init__(self, bed: Testbed) -> None:
        self.bed = bed
        self.world = bed.namespace("world")
        self.world.sysctl(**FORWARDS)
        configure(
            self.world,
            "link set lo up",
            f"addr add {SERVER}/32 dev lo",
            "link add br0 type bridge forward_delay 0",
            f"addr add {GATEWAY}/24 dev br0",
            "addr add 2001:db8:ffff::1/64 dev br0 nodad",
            "link set br0 up",
        )

    def gateway(self, number: int, public: str) -> tuple[Namespace, Namespace]:
        """A gateway with that address, which its inside, 10.N.0.11 behind 10.N.0.1, leaves with; and the inside."""
        gateway, inside = self.bed.namespace(f"gw{number}"), self.bed.namespace(f"host{number}")
        gateway.sysctl(**FORWARDS)
        pair = "link add {} netns {} type veth peer name {} netns {}"
        links = [
            pair.format("outer", gateway.name, f"port{number}", self.world.name),
            pair.format("inner", gateway.name, "eth0", inside.name),
        ]
        command(["ip", "-batch", "-"], "\n".join(links) + "\n")
        configure(self.world, f"link set port{number} master br0", f"link set port{number} up")
        configure(
            gateway,
            *(f"link set {name} up" for name in ("lo", "outer", "inner")),
            f"addr add {public}/24 dev outer",
            f"addr add 2001:db8:ffff::{number + 1}/64 dev outer nodad",
            f"addr add 10.{number}.0.1/24 dev inner",
            f"addr add 2001:db8:{number}::1/64 dev inner nodad",
            f"route add default via {GATEWAY}",
            "route add default via 2001:db8:ffff::1",
        )
        gateway.run("nft", "-f", "-", text=RULES.format(public))
        configure(
            inside,
            "link set lo up",
            "link set eth0 up",
            f"addr add 10.{number}.0.11/24 dev eth0",
            f"route add default via 10.{number}.0.1",
        )
        return gateway, inside


RULES = """table ip nat {{
    chain out {{
        type nat hook postrouting priority srcnat;
        oifname outer snat to {}
    }}
}}
"""


def configure(namespace: Namespace, *lines: str) -> None:
    """Give `ip` many commands at once."""
    namespace.run("ip", "-batch", "-", text="\n".join(lines) + "\n")


class Scene:
    """A gateway that is audited, 203.0.113.7, and one that is not, 203.0.113.77."""

    def __init__(self, bed: Testbed, folder: Path) -> None:
        self.segment = Segment(bed)
        self.gateway, self.inside = self.segment.gateway(1, "203.0.113.7")
        _, self.stranger = self.segment.gateway(2, "203.0.113.77")
        self.daemon = Daemon(folder, [self.gateway.name], QUICK).run()
        self.daemon.wait_attached([self.gateway.name])
        self.server = Server(self.segment.world, SERVER, 8080)
        self.daemon.wait_written()

    def call(self, inside: Namespace, number: int) -> Made:
        """A connection to the server."""
        return traffic.tcp(inside, f"10.{number}.0.11", (SERVER, 8080), self.server)

    def who(self, address: str, at: int) -> tuple[int, dict[str, Any], str]:
        """Exit status, answer and what is said of an address at one moment that is on record."""
        self.daemon.wait_written()
        words = ("who", address, "--at", f"{at / 1e6:.6f}", "--within", "1ms")
        said = self.daemon.command(*words)
        return said.returncode, self.daemon.json(*words)["coverage"], said.stdout


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene, for all tests of this module."""
    with Testbed() as bed:
        made = Scene(bed, tmp_path_factory.mktemp("scene"))
        yield made
        made.daemon.stop()
        made.server.close()


def causes(coverage: dict[str, Any]) -> list[str]:
    """Why it is not complete."""
    return [gap["cause"] for gap in coverage["gaps"]]


def test_two_gateways_of_which_one_is_audited(scene: Scene) -> None:
    """Of the address of the one nothing found is an answer; of the other's, which is in a network that is connected to
    the audited one as well, it is none."""
    made = scene.call(scene.stranger, 2)
    assert made.nat_src_ip == "203.0.113.77"
    status, coverage, words = scene.who(made.nat_src_ip, made.began)
    assert (status, causes(coverage)) == (3, ["not-audited"])
    assert "203.0.113.77 stood on no interface of an audited namespace" in words
    status, coverage, words = scene.who("203.0.113.7", made.began)
    assert (status, causes(coverage), coverage["namespaces"]) == (1, [], 1)
    assert "the record is complete for 1 namespace\n" in words
    own = scene.call(scene.inside, 1)
    assert scene.who(own.nat_src_ip, own.began)[0] == 0


def test_routed_ipv6(scene: Scene) -> None:
    """A network behind the audited gateway has its addresses accounted for; the one before it has not."""
    now = time.time_ns() // 1000
    assert scene.who("2001:db8:1::99", now)[0] == 1
    assert scene.who("10.1.0.99", now)[0] == 1
    for address in ("2001:db8:ffff::99", "2001:db8:2::99", "10.2.0.99"):
        assert scene.who(address, now)[0] == 3, address


def test_a_pool(scene: Scene) -> None:
    """An address that stands on no interface is accounted for between two connections that left with it."""
    configure(scene.segment.world, f"route add {POOL}/32 via 203.0.113.7")
    scene.gateway.run("nft", "insert", "rule", "ip", "nat", "out", "tcp", "dport", "8080", "snat", "to", POOL)
    first = scene.call(scene.inside, 1)
    assert first.nat_src_ip == POOL
    assert scene.who(f"{POOL}:{first.nat_src_port}", first.began)[0] == 0
    scene.gateway.run("conntrack", "-D", "-p", "tcp")
    between = time.time_ns() // 1000 + 2000  # the window of a millisecond begins when that has ended
    wait_until(lambda: time.time_ns() // 1000 > between + 1000, 5, "the window is over")
    scene.daemon.wait_written()
    status, coverage, _ = scene.who(POOL, between)
    assert (status, causes(coverage)) == (3, ["not-audited"])
    scene.call(scene.inside, 1)
    status, coverage, words = scene.who(POOL, between)
    assert (status, causes(coverage)) == (1, [])
    assert "stood on no interface" in words


def test_what_is_configured(scene: Scene) -> None:
    """A network in `audit.public` is accounted for from when the daemon was told so."""
    before = time.time_ns() // 1000
    assert scene.who("203.0.113.130", before)[0] == 3
    settings = scene.daemon.settings.read_text()
    scene.daemon.settings.write_text(settings.replace("[audit]", '[audit]\npublic = ["203.0.113.128/25"]'))
    pid = scene.daemon.capture_pid()
    scene.daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: scene.daemon.capture_pid() not in (None, pid), 30, "the configuration is applied")
    scene.daemon.wait_written()
    after = time.time_ns() // 1000
    assert scene.who("203.0.113.130", after)[0] == 1
    assert scene.who("203.0.113.130", before)[0] == 3
    assert scene.who("203.0.113.127", after)[0] == 3


def test_an_address_stays_where_it_is_while_capture_is_replaced(scene: Scene) -> None:
    """Neither a reload nor a crash leaves a moment in which nothing accounts for an address that stood there."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        begun, pid = time.time_ns() // 1000, scene.daemon.capture_pid()
        scene.daemon.signal_capture(number)
        wait_until(lambda pid=pid: scene.daemon.capture_pid() not in (None, pid), 30, "capture is back")  # type: ignore[misc]
        scene.daemon.wait_written()
        length = f"{time.time_ns() // 1000 - begun}us"
        wait_until(partial(accounted, scene, begun, length), 20, "it is accounted for, as soon as that is on record")


def accounted(scene: Scene, at: int, within: str) -> bool:
    """Whether nothing but the fault itself makes the answer about the gateway's own address incomplete."""
    said = scene.daemon.json("who", "203.0.113.7", "--at", f"{at / 1e6:.6f}", "--within", within)
    return set(causes(said["coverage"])) <= {"never-recorded", "capture-down"}


def test_a_daemon_that_audits_nothing(daemon: Callable[..., Daemon]) -> None:
    """It answers no question completely, by whatever command."""
    nothing = daemon("none-has-this-name", **QUICK)
    nothing.wait_written()
    now = f"{time.time():.6f}"
    nothing.wait_written()
    for words in (("who", "203.0.113.7", "--at", now, "--within", "1ms"), ("search", "--since", now), ("search",)):
        done = nothing.command(*words)
        assert done.returncode == 3, done.stdout
        assert "not-audited in every namespace" in done.stdout
    assert [gap["cause"] for gap in nothing.gaps("--since", now)] == ["not-audited"]
