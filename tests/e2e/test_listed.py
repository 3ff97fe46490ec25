"""Connections that were open before the daemon's first start: each start of it lists them, and each has one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server, Tcp
from tests.support.daemon import QUICK, Daemon
from tests.support.waiting import wait_until

TCP, UDP, LATER = (30_001, 30_002, 30_003), (30_011, 30_012, 30_013), 30_021


class Scene:
    """A router with connections of the kernel's that are open before any daemon has run there, and one then."""

    def __init__(self, bed: Testbed, folder: Path, opened: ExitStack) -> None:
        self.router = Router(World(bed), instances=1)
        self.inside = self.router.instances[0]
        self.server = opened.enter_context(Server(self.router.world.namespace, SERVER, 8080))
        self.open = [self._tcp(port) for port in TCP]
        for port in UDP:
            traffic.udp(self.inside.namespace, self.inside.address, (SERVER, 8080), self.server, source_port=port)
        for connection in self.open:
            opened.callback(connection.abandon)
        self.daemon = Daemon(folder, [self.router.name], QUICK).run()
        opened.callback(self.daemon.stop)
        self.later = iter(range(LATER, LATER + 100))

    def _tcp(self, port: int) -> Tcp:
        inside = self.inside
        return traffic.open_tcp(inside.namespace, inside.address, (SERVER, 8080), self.server, source_port=port)

    def lines(self) -> Counter[int]:
        """How many lines each port has, once what is made now has one too: those before it have been written."""
        port = next(self.later)
        self.daemon.wait_attached([self.router.name])
        self._tcp(port).finish("reset")

        def found() -> Counter[int]:
            words = (word for line in self.daemon.lines("nat") for word in line.split() if word.startswith("SPT="))
            return Counter(int(word[4:]) for word in words)

        wait_until(lambda: found()[port], 20, "what was made now has its line", every=0.1)
        return found()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """The scene."""
    with Testbed() as bed, ExitStack() as opened:
        yield Scene(bed, tmp_path, opened)


def test_lines_do_not_come_again(scene: Scene) -> None:
    """Neither when the daemon is stopped and started again, nor when it is killed, nor with the connections' ends; each
    is on record once, from when it was found first, and has ended."""
    ports = (*TCP, *UDP)

    def each_once() -> None:
        counted = scene.lines()
        assert {port: counted[port] for port in ports} == dict.fromkeys(ports, 1)

    def recorded() -> list[tuple[int, str, str]]:
        rows = scene.daemon.search("--sport", f"{TCP[0]}-{UDP[-1]}")
        return sorted((row["src_port"], row["start"], row["start_is"]) for row in rows)

    each_once()
    found = recorded()
    assert [(port, start_is) for port, _, start_is in found] == [(port, "found") for port in ports]
    for end in (scene.daemon.stop, scene.daemon.kill):
        end()
        scene.daemon.run()
        each_once()
        assert recorded() == found
    for port in ports:
        scene.router.namespace.run("conntrack", "-D", "-p", "tcp" if port in TCP else "udp", "--sport", str(port))
    here = ("--sport", f"{TCP[0]}-{UDP[-1]}")
    wait_until(lambda: all(row["end"] for row in scene.daemon.search(*here)), 20, "all have ended", every=0.1)
    each_once()
    assert recorded() == found
