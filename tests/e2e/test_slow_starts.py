"""A process of the daemon that starts late, as on a busy machine: nothing is missing, and no gap says that it is."""

from __future__ import annotations

from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.e2e.conftest import Start, Weaken

LATE_KEEPER = """
import threading
from anetcon.keeper.namespaces import Namespaces
found = Namespaces.fileno
def late(self):
    threading.Event().wait(1)
    return found(self)
Namespaces.fileno = late
"""
LATE_FOLLOW = """
import signal, threading, time
deadline = time.monotonic() + 60
while signal.SIGTERM not in signal.sigpending():
    assert time.monotonic() < deadline
    threading.Event().wait(0.01)
"""
"""Until it is told to end; where that is not held back, it is the end."""


def test_the_keeper_is_held_up_before_it_looks_for_namespaces(daemon: Start, world: World, weakened: Weaken) -> None:
    """What is there at the start is attached before capture begins, so the record has no gap after its beginning."""
    weakened("anetcon.keeper.main", LATE_KEEPER)
    router = Router(world, plain=True)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    auditor.wait_flushed()
    assert auditor.gaps() == []


def test_the_daemon_is_stopped_before_follow_has_started(daemon: Start, world: World, weakened: Weaken) -> None:
    """Follow is told to end while it starts: it ends when it has written what is on record, not at once."""
    weakened("anetcon.follow.main", LATE_FOLLOW)
    router = Router(world, instances=1, plain=True)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    inside = router.instances[0]
    with Server(world.namespace, SERVER, 8080) as server:
        made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
    assert auditor.stop() == 0, auditor.errors()
    (line,) = auditor.lines("nat")
    assert f"SPT={made.src_port} " in line
