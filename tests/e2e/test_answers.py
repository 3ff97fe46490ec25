"""`who` and `search` are right about real connections, judged by what both ends of each saw."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, SERVER6, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.support.daemon import PROTO, QUICK, Daemon, seconds

FIELDS = ("src_ip", "src_port", "dst_ip", "dst_port", "nat_src_ip", "nat_src_port", "nat_dst_ip", "nat_dst_port")
VRRP = 112


class Scene:
    """A world, two routers and a running daemon, shared by the tests of this module."""

    def __init__(self, bed: Testbed, folder: Path) -> None:
        self.world = World(bed)
        self.router = Router(self.world, instances=3, floating=[1])
        self.other = Router(self.world, instances=1)
        names = [router.name for router in (self.router, self.other)]
        self.daemon = Daemon(folder, names, QUICK).run()
        self.daemon.wait_attached(names)
        self.server = Server(self.world.namespace, SERVER, 8080)
        self.server6 = Server(self.world.namespace, SERVER6, 8080)
        self._ports = itertools.count(20_001)

    def port(self) -> int:
        """A source port that no connection had: two that the kernel chooses may be the same one."""
        return next(self._ports)

    def who(self, address: str, at: int, *arguments: str) -> dict[str, Any]:
        """The answer about a public address at a time in microseconds."""
        return self.daemon.json("who", address, "--at", f"{at / 1e6:.6f}", *arguments)

    def settle(self) -> None:
        """Until what was made just now is flushed."""
        self.daemon.wait_flushed()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene."""
    with Testbed() as bed:
        made = Scene(bed, tmp_path_factory.mktemp("scene"))
        yield made
        made.daemon.stop()
        made.server.close()
        made.server6.close()


def same(record: dict[str, Any], made: Made) -> bool:
    """Whether a record is of a connection as its ends saw it."""
    return record["proto"] == PROTO[made.proto] and all(record[name] == getattr(made, name) for name in FIELDS)


def only(answer: dict[str, Any], made: Made, router: Router, kind: str) -> dict[str, Any]:
    """The one record of an answer, which is this connection."""
    assert answer["verdict"] == "one", answer
    (record,) = answer["connections"]
    assert same(record, made), (record, made)
    assert (record["netns"], record["class"], record["node"]) == (router.name, kind, socket.gethostname())
    return dict(record)


def public(made: Made) -> str:
    """The translated source as it is written in a report."""
    return (
        f"[{made.nat_src_ip}]:{made.nat_src_port}"
        if ":" in made.nat_src_ip
        else f"{made.nat_src_ip}:{made.nat_src_port}"
    )


def test_source_translation(scene: Scene) -> None:
    """The instance behind the router's address and port is found, with the other end given or not."""
    inside = scene.router.instances[0]
    made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), scene.server, source_port=scene.port())
    scene.settle()
    answer = scene.who(public(made), made.began)
    only(answer, made, scene.router, "nat")
    causes = {gap["cause"] for gap in answer["coverage"]["gaps"]}
    assert causes <= {"never-recorded"}, "a minute before, this daemon may not have run yet; nothing else is missing"
    assert scene.who(public(made), made.ended or 0, "--within", "1ms")["coverage"]["complete"] is True
    assert scene.who(public(made), made.began, "--to", f"{SERVER}:8080")["connections"] == answer["connections"]
    assert scene.who(public(made), made.began, "--to", f"{SERVER}:8081")["verdict"] == "none"
    assert any(n["mac"] == inside.mac for n in answer["neighbours"])
    assert answer["address"]["on_node"] is True


def test_floating_address_both_ways(scene: Scene) -> None:
    """An instance with a floating address is found when it calls out and when it is called."""
    inside = scene.router.instances[1]
    floating = scene.router.floating_ips[inside.address]
    out = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), scene.server, source_port=scene.port())
    with Server(inside.namespace, inside.address, 2222) as service:
        called = traffic.tcp(scene.world.namespace, SERVER, (floating, 2222), service)
    scene.settle()
    assert out.nat_src_ip == floating
    only(scene.who(public(out), out.began), out, scene.router, "nat")
    only(scene.who(f"{floating}:2222", called.began), called, scene.router, "float")
    assert scene.who(floating, called.began)["verdict"] == "one"


