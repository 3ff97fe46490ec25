"""Namespaces that come and go by the hundred, and a capture that stands still while they go."""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from anetcon.testbed import traffic
from anetcon.testbed.bed import Namespace, Testbed, owner, remove
from anetcon.testbed.topology import Router
from anetcon.testbed.traffic import Server
from tests.e2e.faults.conftest import Weaken
from tests.support.daemon import Daemon, listening
from tests.support.ledger import UnaccountedError
from tests.support.open_files import SOON, descriptors, processes, same_descriptors
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Start = Callable[..., Daemon]
Key = tuple[str, int]

MANY, EACH, WORKERS = 300, 3, 4
PORT = 8080
ROUNDS, WARM = 50, 15
NEVER = 0.25
"""Seconds, of a quiet machine (`wait_until` waits eight times as long), for what is not to come."""
MEMORY = 1 << 20
"""Bytes by which a process may differ after these rounds: what Python keeps of one moment's garbage."""

TRACKING = "table ip t {\n chain c {\n type filter hook output priority 0\n ct state new\n }\n}\n"

LEAK = """
from anetcon.keeper import attach
whole, kept = attach.Attachment.close, []
def leak(attachment):
    kept.append(os.dup(attachment.stats.fileno()))
    whole(attachment)
import os
attach.Attachment.close = leak
"""
NO_LAST_WORD = """
from anetcon.capture.engine.ct_events import Conntrack
from anetcon.capture.table_dumps import Opened, Tables
Tables.opened = lambda self, namespace, done, record: done(Opened(0, 0))
Tables.ended = lambda self, namespace, done: done(True)
Conntrack._drain = lambda self, namespace, now: 0
"""
NOT_KILLED = """
from anetcon.keeper import watchdog
watchdog.THEN = 30
"""
"""A busy machine may hold capture up for as long as the two seconds in which it is to turn once it is continued."""
NO_WATCHDOG = """
from anetcon.keeper import watchdog
watchdog.Watchdog.tick = lambda *_: None
"""
A_SECOND_AT_DETACH = """
from anetcon.capture.lifecycle import Lifecycle
detach = Lifecycle.detach
def slowly(self, slot, why, now):
    detach(self, slot, why, now)
    now = self._recording.clock()
    self._recording.requests.tick(now)
    self.tick(now)
    self._engine.tick(now)
Lifecycle.detach = slowly
"""


class Churn:
    """Namespaces of one worker, each with a link to a world and connections into it."""

    def __init__(self, bed: Testbed, role: str, number: int) -> None:
        self.number, self.role = number, role
        self.world = bed.namespace(f"world-{role}{number}")
        self.server = Server(self.world, "0.0.0.0", PORT)  # noqa: S104 - in a namespace of its own
        self.prefix = f"anet{owner()}-{secrets.token_hex(2)}-{role}"
        self.made: set[Key] = set()

    def __enter__(self) -> Churn:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def one(self, index: int, attached: bool = False) -> None:
        """A namespace is made, used (once it is `attached`, if so) and deleted."""
        with self.namespace(index) as namespace:
            if attached:
                wait_until(lambda: listening(namespace), SOON, f"{namespace.name} is attached", 0.002)
            net = f"10.{100 + self.number}.{index}"
            for _ in range(EACH):
                made = traffic.tcp(namespace, f"{net}.2", (f"{net}.1", PORT), self.server)
                self.made.add((namespace.name, made.src_port))

    @contextmanager
    def namespace(self, index: int) -> Iterator[Namespace]:
        """It is there inside the block."""
        name = f"{self.prefix}{self.number}-{index}"
        net, link = f"10.{100 + self.number}.{index}", f"w{index}"
        try:
            namespace = Namespace(name)
            pair = f"link add {link} type veth peer name eth0 netns {name}"
            lines = f"{pair}\naddr add {net}.1/30 dev {link}\nlink set {link} up\n"
            self.world.run("ip", "-batch", "-", text=lines)
            namespace.run("ip", "-batch", "-", text=f"addr add {net}.2/30 dev eth0\nlink set eth0 up\n")
            namespace.run("nft", "-f", "-", text=TRACKING)
            yield namespace
        finally:
            remove(name)

    def links(self) -> list[str]:
        """Ends of links whose namespaces are still alive."""
        return re.findall(r"\bw\d+", self.world.run("ip", "-br", "link"))


