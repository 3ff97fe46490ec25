"""Another program writes to the same table while the daemon repairs it: neither harms the other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.errors import AnetconError
from anetcon.keeper.log_engine.standing import QUIET_SECONDS
from anetcon.testbed import traffic
from anetcon.testbed.bed import Namespace, Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.load import kernel
from tests.support.keeper_daemon import Daemon, ours
from tests.support.logging_rules import JUMP, kmsg, missing, nat, readme, table
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.needs("nft", "iptables"), pytest.mark.timeout(200)]  # others may hold the machine's switch


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """The kernel's one switch is ours for the time of the test."""
    with kernel.log_all_netns(0):
        yield


@pytest.fixture
def bare(bed: Testbed) -> Namespace:
    """A namespace with two rules of somebody else's."""
    made = bed.namespace("r")
    made.run("iptables-nft-restore", text=agents_rules([]))
    return made


@contextlib.contextmanager
def running(folder: Path, names: str, engine: str = "iptables-log") -> Iterator[Daemon]:
    """A keeper that looks at everything the moment it changes, and hardly ever else."""
    daemon = Daemon(folder, [names], engine=engine)
    try:
        yield daemon.run()
    finally:
        daemon.close()


ROUNDS = 50
OWN = ["-s 10.1.0.0/16 -j RETURN", "-s 10.2.0.0/16 -j RETURN"]


def agents_rules(rest: list[str]) -> str:
    """The agent's two rules, before whatever else is there."""
    return "\n".join(["*nat", *(f"-A POSTROUTING {rule}" for rule in [*OWN, *rest]), "COMMIT", ""])


def agent_round(namespace: Namespace) -> None:
    """What Neutron's agent does: save, then delete and insert by line number so that its own rules come first."""
    saved = namespace.run("iptables-nft-save", "-t", "nat").splitlines()
    found = [line.removeprefix("-A POSTROUTING ") for line in saved if line.startswith("-A POSTROUTING ")]
    wanted = [*OWN, *dict.fromkeys(rule for rule in found if rule not in OWN)]
    lines = ["-D POSTROUTING 1"] * len(found)
    lines += [f"-I POSTROUTING {number} {rule}" for number, rule in enumerate(wanted, 1)]
    namespace.run("iptables-nft-restore", "--noflush", text="\n".join(["*nat", *lines, "COMMIT", ""]))


def wipe(namespace: Namespace) -> None:
    """Take the jump and the rules away, if they are there."""
    for arguments in ("-D POSTROUTING -j anetcon", "-F anetcon"):
        with contextlib.suppress(AnetconError):
            namespace.run("iptables-nft", "-t", "nat", *arguments.split())


def flush(namespace: Namespace) -> None:
    """Take the rules away and leave the jump, which counts in the agent's line numbers."""
    with contextlib.suppress(AnetconError):
        namespace.run("iptables-nft", "-t", "nat", "-F", "anetcon")


def put_right(namespace: Namespace) -> bool:
    """Whether our rules are whole, and the jump to them before the agent's."""
    rules = nat(namespace)
    return rules[0] == JUMP and [rule for rule in rules if "RETURN" not in rule] == readme(namespace.name, "")


def test_an_agent_in_a_loop_never_fails_and_ours_are_back(tmp_path: Path, bare: Namespace) -> None:
    """It wipes our rules, saves, edits by number and restores, over and over: no restore fails; ours come back."""
    with running(tmp_path, ours()) as daemon:
        daemon.wait_heard("attach", netns=bare.name)
        rounds, until = 0, time.monotonic() + 30
        while time.monotonic() < until and (rounds < ROUNDS or not missing(daemon.heard("gap"), bare.name)):
            begin = time.monotonic()
            (flush if rounds % 20 else wipe)(bare)
            try:
                agent_round(bare)  # AnetconError when a number does not fit any more
            except AnetconError:
                if time.monotonic() < begin + QUIET_SECONDS:
                    raise
                # So long after the last change, on a busy machine, our rules may be put right between its two steps.
            rounds += 1
        assert missing(daemon.heard("gap"), bare.name), "it was repaired in the middle of it too"
        wait_until(lambda: put_right(bare), 3, f"ours are whole and come first: {daemon.log()}")
        wait_until(lambda: missing(daemon.heard("gap"), bare.name)[-1]["to"], 3, "no gap lasts")
        assert {rule for rule in nat(bare) if "RETURN" in rule} == {f"-A POSTROUTING {rule}" for rule in OWN}