def test_hairpin(scene: Scene) -> None:
    """An instance that calls another's floating address is found by either public side."""
    caller, called = scene.router.instances[0], scene.router.instances[1]
    floating = scene.router.floating_ips[called.address]
    with Server(called.namespace, called.address, 3333) as service:
        made = traffic.tcp(caller.namespace, caller.address, (floating, 3333), service, source_port=scene.port())
    scene.settle()
    only(scene.who(f"{floating}:3333", made.began), made, scene.router, "float")
    only(scene.who(public(made), made.began, "--to", f"{floating}:3333"), made, scene.router, "float")


def test_datagrams_and_echoes(scene: Scene) -> None:
    """UDP and ICMP, answered or not, are found by the translated port or identifier."""
    inside = scene.router.instances[0]
    udp = traffic.udp(inside.namespace, inside.address, (SERVER, 8080), scene.server, False, scene.port())
    echo = traffic.ping(inside.namespace, inside.address, SERVER, scene.world.namespace, SERVER, scene.port())
    scene.settle()
    only(scene.who(public(udp), udp.began), udp, scene.router, "nat")
    only(scene.who(public(echo), echo.began), echo, scene.router, "nat")


def test_ipv6(scene: Scene) -> None:
    """IPv6 is not translated, and found all the same."""
    inside = scene.router.instances[0]
    made = traffic.tcp(inside.namespace, inside.address6, (SERVER6, 8080), scene.server6, source_port=scene.port())
    echo = traffic.ping(inside.namespace, inside.address6, SERVER6, scene.world.namespace, SERVER6, scene.port())
    scene.settle()
    only(scene.who(public(made), made.began), made, scene.router, "nat")
    found = scene.daemon.search("--src", inside.address6, "--proto", "icmpv6")
    assert [same(record, echo) for record in found] == [True]


def test_one_public_port_used_by_two_instances(scene: Scene) -> None:
    """The same public port, used a moment later by another instance, gives both, the nearer one first."""
    first, second = scene.router.instances[0], scene.router.instances[2]
    for inside in (first, second):
        scene.router.pin_port(inside.address, 40213)
    made = []
    for inside in (first, second):
        made.append(traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), scene.server, by="reset"))
        scene.router.namespace.run("conntrack", "-D", "-p", "tcp", "--orig-src", inside.address)
    scene.router.apply_rules()
    scene.settle()
    assert {m.nat_src_port for m in made} == {40213}
    for nearer in made:
        answer = scene.who(public(nearer), nearer.ended or 0)  # it was in the table then, whoever was held up
        assert answer["verdict"] == "several"
        assert same(answer["connections"][0], nearer)
        assert len(answer["connections"]) == 2


def test_one_whole_tuple_used_twice(scene: Scene) -> None:
    """The same five numbers used again a moment later are a second connection."""
    inside = scene.router.instances[0]
    scene.router.pin_port(inside.address, 40555)
    made = []
    for _ in range(2):
        made.append(
            traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), scene.server, by="reset", source_port=5555)
        )
        scene.router.namespace.run("conntrack", "-D", "-p", "tcp", "--orig-port-src", "5555")
    scene.router.apply_rules()
    scene.settle()
    found = scene.daemon.search("--src", inside.address, "--sport", "5555")
    assert len(found) == 2
    assert all(same(record, made[0]) and record["end_reason"] == "deleted" for record in found)
    assert found[0]["end"] <= found[1]["start"]


