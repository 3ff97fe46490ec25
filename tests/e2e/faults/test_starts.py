"""Starts that the kernel does not deliver: an open connection is found all the same, or the answer is not complete."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router
from anetcon.testbed.traffic import Made, Server
from tests.load import kernel
from tests.support.daemon import Daemon
from tests.support.frozen import capture, frozen, guarding
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]

SHARE, FILL = 0.02, 8000
"""The share of the connection table (262,144) at which the guard leaves hold, and as many connections as are more."""
HELD = 2000
"""Connections: more than a queue of BUFFER has room for, and fewer than the share."""
BUFFER = 65536
CAUSE = "starts-off"


@pytest.fixture
def server(router: Router) -> Iterator[Server]:
    """A server in the world of the router."""
    with Server(router.world.namespace, SERVER, 8080) as made:
        yield made


@pytest.fixture
def auditor(daemon: Start, router: Router) -> Daemon:
    """It records the router, with a small queue and a guard that leaves hold early."""
    router.namespace.sysctl(netfilter__nf_conntrack_udp_timeout=600)
    audit = {"namespaces": [f"^{router.name}$"], "guard_share": SHARE, "buffer_bytes": BUFFER}
    started = daemon(router.name, audit=audit, store={"flush_seconds": 0.1, "sync_seconds": 0.1})
    started.wait_attached([router.name])
    return started


def fill(router: Router, count: int) -> None:
    """So many connections that nobody answers and that last."""
    inside = router.instances[0]
    with inside.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(b"x", (f"198.51.100.{100 + number // 60000}", 1 + number % 60000))
    wait_until(lambda: kernel.count(router.namespace) >= count, 20, "the table holds them")


def connect(router: Router, server: Server) -> traffic.Tcp:
    """A real connection, which stays open."""
    inside = router.instances[0]
    return traffic.open_tcp(inside.namespace, inside.address, (SERVER, 8080), server)


def who(auditor: Daemon, made: Made) -> tuple[bool, bool]:
    """Whether `who` names the inside of a connection just made, and whether it calls its answer complete."""
    wait_until(lambda: time.time() > made.began / 1e6 + 0.7, 5, "the time that is asked about is past")
    at = f"{made.began / 1e6 + 0.5:.3f}"
    said = auditor.json("who", f"{made.nat_src_ip}:{made.nat_src_port}", "--at", at, "--within", "100ms")
    found = any((c["src_ip"], c["src_port"]) == (made.src_ip, made.src_port) for c in said["connections"])
    return found, said["coverage"]["complete"]


def judged(auditor: Daemon, made: Made) -> bool:
    """Whether it is found. It must never be missing from an answer that says complete."""
    found, complete = who(auditor, made)
    assert found or not complete, (made, auditor.errors())
    return found and complete


def test_starts_come_back_whatever_the_table_holds(auditor: Daemon, router: Router, server: Server) -> None:
    """A burst over a full table makes the guard leave hold; the table stays full. What is opened while starts are off,
    and what is opened later, is found, and the answers are complete again."""
    with frozen(capture(auditor)):
        fill(router, FILL)
        wait_until(lambda: guarding(auditor), 20, "the guard has left hold", 0.05)
        during = connect(router, server)
    wait_until(lambda: judged(auditor, during.made), 30, "what was opened meanwhile is on record", 0.2)
    later = connect(router, server)
    wait_until(lambda: judged(auditor, later.made), 30, "what was opened later is on record", 0.2)
    assert guarding(auditor)
    assert kernel.count(router.namespace) >= FILL
    assert [gap["cause"] for gap in auditor.gaps() if gap["to"] is None] == []
    for each in (during, later):
        each.abandon()


def test_starts_that_were_dropped_in_hold(auditor: Daemon, router: Router, server: Server) -> None:
    """The kernel drops starts while capture stands still; hold goes on. Until the table was listed answers are not
    complete, then the connection is found, and no gap is left."""
    with frozen(capture(auditor)):
        fill(router, HELD)
        opened = connect(router, server)
    wait_until(lambda: judged(auditor, opened.made), 30, "it is on record", 0.2)
    assert not guarding(auditor)
    wait_until(lambda: not [gap for gap in auditor.gaps() if gap["cause"] == CAUSE], 20, "no gap is left", 0.2)
    assert {gap["cause"] for gap in auditor.gaps()} <= {"never-recorded"}
    opened.abandon()


def test_a_daemon_that_dies_before_the_table_was_listed(auditor: Daemon, router: Router, server: Server) -> None:
    """What was opened and has ended meanwhile nobody knows: that time stays a gap, also when a new daemon records."""
    with frozen(capture(auditor)):
        fill(router, HELD)
        opened = connect(router, server)
    wait_until(lambda: [gap for gap in auditor.gaps() if gap["cause"] == CAUSE], 20, "the gap is on record", 0.05)
    auditor.kill()
    opened.finish("reset")
    router.namespace.run("conntrack", "-F")
    auditor.run().wait_attached([router.name])
    wait_until(lambda: [gap for gap in auditor.gaps() if gap["cause"] == CAUSE and gap["to"]], 20, "it has ended", 0.2)
    auditor.wait_flushed()
    _, complete = who(auditor, opened.made)  # found, where a listing was faster than its end
    assert not complete
