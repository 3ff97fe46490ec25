"""The testbed's routers translate as Neutron's do, its counts are exact, and nothing of it stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from anetcon.errors import AnetconError
from anetcon.testbed import traffic
from anetcon.testbed.bed import RUN_NETNS, Testbed, sweep
from anetcon.testbed.daemon import Daemon
from anetcon.testbed.neutron_rules import METADATA, METADATA_PORT, Forwarding
from anetcon.testbed.topology import SERVER, SERVER6, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.load import kernel
from tests.load.flood import Flood
from tests.load.lives import KINDS
from tests.load.mixed import Mixed
from tests.load.wire import SO_RCVBUFFORCE
from tests.support.waiting import wait_until

SHOWN = re.compile(r"src=(\S+) dst=(\S+) (?:sport=(\d+) dport=(\d+)|type=(\d+) code=(\d+) id=(\d+))")


def tracked(router: Router) -> list[tuple[str, ...]]:
    """What `conntrack -L` shows: for each connection both tuples, each source, destination and what follows."""
    listed = "".join(router.namespace.run("conntrack", "-L", "-f", family) for family in ("ipv4", "ipv6"))
    return [tuple("".join(part) for part in SHOWN.findall(line)) for line in listed.splitlines()]


def shown(made: Made) -> tuple[str, ...]:
    """A connection as `conntrack -L` would show it if the two ends are right."""
    there = (made.src_ip, made.dst_ip, str(made.src_port), str(made.dst_port))
    back = (made.nat_dst_ip, made.nat_src_ip, str(made.nat_dst_port), str(made.nat_src_port))
    return ("".join(there), "".join(back))


def test_an_instance_goes_out_with_the_routers_address_and_another_port(router: Router, server: Server) -> None:
    """SNAT gives the router's public address and a random port, for TCP and UDP, and conntrack agrees."""
    inside = router.instances[0]
    ports = set()
    for make in (traffic.tcp, traffic.udp):
        made = make(inside.namespace, inside.address, (SERVER, 8080), server)
        assert made.nat_src_ip == router.snat
        assert shown(made) in tracked(router)
        ports.add(made.nat_src_port != made.src_port)
    assert True in ports


def test_a_floating_ip_works_in_both_directions(world: World, router: Router, server: Server) -> None:
    """Outwards the floating address is the source; inwards the instance is reached and sees the real client."""
    inside = router.instances[1]
    public = router.floating_ips[inside.address]
    outwards = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
    assert outwards.nat_src_ip == public
    with Server(inside.namespace, inside.address, 2222) as inner:
        inwards = traffic.tcp(world.namespace, SERVER, (public, 2222), inner)
    assert (inwards.nat_src_ip, inwards.nat_src_port) == (SERVER, inwards.src_port)
    assert (inwards.nat_dst_ip, inwards.nat_dst_port) == (inside.address, 2222)
    assert {shown(outwards), shown(inwards)} <= set(tracked(router))


def test_a_hairpin_is_translated_at_both_ends(router: Router) -> None:
    """From one instance to another's floating IP, the other sees the router's public address."""
    one, other = router.instances
    with Server(other.namespace, other.address, 2223) as inner:
        made = traffic.tcp(one.namespace, one.address, (router.floating_ips[other.address], 2223), inner)
    assert (made.nat_src_ip, made.nat_dst_ip) == (router.snat, other.address)
    assert shown(made) in tracked(router)


def test_metadata_requests_end_in_the_router(router: Router) -> None:
    """169.254.169.254:80 is answered by the router itself, at port 9697."""
    inside = router.instances[0]
    with Server(router.namespace, router.address(1), METADATA_PORT) as agent:
        made = traffic.tcp(inside.namespace, inside.address, (METADATA, 80), agent)
    assert (made.nat_dst_ip, made.nat_dst_port) == (router.address(1), METADATA_PORT)
    assert made.nat_src_ip == inside.address


def test_ipv6_passes_untranslated_and_tracked(world: World, router: Router) -> None:
    """TCP and echo over IPv6 keep their addresses and appear in conntrack."""
    inside = router.instances[0]
    with Server(world.namespace, SERVER6, 8080) as server:
        stream = traffic.tcp(inside.namespace, inside.address6, (SERVER6, 8080), server)
    echo = traffic.ping(inside.namespace, inside.address6, SERVER6, world.namespace, SERVER6)
    assert (stream.nat_src_ip, stream.nat_src_port) == (inside.address6, stream.src_port)
    assert (echo.nat_src_ip, echo.nat_src_port) == (inside.address6, echo.src_port)
    assert shown(stream) in tracked(router)


def test_an_echo_request_gets_another_identifier(world: World, router: Router) -> None:
    """ICMP is translated too: address and, nearly always, identifier."""
    inside = router.instances[0]
    echoes = [traffic.ping(inside.namespace, inside.address, SERVER, world.namespace, SERVER) for _ in range(3)]
    assert {made.nat_src_ip for made in echoes} == {router.snat}
    assert any(made.nat_src_port != made.src_port for made in echoes)


