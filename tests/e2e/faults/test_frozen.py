"""Capture, the children or everything is stopped (SIGSTOP) while connections are made at full speed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router
from anetcon.testbed.traffic import Server
from tests.e2e.faults.conftest import Weaken
from tests.load import kernel
from tests.load.flood import Flood
from tests.support.daemon import Daemon
from tests.support.frozen import capture, frozen, guarding
from tests.support.ledger import Ledger, UnaccountedError
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Start = Callable[..., Daemon]
Chosen = Callable[[Daemon], list[int]]

FITS, TOO_MANY = 50_000, 300_000
"""Connections: fewer and more than the connection table holds (262,144); either is far more than the socket does."""
MUCH = 200_000
"""Connections: more than the table may hold before the guard leaves hold (70 %), and fewer than it has room for."""
LITTLE, LITTLE_SHARE = 20_000, 0.05
"""The same for a guard that leaves hold as early as that."""
RETRIES = 1_000
"""A retry in the moment in which the guard leaves hold counts as a loss; never a loss as none."""
HELD = 10_000
"""Connections: several times what the socket holds."""
FEW = 10
"""Connections that are left when those of the flood have ended: a datagram's takes half a minute."""
LIMIT = "/proc/sys/net/netfilter/nf_conntrack_max"

STAYS_FROZEN = """
from anetcon.keeper import watchdog
watchdog.STILL = float("inf")
"""
"""For a flood that a busy machine takes longer for than the 10 s after which the watchdog continues capture."""
NO_HOLD = """
from anetcon.keeper import hold as guard
guard.Held.set_hold = lambda held, hold: None
"""
NO_GUARD = """
from anetcon.keeper import hold as guard
guard.Guard.tick = lambda *_: None
"""
NO_COUNT = """
from anetcon.keeper import hold as guard
guard.Held.tell = lambda held: None
"""


def children(auditor: Daemon) -> list[int]:
    """Everything but the keeper."""
    return auditor.children()


def everything(auditor: Daemon) -> list[int]:
    """The keeper first."""
    return [auditor.process.pid, *auditor.children()]


def passes(router: Router) -> None:
    """A real datagram through the router and one back, neither sent twice. TimeoutError when it does not pass."""
    inside = router.instances[0]
    with Server(router.world.namespace, SERVER, 8080) as server:
        traffic.udp(inside.namespace, inside.address, (SERVER, 8080), server)


def settled(auditor: Daemon, router: Router) -> None:
    """Until the kernel has nothing more to tell, and the guard nothing more to count, and all of it is on record."""
    table = router.namespace
    wait_until(lambda: kernel.count(table) < FEW and not any(kernel.queued(table).values()), 60, "all is told", 0.1)
    wait_until(lambda: not guarding(auditor), 30, "the guard holds again")
    auditor.wait_flushed()


def flooded(auditor: Daemon, router: Router, chosen: Chosen, count: int, guarded: int = 0) -> Ledger:
    """So many connections while the chosen processes are frozen, and one more that must pass. After `guarded` of them
    the flood waits for the guard: how soon it comes is a matter of the machine, and here of what it does."""
    auditor.wait_attached([router.name])
    with Flood(router, count) as flood:
        ledger = Ledger(flood)
        with frozen(chosen(auditor)):
            if guarded:
                ledger.send(guarded, piece=guarded)
                wait_until(lambda: guarding(auditor), 20, "the guard has left hold", 0.05)
            ledger.send(piece=count)
            passes(router)
        settled(auditor, router)
        assert flood.failures() == {}
    return ledger


@pytest.mark.parametrize("chosen", [capture, children, everything])
def test_frozen_while_the_table_has_room(daemon: Start, router: Router, chosen: Chosen) -> None:
    """50,000 connections while capture, everything but the keeper, or everything stands still: all recorded, once
    each, with their end; dropped starts are a gap until the table was listed, and then there is none."""
    auditor = daemon(router.name)
    ledger = flooded(auditor, router, chosen, FITS)
    ledger.whole(auditor)
    wait_until(lambda: auditor.gaps("--since", ledger.since()) == [], 30, "the table was listed, and no gap is left")