def ours(role: str) -> str:
    """The pattern of the namespaces of this process for that role."""
    return f"^anet{owner()}-[0-9a-f]+-{role}"


def account(auditor: Daemon, made: set[Key], names: str) -> None:
    """Each connection is on record once, or its namespace has a gap. Raises UnaccountedError."""
    found = [(record["netns"], record["src_port"]) for record in auditor.search("--netns", names)]
    gaps = {gap["netns"] for gap in auditor.gaps()}
    missing = {(name, port) for name, port in made - set(found) if name not in gaps}
    if len(found) != len(set(found)) or missing or set(found) - made:
        raise UnaccountedError(f"{len(made)} made, {len(found)} recorded, {len(missing)} neither recorded nor in a gap")


def churned(auditor: Daemon, bed: Testbed, role: str, count: int, attached: bool = False) -> set[Key]:
    """So many namespaces come and go, a few at a time, each as `one` has it; their connections."""
    with ExitStack() as opened, ThreadPoolExecutor(WORKERS) as pool:
        first = len(role) * WORKERS  # no two roles share addresses
        churns = [opened.enter_context(Churn(bed, role, first + number)) for number in range(WORKERS)]
        for done in [pool.submit(_several, churn, count // WORKERS, attached) for churn in churns]:
            done.result()
        for churn in churns:
            wait_until(lambda c=churn: not c.links(), SOON, "every interface is released")  # type: ignore[misc]
    wait_until(lambda: _all_gone(auditor, role), SOON, "all are gone")
    return set().union(*(churn.made for churn in churns))


def _several(churn: Churn, count: int, attached: bool) -> None:
    for index in range(count):
        churn.one(index, attached)


def _all_gone(auditor: Daemon, role: str) -> bool:
    mine = {state for name, state in auditor.states().items() if re.match(ours(role), name)}
    return mine == {"gone"}


def test_300_namespaces_come_and_go(bed: Testbed, daemon: Start) -> None:
    """Each connection is on record or in a gap of its namespace; interfaces and descriptors are released at once."""
    auditor = daemon(audit={"namespaces": [ours("churn"), ours("first")]})
    churned(auditor, bed, "first", WORKERS, attached=True)
    wait_until(lambda: auditor.lines("nat"), 20, "the text logs are open", every=0.2)
    before = descriptors(auditor)
    made = churned(auditor, bed, "churn", MANY)
    assert len(made) == MANY * EACH
    same_descriptors(auditor, before)
    assert auditor.stop() == 0, auditor.errors()
    account(auditor, made, ours("churn"))


def test_namespaces_that_go_without_a_last_look(bed: Testbed, daemon: Start, weakened: Weaken) -> None:
    """The control: a capture that lets go without reading what waits has lost some and is found out."""
    weakened("anetcon.capture.main", NO_LAST_WORD)
    auditor = daemon(audit={"namespaces": [ours("unread")]})
    made = churned(auditor, bed, "unread", WORKERS, attached=True)
    assert auditor.stop() == 0, auditor.errors()
    with pytest.raises(UnaccountedError):
        account(auditor, made, ours("unread"))


def memory(auditor: Daemon) -> dict[str, int]:
    """Private bytes of each process by name."""
    found = {}
    for pid in processes(auditor):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))
        found[Path(f"/proc/{pid}/comm").read_text().strip()] = private
    return found