def test_marks_are_saved_as_neutron_saves_them(router: Router, server: Server) -> None:
    """What leaves through the outer interface carries the scope's mark in conntrack."""
    inside = router.instances[0]
    made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
    listed = router.namespace.run("conntrack", "-L", "-p", "tcp", "--orig-port-src", str(made.src_port))
    assert f"mark={0x4000000}" in listed


def test_a_forwarded_port_and_a_pinned_port(world: World, server: Server) -> None:
    """A port of a public address can lead inside, and a public source port can be chosen."""
    router = Router(world)
    inside = router.instances[0]
    router.forward_port(Forwarding("203.0.113.200", 2222, inside.address, 22))
    with Server(inside.namespace, inside.address, 22) as inner:
        inwards = traffic.tcp(world.namespace, SERVER, ("203.0.113.200", 2222), inner)
    assert (inwards.nat_dst_ip, inwards.nat_dst_port) == (inside.address, 22)
    router.pin_port(inside.address, 4321)
    outwards = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
    assert (outwards.nat_src_ip, outwards.nat_src_port) == (router.snat, 4321)


def test_a_removed_floating_ip_takes_its_connections_with_it(world: World, server: Server) -> None:
    """Removing a floating IP deletes its connections, and the instance then leaves by the router's address."""
    router = Router(world, floating=[0])
    inside = router.instances[0]
    public = router.floating_ips[inside.address]
    opened = traffic.open_tcp(inside.namespace, inside.address, (SERVER, 8080), server)
    router.remove_floating(public)
    assert shown(opened.made) not in tracked(router)
    opened.abandon()
    assert traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server).nat_src_ip == router.snat


def test_separate_instances_have_a_mac_each(world: World, server: Server) -> None:
    """Instances in namespaces of their own are neighbours with MAC addresses of their own."""
    router = Router(world, separate=True)
    for instance in router.instances:
        traffic.tcp(instance.namespace, instance.address, (SERVER, 8080), server)
    neighbours = router.namespace.run("ip", "neigh", "show", "dev", router.ports.inner)
    for instance in router.instances:
        assert f"{instance.address} lladdr {instance.mac}" in neighbours


@pytest.mark.parametrize("by", ["client", "server", "reset"])
def test_closes_are_real(router: Router, server: Server, by: traffic.Close) -> None:
    """Conntrack sees TIME_WAIT after a close by either side, and CLOSE or nothing after a reset."""
    inside = router.instances[0]
    made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by=by)

    def state() -> str:
        listed = router.namespace.run("conntrack", "-L", "-p", "tcp", "--orig-port-src", str(made.src_port))
        return listed.split()[3] if listed else "gone"

    expected = ["CLOSE", "gone"] if by == "reset" else ["TIME_WAIT"]
    wait_until(lambda: state() in expected, 3, f"a connection that is over, closed by {by}")


class Events:
    """Starts and ends in a router as the kernel announces them, in a buffer large enough for all."""

    def __init__(self, router: Router) -> None:
        self._socket = router.namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, kernel.NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((0, 1 << 0 | 1 << 2))  # the groups NEW and DESTROY
        self._socket.setblocking(False)

    def counted(self) -> tuple[int, int]:
        """How many of each have come; closes."""
        kinds = []
        with self._socket, contextlib.suppress(BlockingIOError):
            while True:
                kinds.append(self._socket.recv(4096)[4])  # the low byte of the message's type
        return kinds.count(0), kinds.count(2)


def test_the_flood_makes_each_connection_once(bed: Testbed) -> None:
    """The flood's count is what conntrack's events say: as many starts and ends as connections."""
    router = Router(World(bed, 201))
    listening = Events(router)
    with Flood(router, 3000) as flood:
        flood.send()
        wait_until(lambda: flood.made() == 3000, 5, "all have come through")
        assert flood.failures() == {}
    kernel.wait_empty([router.namespace])
    assert listening.counted() == (3000, 3000)


def test_the_mixed_load_knows_what_it_made(bed: Testbed) -> None:
    """The mixed load sees each of its connections outside once, by kind, and each has a start and an end."""
    world = World(bed, 211)
    routers = [Router(world, floating=[0]) for _ in range(2)]
    listening = [Events(router) for router in routers]
    with Mixed(routers, 2000) as mixed:
        mixed.send()
        assert mixed.truth.seen.all()
        assert all(mixed.made()[kind.name] for kind in KINDS)
        assert mixed.failures() == {}
    kernel.wait_empty([router.namespace for router in routers])
    starts, ends = zip(*(each.counted() for each in listening), strict=True)
    assert (sum(starts), sum(ends)) == (2000, 2000)