def test_still_open_across_segments(scene: Scene) -> None:
    """A connection that stays open while the journal is sealed is found as open, and its end closes it."""
    inside = scene.router.instances[0]
    connection = traffic.open_tcp(inside.namespace, inside.address, (SERVER, 8080), scene.server, scene.port())
    made = connection.made
    scene.settle()
    before = scene.who(public(made), made.began)["connections"]
    assert [record["end"] for record in before] == [None]
    scene.daemon.stop()
    scene.daemon.run()
    scene.daemon.wait_attached([scene.router.name])
    scene.settle()
    now = time.time_ns() // 1000
    (still,) = scene.who(public(made), now)["connections"]
    assert still["end"] is None
    connection.finish("reset")
    scene.router.namespace.run("conntrack", "-D", "-p", "tcp", "--orig-src", inside.address)
    scene.settle()
    (ended,) = scene.who(public(made), made.began)["connections"]
    assert ended["end"] is not None
    assert abs(seconds(ended["start"]) - seconds(before[0]["start"])) < 0.01, "final once it has ended"
    assert ended["bytes_out"] > 0


def test_an_address_never_here(scene: Scene) -> None:
    """Nothing is found, and the answer says that no interface had the address: another gateway may have it."""
    now = time.time_ns() // 1000
    scene.settle()
    done = scene.daemon.command("who", "203.0.113.250:1", "--at", f"{now / 1e6:.6f}", "--within", "1ms")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "stood on no interface" in done.stdout
    answer = scene.who("203.0.113.250:1", now, "--within", "1ms")
    assert answer["address"]["on_node"] is None
    assert [gap["cause"] for gap in answer["coverage"]["gaps"]] == ["not-audited"]


def test_a_time_that_has_not_begun(scene: Scene) -> None:
    """Nothing is known of an address of the router's an hour from now; of a window that reaches there and began in the
    past the record is complete, up to what is written."""
    began = time.time()
    scene.settle()
    asked = ("who", f"{scene.router.snat}:9", "--at", f"{began + 3600:.6f}")
    done = scene.daemon.command(*asked, "--within", "10m")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the window has not begun: that time is in the future by this machine's clock" in done.stdout
    causes = [gap["cause"] for gap in scene.daemon.json(*asked)["coverage"]["gaps"]]
    assert causes == ["not-yet-written"]
    assert scene.daemon.command(*asked, "--within", "3600s").returncode == 1


def test_what_a_router_says_to_its_link_is_local(scene: Scene) -> None:
    """Its VRRP to 224.0.0.18 is in the store as local, and in no text log."""
    source = scene.other.address(1)
    with scene.other.namespace.socket(socket.AF_INET, socket.SOCK_RAW, VRRP) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
        sender.sendto(bytes(20), ("224.0.0.18", 0))
    scene.settle()
    (record,) = scene.daemon.search("--dst", "224.0.0.18")
    assert (record["src_ip"], record["proto"], record["class"]) == (source, "vrrp", "local")
    assert not any("224.0.0.18" in line for line in scene.daemon.lines("nat"))


def test_metadata_requests_are_local(scene: Scene) -> None:
    """A request that the router itself answers is in the store as local, and in no text log."""
    inside = scene.other.instances[0]
    with Server(scene.other.namespace, scene.other.address(1), 9697) as service:
        made = traffic.tcp(inside.namespace, inside.address, ("169.254.169.254", 80), service)
    scene.settle()
    (record,) = scene.daemon.search("--dst", "169.254.169.254")
    assert same(record, made)
    assert record["class"] == "local"
    logged = scene.daemon.lines("nat") + scene.daemon.lines("float")
    assert not any("169.254.169.254" in line for line in logged)


def test_each_connection_has_one_line(scene: Scene) -> None:
    """Whatever the tests before made stands in the text log of its class, once."""
    scene.daemon.stop()
    lines = {kind: scene.daemon.lines(kind) for kind in ("nat", "float")}
    for kind, said in lines.items():
        recorded = scene.daemon.search("--class", kind)
        assert recorded
        assert len(said) == len(recorded)
