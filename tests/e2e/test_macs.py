"""An inside whose address is given to another MAC address in the moment of a connection: `who` never names the wrong
one as if it were certain."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from tests.support.daemon import QUICK, Daemon

ROUNDS = 8


@pytest.fixture
def router(bed: Testbed) -> Router:
    """A router with one instance."""
    return Router(World(bed), instances=1)


@pytest.fixture
def daemon(tmp_path: Path, router: Router) -> Iterator[Daemon]:
    """The daemon on it."""
    made = Daemon(tmp_path, [router.name], QUICK).run()
    made.wait_attached([router.name])
    yield made
    made.stop()


@pytest.mark.parametrize("before", [True, False])
def test_a_mac_that_changes_in_that_moment(router: Router, daemon: Daemon, before: bool) -> None:
    """Right before a connection of the address, or right behind it: the MAC address that it had is among those named;
    the one it had in the change before, a while ago, is not one of that moment's."""
    vm, numbers = router.instances[0], itertools.count(1)
    had: dict[int, str] = {}

    def change() -> str:
        mac = f"02:00:00:00:00:{next(numbers):02x}"
        router.namespace.run("ip", "neigh", "replace", vm.address, "lladdr", mac, "dev", router.ports.inner)
        return mac

    mac = change()
    for port in range(30_001, 30_001 + ROUNDS):
        with vm.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((vm.address, port))
            mac = change() if before else mac
            sender.sendto(b"x", (SERVER, 9))
            had[port] = mac
            mac = mac if before else change()
    at = time.time_ns() // 1000
    daemon.wait_flushed()
    for port, true in had.items():
        (found,) = daemon.search("--sport", str(port), "--proto", "udp")
        public = f"{found['nat_src_ip']}:{found['nat_src_port']}"
        answer = daemon.json("who", public, "--at", f"{at / 1e6:.6f}")
        (macs,) = answer["macs"]
        assert true in macs["at_start"], (port, true, answer)
        assert {*macs["at_start"], *macs["others"]} >= set(had.values())
        said = daemon.command("who", public, "--at", f"{at / 1e6:.6f}").stdout.splitlines()[0]
        assert "the address changed its MAC within that second" in said
        assert true in said
