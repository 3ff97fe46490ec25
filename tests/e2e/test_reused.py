"""Client ports that are used again at once, so that the end of one connection and the start of the next of the same
numbers come in one batch: text logs and `follow` have each connection once."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from tests.load import packets
from tests.load.packets import RST, SYN, TCP
from tests.load.wire import Batch, Wire
from tests.support.daemon import PROGRAM, QUICK, Daemon, catches, seconds
from tests.support.waiting import wait_until

CLOSED = 8081
PORTS, ROUNDS, DATAGRAMS = 20, 25, 30
KEEPS_THE_PORT = "flush chain ip nat postrouting\nadd rule ip nat postrouting oifname {} snat to {}\n"
LINE = re.compile(r"(\S+) .* SPT=(\d+) DPT=")
Times = dict[int, list[float]]


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    """A router whose translation keeps the port, so that whole tuples are used again."""
    with Testbed() as bed:
        made = Router(World(bed), instances=1, plain=True)
        made.namespace.run("nft", "-f", "-", text=KEEPS_THE_PORT.format(made.ports.outer, made.snat))
        yield made


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, router: Router) -> Iterator[Daemon]:
    """A daemon on it."""
    made = Daemon(tmp_path_factory.mktemp("daemon"), [router.name], QUICK).run()
    made.wait_attached([router.name])
    yield made
    made.stop()


def refused(router: Router, first: int, rounds: int) -> None:
    """The instance is refused a connection from each of its ports, again and again: with the reset the kernel forgets
    the connection at once, so each SYN is a new one of the same numbers. Returns when the last reset has come."""
    macs = packets.mac_bytes(router.mac(1)), packets.mac_bytes(router.mac(16))
    ends = packets.address_bytes(router.instances[0].address), packets.address_bytes(SERVER)
    segments = packets.tcp(PORTS, np.arange(first, first + PORTS), CLOSED, SYN)
    with Wire(router.inside, listening=True) as wire:
        syns = Batch(packets.frames(*macs, *ends, TCP, segments), wire.interfaces["eth0"])
        for _ in range(rounds):
            left = set(range(first, first + PORTS))

            def all_came(left: set[int] = left) -> bool:
                frames = wire.receive()[0]
                resets = frames[(frames[:, 23] == TCP) & (frames[:, 47] & RST != 0)]
                left.difference_update(packets.words(resets, 36)[:, 0].tolist())
                return not left

            syns.send(wire)
            wait_until(all_came, 10, "all are refused", every=0.0001)


@contextmanager
def following(daemon: Daemon, *options: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Run `anetcon follow`; gives what it has printed until now."""
    path = daemon.folder / f"followed{''.join(options)}"
    words = [str(PROGRAM), "follow", *options, "--format", "jsonl", "--store", str(daemon.store)]
    with path.open("wb") as out, subprocess.Popen(words, stdout=out, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: catches(process.pid, signal.SIGTERM), 10, "it follows")
            yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
        finally:
            process.terminate()


@contextmanager
def standing_still(daemon: Daemon) -> Iterator[None]:
    """Capture does not read meanwhile: all that waits then comes in one batch."""
    daemon.signal_capture(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.signal_capture(signal.SIGCONT)


def times(records: Iterable[tuple[str, str | int]], ports: Sequence[int]) -> Times:
    """Times of each of these ports, in order."""
    found: Times = {port: [] for port in ports}
    for time, port in records:
        if int(port) in found:
            found[int(port)].append(seconds(time))
    return {port: sorted(each) for port, each in found.items()}


def each_once(said: Times, rows: list[dict[str, Any]]) -> None:
    """Each connection on record has one of these times: behind the end of the one before it, and not behind its own."""
    ends = times([(row["end"], row["src_port"]) for row in rows], list(said))
    for port, found in said.items():
        assert len(found) == len(ends[port]), (port, len(found), len(ends[port]))
        bounds = zip([0.0, *ends[port]], found, ends[port], strict=False)
        assert all(before <= time <= end for before, time, end in bounds), (port, found, ends[port])


def judged(router: Router, daemon: Daemon, ports: Sequence[int], count: int, make: Callable[[], None]) -> None:
    """What is made from these ports, so many connections a port, is in the store, in the text log and in what `follow`
    prints, each once. Something that is made behind it says when all of it has been written."""
    last = ports[-1] + 1
    with following(daemon) as starts, following(daemon, "--ends") as both:
        make()
        refused(router, last, 1)
        behind = range(last, last + PORTS)

        def lines() -> list[tuple[str, str]]:
            return [(found[1], found[2]) for found in map(LINE.match, daemon.lines("nat")) if found]

        def told(records: list[dict[str, Any]]) -> list[tuple[str, int]]:
            return [(record["start"], record["src_port"]) for record in records]

        for said, times_each in ((lines, 1), (lambda: told(starts()), 1), (lambda: told(both()), 2)):
            wait_until(
                lambda: sum(map(len, times(said(), behind).values())) >= PORTS * times_each,  # noqa: B023
                20,
                "what was made last is told",
                every=0.1,
            )
        rows = daemon.search("--sport", f"{ports[0]}-{ports[-1]}")
        assert len(rows) == len(ports) * count
        each_once(times(lines(), ports), rows)
        each_once(times(told(starts()), ports), rows)
        begun, ended = ([row for row in both() if (row["end"] is None) is open_] for open_ in (True, False))
        each_once(times(told(begun), ports), rows)
        mine = [(row["start"], row["end"], row["src_port"]) for row in ended if row["src_port"] in ports]
        assert sorted(mine) == sorted((row["start"], row["end"], row["src_port"]) for row in rows)


@pytest.mark.parametrize("still", [False, True])
def test_refused_connections(router: Router, daemon: Daemon, still: bool) -> None:
    """Five hundred within milliseconds, 25 from each port, while capture reads and while it does not."""
    first = 20_100 if still else 20_000

    def make() -> None:
        with standing_still(daemon) if still else nullcontext():
            refused(router, first, ROUNDS)

    judged(router, daemon, range(first, first + PORTS), ROUNDS, make)


def test_connections_that_are_deleted(router: Router, daemon: Daemon) -> None:
    """Datagrams from one port, whose connection is deleted each time before the next is sent."""
    inside, port = router.instances[0], 20_200
    delete = ("conntrack", "-D", "-p", "udp", "--sport", str(port))

    def make() -> None:
        with standing_still(daemon), inside.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((inside.address, port))
            for _ in range(DATAGRAMS):
                sender.sendto(b"x", (SERVER, 9))
                wait_until(lambda: router.namespace.run(*delete), 10, "it is there, and deleted")

    judged(router, daemon, [port], DATAGRAMS, make)
