"""Packets with addresses that are not the sender's, through a real router, judged by what conntrack shows and by what
arrived at whoever has the address."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anetcon.cli.answer import HANDSHAKE
from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Instance, Router, World
from anetcon.testbed.traffic import Server
from tests.load import packets
from tests.load.packets import ACK, RST, SYN, TCP, UDP
from tests.load.wire import Batch, Wire
from tests.support.daemon import QUICK, Daemon
from tests.support.waiting import wait_until

PORT, CLOSED = 8080, 8081
UNPROVEN, ANSWERED = "source unproven: no reply came back", "answered; that does not prove the source"


class Scene:
    """A router with two instances, of which the second sends frames of any kind, and a running daemon. The first has
    spoken, and the second had its address for a moment: by ARP, which nothing checks."""

    def __init__(self, bed: Testbed, folder: Path) -> None:
        self.world = World(bed)
        self.router = Router(self.world, instances=2, separate=True)
        self.victim, self.attacker = self.router.instances
        self.daemon = Daemon(folder, [self.router.name], QUICK).run()
        self.daemon.wait_attached([self.router.name])
        self.began = time.time()
        self.server = Server(self.world.namespace, SERVER, PORT)
        self.wires = {vm.mac: Wire(vm.namespace, listening=vm is self.victim) for vm in self.router.instances}
        traffic.udp(self.victim.namespace, self.victim.address, (SERVER, PORT), self.server)
        for vm in (self.attacker, self.victim):
            self._claim(vm)
        self.got: list[bytes] = []

    def close(self) -> None:
        """Stop it."""
        for wire in self.wires.values():
            wire.close()
        self.server.close()
        self.daemon.stop()

    def _claim(self, vm: Instance) -> None:
        """Say by ARP that this one has the victim's address, until the router believes it."""
        mac, address = packets.mac_bytes(vm.mac), packets.address_bytes(self.victim.address)
        asks = np.frombuffer(bytes.fromhex("08060001080006040001"), np.uint8)
        whole = np.concatenate([np.full(6, 0xFF, np.uint8), mac, asks, mac, address, np.zeros(6, np.uint8), address])
        self._send(vm.mac, whole[None])
        wait_until(lambda: vm.mac in self.router.namespace.run("ip", "neigh", "show", self.victim.address), 10, "taken")

    def _send(self, mac: str, frames: packets.Bytes) -> None:
        wire = self.wires[mac]
        Batch(frames, wire.interfaces["eth0"]).send(wire)

    def forge(self, source: str, port: int, destination: str, to: int, proto: int = UDP) -> None:
        """A datagram, or a SYN, that the attacker sends from whatever address."""
        if proto == UDP:
            segment = np.concatenate([packets.udp(1, port, to, 2), np.full((1, 2), 0x41, np.uint8)], axis=1)
        else:
            segment = packets.tcp(1, port, to, SYN)
        macs = packets.mac_bytes(self.router.mac(1)), packets.mac_bytes(self.attacker.mac)
        ends = packets.address_bytes(source), packets.address_bytes(destination)
        self._send(self.attacker.mac, packets.frames(*macs, *ends, proto, segment))

    def arrived(self, proto: int, port: int) -> bytes:
        """The frame of this protocol to this port that the victim got, once it has."""

        def found() -> bytes | None:
            self.got += [row.tobytes() for row in self.wires[self.victim.mac].receive()[0]]
            mine = (packets.IPV4, proto, port)
            has = ((f[12:14], f[23], int.from_bytes(f[36:38], "big")) == mine for f in self.got)
            return next((frame for frame, yes in zip(self.got, has, strict=True) if yes), None)

        return wait_until(found, 10, f"the victim got an answer to port {port}") or b""

    def tracked(self, *match: str) -> str:
        """The line of conntrack about a connection of the router, once it is there."""
        return wait_until(lambda: self.router.namespace.run("conntrack", "-L", *match), 10, f"conntrack has {match}")

    def end(self, proto: str, port: int) -> None:
        """End the victim's connection from this port now, as its timeout would later."""
        self.router.namespace.run("conntrack", "-D", "-p", proto, "-s", self.victim.address, "--sport", str(port))

    def who(self, public: str, within: float = 5.0) -> dict[str, Any]:
        """The answer about a public address now."""
        at = time.time()
        self.daemon.wait_flushed()
        return self.daemon.json("who", public, "--at", f"{at:.6f}", "--within", f"{within:.3f}s")

    def judged(self, port: int, words: str) -> dict[str, Any]:
        """The one connection from this port of the victim's, which has ended: `who` names the victim, says these words
        of its source, and lists both MAC addresses that the address had."""
        asked = ("--src", self.victim.address, "--sport", str(port))
        wait_until(lambda: any(row["end"] for row in self.daemon.search(*asked)), 20, f"{port} has ended", every=0.1)
        (row,) = self.daemon.search(*asked)
        public = f"{row['nat_src_ip']}:{row['nat_src_port']}"
        answer = self.who(public, time.time() - self.began)
        assert (answer["verdict"], answer["source"], answer["coverage"]["complete"]) == ("one", words, True), answer
        (macs,) = answer["macs"]
        assert self.victim.mac in macs["at_start"]
        assert {*macs["at_start"], *macs["others"]} == set(self.wires)
        said = self.daemon.command("who", public, "--at", f"{time.time():.6f}").stdout.splitlines()
        assert said[1] == words
        assert all(mac in said[0] for mac in self.wires)
        return row


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene."""
    with Testbed() as bed:
        made = Scene(bed, tmp_path_factory.mktemp("scene"))
        yield made
        made.close()


def test_a_forged_syn_to_an_open_port(scene: Scene) -> None:
    """Its answer goes to the victim, whose kernel refuses it: no handshake, and none is said to have been."""
    scene.forge(scene.victim.address, 7000, SERVER, PORT, TCP)
    assert scene.arrived(TCP, 7000)[47] == SYN | ACK
    line = wait_until(lambda: _closed(scene.tracked("-p", "tcp", "--sport", "7000")), 10, "the victim has reset it")
    assert "ASSURED" not in line
    scene.end("tcp", 7000)
    assert scene.judged(7000, ANSWERED)["reply"] == "seen"


def _closed(line: str) -> str:
    return line if " CLOSE " in line else ""


def test_a_forged_syn_to_a_closed_port(scene: Scene) -> None:
    """The kernel forgets it with the reset that comes back, before it says that it saw a reply: one is counted."""
    scene.forge(scene.victim.address, 7001, SERVER, CLOSED, TCP)
    assert scene.arrived(TCP, 7001)[47] & RST
    row = scene.judged(7001, ANSWERED)
    assert (row["reply"], row["packets_in"]) == ("seen", 1)


def test_a_forged_datagram_without_an_answer(scene: Scene) -> None:
    """Nothing shows that its source took part."""
    scene.forge(scene.victim.address, 7002, SERVER, PORT)
    scene.server.udp.recvfrom(16)
    assert "[UNREPLIED]" in scene.tracked("-p", "udp", "--sport", "7002")
    scene.end("udp", 7002)
    assert scene.judged(7002, UNPROVEN)["packets_in"] == 0


def test_a_forged_datagram_that_is_answered(scene: Scene) -> None:
    """The answer goes to the victim, and proves nothing."""
    scene.forge(scene.victim.address, 7003, SERVER, PORT)
    _, peer = scene.server.udp.recvfrom(16)
    scene.server.udp.sendto(b"answered", peer)
    scene.arrived(UDP, 7003)
    assert "[UNREPLIED]" not in scene.tracked("-p", "udp", "--sport", "7003")
    scene.end("udp", 7003)
    assert scene.judged(7003, ANSWERED)["reply"] == "seen"


def test_the_victim_itself(scene: Scene) -> None:
    """The control: who has the address completes a handshake, and that is said."""
    made = traffic.tcp(scene.victim.namespace, scene.victim.address, (SERVER, PORT), scene.server, source_port=7004)
    scene.end("tcp", made.src_port)
    assert scene.judged(7004, HANDSHAKE)["reply"] == "assured"


@pytest.mark.parametrize(("apart", "port"), [(0.0, 5000), (0.05, 5001)])
def test_ipv6_that_holds_the_addresses_of_ipv4_hides_nothing(scene: Scene, apart: float, port: int) -> None:
    """An IPv6 packet between `::ffff:` addresses and an IPv4 connection of the same ports, at once one after the other
    or 50 ms later: `who` finds the IPv4 one while it is open, each is on record by itself, and each has its line."""
    inside = scene.attacker.address
    scene.forge(f"::ffff:{inside}", port, f"::ffff:{SERVER}", 5353)
    then = time.monotonic() + apart
    wait_until(lambda: time.monotonic() >= then, 1, "it is time", every=0.001)
    scene.forge(inside, port, SERVER, 5353)
    assert f"src=::ffff:{inside}" in scene.tracked("-f", "ipv6", "-p", "udp", "--sport", str(port))
    line = scene.tracked("-f", "ipv4", "-p", "udp", "--sport", str(port))
    found = re.search(rf"dst={scene.router.snat} sport=5353 dport=(\d+)", line)
    assert found, line
    answer = scene.who(f"{scene.router.snat}:{found[1]}")
    assert (answer["verdict"], answer["connections"][0]["src_ip"]) == ("one", inside)
    assert answer["connections"][0]["end"] is None
    sources = {"ipv4": inside, "ipv6": f"::ffff:{inside}"}
    for family, source in sources.items():
        (row,) = scene.daemon.search("--src", source, "--sport", str(port))
        assert (row["family"], row["src_ip"]) == (family, source)

    def lines() -> list[int]:
        return [
            sum(f" SRC={s} " in line and f" SPT={port} " in line for line in scene.daemon.lines("nat"))
            for s in sources.values()
        ]

    wait_until(lambda: all(lines()), 20, "each has its line")
    assert lines() == [1, 1]