TAMPER: dict[str, Callable[[Namespace], object]] = {
    "wiped": wipe,
    "moved": agent_round,
    "flushed": flush,
}


class Reader(threading.Thread):
    """Reads the ruleset without a pause inside its block, and keeps the most copies it ever saw."""

    def __init__(self, read: Callable[[], list[str]]) -> None:
        super().__init__(daemon=True)
        self.read = read
        self.reads = self.most = 0
        self.over = False

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.join()

    def run(self) -> None:
        """Until `over`."""
        while not self.over:
            rules = self.read()
            copies = [rules.count(rule) for rule in set(rules)]
            self.most = max([self.most, *copies])
            self.reads += 1


def test_no_reader_ever_sees_two_copies(tmp_path: Path, bare: Namespace) -> None:
    """However our rules are lost, from the first look to the last no rule of ours is there twice."""
    with running(tmp_path, ours()) as daemon:
        daemon.wait_heard("attach", netns=bare.name)
        with Reader(lambda: nat(bare)) as reader:
            for what, tamper in (*TAMPER.items(), *TAMPER.items()):
                reads = reader.reads
                tamper(bare)
                wait_until(lambda: [r for r in nat(bare) if "RETURN" not in r] == readme(bare.name, ""), 4, what)
                wait_until(lambda reads=reads: reader.reads > reads + 3, 4, "it was read meanwhile")  # type: ignore[misc]
    assert reader.most == 1


def test_no_reader_ever_sees_two_copies_of_our_table(tmp_path: Path, bare: Namespace) -> None:
    """The same with a table of our own, which is altered, flushed and deleted."""
    with running(tmp_path, ours(), "nftables-log") as daemon:
        daemon.wait_heard("attach", netns=bare.name)
        right = table(bare)
        with Reader(lambda: [line for line in table(bare) if "log prefix" in line]) as reader:
            for command in ("flush chain inet anetcon postrouting", "delete table inet anetcon", "flush ruleset") * 2:
                bare.run("nft", command)
                wait_until(lambda: table(bare) == right, 4, command)
            wait_until(lambda: reader.most, 4, "it was read while it stood")
    assert reader.most == 1


def test_the_agent_moves_the_jump_and_translated_connections_are_seen_again(tmp_path: Path, bed: Testbed) -> None:
    """On a router as Neutron's: behind the agent's own SNAT nothing translated is logged; first again, it is."""
    world = World(bed)
    router = Router(world, instances=1)
    inside = router.instances[0]
    with (
        running(tmp_path, f"^{router.name}$") as daemon,
        kmsg() as log,
        Server(world.namespace, SERVER, 8080) as server,
    ):
        daemon.wait_heard("attach", netns=router.name)

        def logged() -> bool:
            made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
            line = f"SRC={made.src_ip} DST={SERVER} "
            with contextlib.suppress(AssertionError):
                return wait_until(
                    lambda: any(line in each and f"SPT={made.src_port} " in each for each in log.read()), 0.1, line
                )
            return False

        assert logged()
        with daemon.frozen():
            saved = router.namespace.run("iptables-nft-save", "-t", "nat").splitlines()
            rest = [line for line in saved if line != JUMP]
            router.namespace.run("iptables-nft-restore", text="\n".join([*rest[:-2], JUMP, *rest[-2:], ""]))
            assert nat(router.namespace)[0] != JUMP
            assert not logged()
        wait_until(lambda: nat(router.namespace)[0] == JUMP, 3, f"first again\n{daemon.log()}")
        assert logged()
        wait_until(lambda: "was not first in POSTROUTING" in daemon.log(), 3, "the log says what was wrong")