def rounds(auditor: Daemon, churn: Churn, first: int, last: int, within: float = SOON) -> None:
    """One namespace after the other is attached, used and let go; all of it is written."""
    for index in range(first, last):
        churn.one(index, attached=True)
        wait_until(lambda: not churn.links(), within, "its interface is released")
    auditor.wait_written()
    wait_until(lambda: len(auditor.lines("nat")) >= last * EACH, SOON, "the text logs are written", every=0.2)


def test_fifty_rounds_leave_nothing_behind(bed: Testbed, daemon: Start) -> None:
    """Fifty namespaces attached and let go, one after the other: no descriptor is left, and no memory grows. Room that
    was there and is used for the first time, by a burst, is growth as well, but not again and again."""
    auditor = daemon(audit={"namespaces": [ours("rounds")]})
    grown = []
    with Churn(bed, "rounds", 9) as churn:
        rounds(auditor, churn, 0, WARM)
        open_before = descriptors(auditor)
        for done in range(WARM, WARM + 3 * ROUNDS, ROUNDS):
            before = memory(auditor)
            rounds(auditor, churn, done, done + ROUNDS)
            same_descriptors(auditor, open_before)
            grown.append({name: after - before[name] for name, after in memory(auditor).items()})
            if max(grown[-1].values()) < MEMORY:
                return
    raise AssertionError(grown)


def test_a_descriptor_that_is_left_is_found_out(bed: Testbed, daemon: Start, weakened: Weaken) -> None:
    """The control: a keeper that forgets one descriptor keeps the namespace, and its interface, alive."""
    weakened("anetcon.keeper.main", LEAK)
    auditor = daemon(audit={"namespaces": [ours("leaky")]})
    before = descriptors(auditor)
    with Churn(bed, "leaky", 9) as churn, pytest.raises(AssertionError, match="interface is released"):
        rounds(auditor, churn, 0, 1, within=NEVER)
    with pytest.raises(AssertionError, match="as before"):
        same_descriptors(auditor, before, within=NEVER)


def released_while_frozen(auditor: Daemon, router: Router, seconds: float) -> str:
    """The router is deleted while capture stands still; its link must go nevertheless. When it was attached."""
    auditor.wait_attached([router.name])
    attached = f"{time.time():.6f}"
    frozen = auditor.capture_pid()
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    world, link = router.world.namespace, router.link
    try:
        router.close()
        wait_until(lambda: link not in world.run("ip", "-br", "link"), seconds, "the interface is released")
    finally:
        os.kill(frozen, signal.SIGCONT)
    return attached


def test_a_frozen_capture_lets_go(daemon: Start, router: Router, weakened: Weaken) -> None:
    """A namespace deleted while capture stands still is gone soon: the keeper sees to it, without killing it."""
    weakened("anetcon.keeper.main", NOT_KILLED)
    auditor = daemon(router.name)
    attached = released_while_frozen(auditor, router, SOON)
    assert "it is continued" in auditor.errors()
    assert auditor.status()["capture"]["restarts"] == 0
    assert auditor.stop() == 0
    late = {"namespace-gone"}  # a last look that was too late
    assert {gap["cause"] for gap in auditor.gaps("--since", attached) if gap["to"]} <= late


def test_a_second_passes_while_it_lets_go(daemon: Start, router: Router, weakened: Weaken) -> None:
    """What capture looks at each second is due just when a namespace that had no traffic goes: no gap is left of it."""
    weakened("anetcon.capture.main", A_SECOND_AT_DETACH)
    auditor = daemon(router.name)
    attached = released_while_frozen(auditor, router, SOON)
    assert auditor.stop() == 0
    assert {gap["cause"] for gap in auditor.gaps("--since", attached) if gap["to"]} <= {"namespace-gone"}


def test_a_frozen_capture_without_a_watchdog(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: without the watchdog the deleted namespace stays alive."""
    weakened("anetcon.keeper.main", NO_WATCHDOG)
    auditor = daemon(router.name)
    with pytest.raises(AssertionError, match="interface is released"):
        released_while_frozen(auditor, router, 2 * NEVER)
