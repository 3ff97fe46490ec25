"""Packets with addresses that are not the sender's, through a real router, judged by what conntrack shows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anetcon.testbed import packets
from anetcon.testbed.namespaces import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.wire import Batch, Wire
from tests.e2e.daemon import QUICK, Daemon
from tests.netns.waiting import wait_until


class Scene:
    """A router whose attacker sends frames of any kind from inside, and a running daemon."""

    def __init__(self, bed: Testbed, folder: Path) -> None:
        self.world = World(bed)
        self.router = Router(self.world, instances=2)
        self.daemon = Daemon(folder, [self.router.name], QUICK).run()
        self.daemon.wait_attached([self.router.name])
        self.wire = Wire(self.router.inside)

    def udp(self, source: str, port: int, destination: str, to: int) -> None:
        """A datagram from inside, whatever address that side has."""
        segment = packets.udp(1, port, to, 2)
        segment = np.concatenate([segment, np.full((1, 2), 0x41, np.uint8)], axis=1)
        self._send(source, destination, packets.UDP, segment)

    def _send(self, source: str, destination: str, proto: int, segment: packets.Bytes) -> None:
        macs = packets.mac_bytes(self.router.mac(1)), packets.mac_bytes(self.router.mac(16))
        ends = packets.address_bytes(source), packets.address_bytes(destination)
        Batch(packets.frames(*macs, *ends, proto, segment), self.wire.interfaces["eth0"]).send(self.wire)

    def tracked(self, *match: str) -> str:
        """The line of conntrack about a connection of the router, once it is there."""
        return wait_until(lambda: self.router.namespace.run("conntrack", "-L", *match), 10, f"conntrack has {match}")

    def who(self, public: str) -> dict[str, Any]:
        """The answer about a public address now."""
        self.daemon.wait_flushed()
        return self.daemon.json("who", public, "--at", f"{time.time():.6f}", "--within", "5s")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene."""
    with Testbed() as bed:
        made = Scene(bed, tmp_path_factory.mktemp("scene"))
        yield made
        made.wire.close()
        made.daemon.stop()


def test_ipv6_that_holds_the_addresses_of_ipv4_hides_nothing(scene: Scene) -> None:
    """An IPv6 packet between `::ffff:` addresses and an IPv4 connection of the same ports, at once one after the other:
    `who` finds the IPv4 one while it is open, each is on record by itself, and each has its line."""
    inside = scene.router.instances[0].address
    scene.udp(f"::ffff:{inside}", 5000, f"::ffff:{SERVER}", 5353)
    scene.udp(inside, 5000, SERVER, 5353)
    assert f"src=::ffff:{inside}" in scene.tracked("-f", "ipv6", "-p", "udp", "--sport", "5000")
    line = scene.tracked("-f", "ipv4", "-p", "udp", "--sport", "5000")
    found = re.search(rf"dst={scene.router.snat} sport=5353 dport=(\d+)", line)
    assert found, line
    answer = scene.who(f"{scene.router.snat}:{found[1]}")
    assert (answer["verdict"], answer["connections"][0]["src_ip"]) == ("one", inside)
    assert answer["connections"][0]["end"] is None
    sources = {"ipv4": inside, "ipv6": f"::ffff:{inside}"}
    for family, source in sources.items():
        (row,) = scene.daemon.search("--src", source, "--sport", "5000")
        assert (row["family"], row["src_ip"]) == (family, source)

    def lines() -> list[int]:
        return [sum(f" SRC={source} " in line for line in scene.daemon.lines("nat")) for source in sources.values()]

    wait_until(lambda: all(lines()), 20, "each has its line")
    assert lines() == [1, 1]