def test_frozen_without_hold(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: a daemon that does not hold loses most of the same, and this judgement says so."""
    weakened("anetcon.keeper.main", STAYS_FROZEN + NO_HOLD)
    auditor = daemon(router.name)
    ledger = flooded(auditor, router, capture, FITS)
    with pytest.raises(UnaccountedError, match=f"{FITS} made"):
        ledger.whole(auditor)


def test_frozen_for_more_than_the_table_holds(daemon: Start, router: Router, weakened: Weaken) -> None:
    """300,000 connections behind a capture that stands still: the router refuses none, a real one passes at once, and
    made = recorded + counted lost."""
    weakened("anetcon.keeper.main", STAYS_FROZEN)
    auditor = daemon(router.name)
    ledger = flooded(auditor, router, capture, TOO_MANY, guarded=MUCH)
    assert ledger.flood.made() == TOO_MANY
    ledger.counted(auditor, RETRIES)
    gaps = auditor.gaps("--since", ledger.since())  # more than one when a slow kernel goes on dropping
    assert {(gap["cause"], gap["netns"]) for gap in gaps} - {("starts-off", router.name)} == {("overrun", router.name)}


def test_frozen_without_the_guard(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: with no guard the table fills, and the router refuses connections because of us."""
    weakened("anetcon.keeper.main", STAYS_FROZEN + NO_GUARD)
    auditor = daemon(router.name)
    with pytest.raises(TimeoutError):
        flooded(auditor, router, capture, TOO_MANY)


def test_frozen_without_a_count(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: a guard that tells nobody what it let go of leaves connections that are not accounted for."""
    weakened("anetcon.keeper.main", STAYS_FROZEN + NO_COUNT)
    auditor = daemon(router.name, audit={"namespaces": [f"^{router.name}$"], "guard_share": LITTLE_SHARE})
    ledger = flooded(auditor, router, capture, FITS, guarded=LITTLE)
    with pytest.raises(UnaccountedError, match="0 counted lost"):
        ledger.counted(auditor)


def test_everything_frozen_for_more_than_the_table_holds(daemon: Start, router: Router) -> None:
    """With the keeper frozen as well nobody guards: the table fills and refuses, as docs/explanation/completeness.md
    says; continued, a real connection passes at once and everything made is recorded or counted."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    with Flood(router, TOO_MANY) as flood:
        ledger = Ledger(flood)
        with frozen(everything(auditor)):
            ledger.send(piece=TOO_MANY)
            assert kernel.count(router.namespace) == int(router.namespace.run("cat", LIMIT))
        wait_until(lambda: kernel.count(router.namespace) < TOO_MANY // 2, 20, "the guard lets go")
        passes(router)
        settled(auditor, router)
        made = flood.made()
        assert TOO_MANY > made == TOO_MANY - flood.failures()["drop"]
        ledger.counted(auditor, RETRIES)


def test_stopped_while_the_kernel_holds_ends_back(daemon: Start, router: Router) -> None:
    """Stopped in order just after capture stood still, it ends when all that the kernel kept for it is on record."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    with Flood(router, HELD) as flood:
        ledger = Ledger(flood)
        with frozen(capture(auditor)):
            ledger.send(piece=HELD)
        assert auditor.stop() == 0, auditor.errors()
    ledger.whole(auditor)


def test_stopped_just_as_another_capture_begins(daemon: Start, router: Router) -> None:
    """The program is replaced in place, and stopped in order at the first flush of its capture: what waits in the
    socket that this one is handed, and what the kernel keeps for it, is on record."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    with Flood(router, HELD) as flood:
        ledger = Ledger(flood)
        (replaced,) = capture(auditor)
        auditor.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: not Path(f"/proc/{replaced}").exists(), 20, "the one before has ended", 0.001)
        before = auditor.flushed()
        ledger.send(piece=HELD)
        wait_until(lambda: auditor.flushed() != before, 20, "another one has begun", 0.001)
        assert auditor.stop() == 0, auditor.errors()
    ledger.whole(auditor)
    gaps = auditor.gaps("--since", ledger.since(), "--until", ledger.until())
    assert {gap["cause"] for gap in gaps} <= {"starts-off"}  # it was stopped before the table was listed