def test_the_mixed_loads_translations_are_true(bed: Testbed) -> None:
    """What the mixed load says of translated sources is what conntrack has."""
    router = Router(World(bed, 221), floating=[0])
    with Mixed([router], 300) as mixed:
        router.kernel_settings({"tcp_timeout_time_wait": 120, "tcp_timeout_close": 120})  # until they are listed
        mixed.send()
        truth = mixed.truth
    has = set(tracked(router))
    tcp = [code for code, kind in enumerate(KINDS) if kind.name in ("tcp", "tcp from floating")]
    rows = [row for row in range(300) if truth.kind[row] in tcp]
    assert rows
    for row in rows:
        src, dst, seen = (".".join(map(str, ip[row, 12:])) for ip in (truth.src_ip, truth.dst_ip, truth.nat_src_ip))
        there = f"{src}{dst}{truth.src_port[row]}{truth.dst_port[row]}"
        assert (there, f"{dst}{seen}{truth.dst_port[row]}{truth.nat_src_port[row]}") in has


def test_nothing_stays() -> None:
    """Leaving a testbed ends the programs started in it and removes every namespace."""
    with Testbed() as bed:
        world = World(bed, 231)
        router = Router(world)
        child = router.namespace.start("sleep", "1000")
        names = [world.namespace.name, router.name, router.inside.name]
        assert all((RUN_NETNS / name).exists() for name in names)
    assert child.poll() is not None
    assert not any((RUN_NETNS / name).exists() for name in names)


ENDLESS = """
import threading
from anetcon.testbed.bed import Testbed
with Testbed() as bed:
    print(bed.router_namespace().name, bed.namespace("left").name, flush=True)
    while True: threading.Event().wait(0.1)  # a signal may come just before
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_testbed_is_removed_by_itself_or_by_the_next_sweep(number: signal.Signals) -> None:
    """After SIGTERM nothing is left; after SIGKILL the next sweep removes it, which may be that of another run."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        names = child.stdout.readline().split()
        assert len(names) == 2
        os.kill(child.pid, number)
        child.wait(10)
    left = [name for name in names if (RUN_NETNS / name).exists()]
    assert number == signal.SIGKILL or left == []
    sweep()
    wait_until(lambda: not any((RUN_NETNS / name).exists() for name in names), 5, "they are gone")


LEFT_BEHIND = """
import os, subprocess
from anetcon.testbed.bed import Namespace, command, owner, remove, sweep
gone = subprocess.Popen(["true"])
gone.wait()
dead = f"anet{owner(gone.pid)}-0000-"
operators, ours, made = Namespace("operators"), Namespace("ours"), Namespace(dead + "made")
running = {each.name: each.start("sleep", "1000") for each in (operators, ours, made)}
running["first"] = subprocess.Popen(["sleep", "1000"])
for name, process in running.items():
    command(["ip", "netns", "attach", dead + name + "-too", str(process.pid)])
with ours.inside():
    remove("ours")
    swept = sweep()
running[made.name].wait(10)
print(*(name for name, process in running.items() if process.poll() is None), len(swept), *os.listdir("/run/netns"))
"""


def test_a_sweep_ends_no_program_of_a_namespace_that_no_testbed_made() -> None:
    """A name can be left of one for the machine's first namespace, for ours, or for one that has other names."""
    script = 'mount -t tmpfs run /run && mkdir /run/netns && "$@"; exit $?'  # process 1 is none that is killed at once
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--net", "sh", "-c", script, "sh", sys.executable, "-c"]
    said = subprocess.run([*words, LEFT_BEHIND], capture_output=True, text=True, check=False)
    assert said.stdout == "operators ours first 5 operators\n", said.stderr


def test_a_daemon_that_is_interrupted_while_it_starts_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the wait for a daemon ends the daemon too."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("anetcon.testbed.daemon.wait_for", interrupted)
    daemon = Daemon(tmp_path, [])
    with pytest.raises(KeyboardInterrupt), daemon:
        pass
    assert daemon.process.poll() is not None


def test_a_daemon_that_cannot_start_says_why(tmp_path: Path) -> None:
    """What it printed is in the error."""
    with (
        pytest.raises(AnetconError, match=r"ended with status 5: .*namespacess"),
        Daemon(tmp_path, [], {"audit": {"namespacess": 1}}),
    ):
        pass


def test_log_all_netns_is_put_back_even_for_one_that_was_killed() -> None:
    """One process at a time is inside, the switch has the value asked for, and afterwards the one it had before."""
    with kernel.log_all_netns(0):
        before = kernel.LOG_LOCK.read_text()  # inside: outside it may be another test's
    killed = "import os, tests.load.kernel as kernel\nwith kernel.log_all_netns(1): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -signal.SIGKILL
    with kernel.log_all_netns(1):
        assert kernel.LOG_ALL_NETNS.read_text() == "1\n"
        assert kernel.LOG_LOCK.read_text() == before
        with kernel.LOG_LOCK.open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with kernel.LOG_LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert kernel.LOG_ALL_NETNS.read_text().strip() == before
