"""The LOG engines' rules: they are the readme's, they come back however they are lost, and nothing of them stays."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Namespace, Testbed
from tests.load import kernel
from tests.support.keeper_daemon import Daemon, ours, writer
from tests.support.logging_rules import (
    JUMP,
    Kmsg,
    anything,
    connect,
    hashed,
    kmsg,
    missing,
    nat,
    readme,
    table,
    wait_logged,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.needs("nft", "iptables"), pytest.mark.timeout(200)]  # others may hold the machine's switch
IPTABLES, NFTABLES = "iptables-log", "nftables-log"
SLACK = 10_000_000
"""Microseconds before a fault, at most, in which a busy machine's keeper last looked."""


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """The kernel's one switch is ours for the time of the test, off as the kernel has it."""
    with kernel.log_all_netns(0):
        yield


@pytest.fixture
def log() -> Iterator[Kmsg]:
    """The kernel's log."""
    with kmsg() as opened:
        yield opened


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes keepers, not started yet."""
    made: list[Daemon] = []

    def one(engine: str, **audit: object) -> Daemon:
        made.append(Daemon(tmp_path, [ours()], engine=engine, **audit))
        return made[-1]

    yield one
    for daemon in made:
        daemon.close()


@pytest.fixture
def ports() -> Iterator[int]:
    """Ports, none twice."""
    return itertools.count(20000)


@pytest.fixture
def bare(bed: Testbed) -> Namespace:
    """A namespace without any rule."""
    made = bed.namespace("r")
    made.run("ip", "link", "set", "lo", "up")
    return made


def attached(daemon: Daemon, namespace: Namespace) -> None:
    """Wait until it is handed over."""
    daemon.wait_attached(namespace.name)


def test_the_rules_are_the_readmes_and_none_is_left(make: Callable[..., Daemon], bare: Namespace) -> None:
    """With TCP alone both families have the readme's two rules and the jump, before capture hears of the namespace."""
    daemon = make(IPTABLES, protocols=[6]).run()
    attached(daemon, bare)
    assert nat(bare) == nat(bare, family=6) == readme(bare.name)
    shown = wait_until(lambda: daemon.namespace(bare.name).get("rules"), 3, "the status tells of them")
    assert shown
    assert shown["checked"]
    assert shown["repaired"] is None
    assert daemon.status()["engine"] == IPTABLES
    assert bare.run("cat", "/proc/net/ip_tables_names") == ""
    assert daemon.stop() == 0
    assert anything(bare) == []
    assert daemon.heard("gap") == []


def test_networks_and_protocols_make_rules_of_their_own(make: Callable[..., Daemon], bare: Namespace) -> None:
    """A list of protocols is a pair of rules each, networks one non-DNAT rule each, in the table of their family."""
    networks = {bare.name: ["192.168.1.1/24", "10.0.0.0/8", "2001:db8::1/64"]}
    daemon = make(IPTABLES, protocols=[1, 6, 17, 47, 58], networks=networks).run()
    attached(daemon, bare)
    for family, sources, last in ((4, ["192.168.1.0/24", "10.0.0.0/8"], "icmp"), (6, ["2001:db8::/64"], "ipv6-icmp")):
        rules = [rule.split(" -j LOG")[0] for rule in nat(bare, family=family)[1:]]
        assert len(rules) == 4 * (1 + len(sources))
        assert {rule.split()[3] for rule in rules if " -s " in rule} == set(sources)
        assert all("! --ctstate DNAT" in rule for rule in rules if " -s " in rule)
        assert f"-A anetcon -p {last} -m state --state NEW -m conntrack --ctstate DNAT" in rules


def test_both_engines_log_the_same_connections(
    make: Callable[..., Daemon], bare: Namespace, log: Kmsg, ports: Iterator[int]
) -> None:
    """One line a connection with either engine, alike to the letter but for ports and packet ids."""
    lines = []
    for engine in (IPTABLES, NFTABLES):
        daemon = make(engine).run()
        attached(daemon, bare)
        port = next(ports)
        connect(bare, port)
        (line,) = wait_until(lambda port=port: log.of(bare.name, port), 2, "a line")  # type: ignore[misc]
        lines.append([word for word in line.split() if not word.startswith(("ID=", "SPT=", "DPT="))])
        assert daemon.stop() == 0
    assert lines[0] == lines[1]
    assert lines[0][0] == f"[ANETCON][X]{hashed(bare.name)}"
    connect(bare, next(ports))
    assert anything(bare) == []


def restore(namespace: Namespace, edit: Callable[[list[str]], list[str]], variant: str = "nft") -> None:
    """Save the nat table, edit it, restore it as a whole."""
    lines = namespace.run(f"iptables-{variant}-save", "-t", "nat").splitlines()
    namespace.run(f"iptables-{variant}-restore", text="\n".join(edit(lines)) + "\n")


def moved_to_last(lines: list[str]) -> list[str]:
    """As Neutron does it: the jump behind its own."""
    rest = [line for line in lines if line != JUMP]
    at = rest.index("COMMIT")
    return [*rest[:at], "-A POSTROUTING -s 10.9.9.9/32 -j ACCEPT", JUMP, *rest[at:]]


TAMPERED: dict[str, Callable[[Namespace, str], object]] = {
    "chain flushed": lambda ns, v: ns.run(f"iptables-{v}", "-t", "nat", "-F", "anetcon"),
    "table flushed": lambda ns, v: ns.run(f"iptables-{v}", "-t", "nat", "-F"),
    "jump deleted": lambda ns, v: ns.run(f"iptables-{v}", "-t", "nat", "-D", "POSTROUTING", "-j", "anetcon"),
    "chain deleted": lambda ns, v: restore(ns, lambda lines: [each for each in lines if "anetcon" not in each], v),
    "moved to last": lambda ns, v: restore(ns, moved_to_last, v),
    "altered": lambda ns, v: restore(ns, lambda lines: [each.replace("[X]", "[Y]") for each in lines], v),
    "jump twice": lambda ns, v: ns.run(f"iptables-{v}", "-t", "nat", "-A", "POSTROUTING", "-j", "anetcon"),
    "rule too many": lambda ns, v: ns.run(f"iptables-{v}", "-t", "nat", "-A", "anetcon", "-j", "RETURN"),
    "rule missing": lambda ns, v: ns.run(f"iptables-{v}", "-t", "nat", "-D", "anetcon", "2"),
}


def stands(namespace: Namespace, variant: str) -> bool:
    """Whether our rules are there, once, and the jump first, whatever else is."""
    rules = nat(namespace, variant)
    return rules[:1] == [JUMP] and [r for r in rules if "10.9.9.9" not in r] == readme(namespace.name, "")


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_whatever_is_done_to_the_rules_they_are_put_right(
    make: Callable[..., Daemon], bare: Namespace, log: Kmsg, ports: Iterator[int], variant: str
) -> None:
    """Wiped, moved, altered or doubled: the rules are back, connections are logged once, and a gap tells the time."""
    if variant == "legacy":
        bare.run("iptables-legacy", "-t", "nat", "-L")
    daemon = make(IPTABLES, period=600.0 if variant == "nft" else 0.2).run()
    attached(daemon, bare)
    assert stands(bare, variant)
    for what, tamper in TAMPERED.items():
        told = len(missing(daemon.heard("gap"), bare.name))
        before = time.time_ns() // 1000
        with daemon.frozen():
            fault = time.time_ns() // 1000
            tamper(bare, variant)
            assert not stands(bare, variant), what
        wait_until(lambda: stands(bare, variant), 3, f"{what}\n{daemon.log()}")
        assert wait_logged(log, bare, ports) == 1
        wait_until(lambda told=told: len(missing(daemon.heard("gap"), bare.name)) > told, 2, f"a gap: {what}")  # type: ignore[misc]
        gap = missing(daemon.heard("gap"), bare.name)[-1]
        assert before - SLACK <= gap["from"] <= fault <= gap["to"] <= time.time_ns() // 1000
        bare.run(f"iptables-{variant}-restore", "--noflush", text="*nat\nCOMMIT\n")
    assert len(missing(daemon.heard("gap"), bare.name)) == len(TAMPERED)
    other = "nft" if variant == "legacy" else "legacy"
    assert nat(bare, other) == [] if variant == "legacy" else bare.run("cat", "/proc/net/ip_tables_names") == ""
    assert daemon.stop() == 0
    assert anything(bare) == []
    assert any("10.9.9.9" in rule for rule in nat(bare, variant)), "what others wrote stays"


def test_what_was_right_when_it_was_looked_at_may_be_wrong_by_now(
    make: Callable[..., Daemon], bare: Namespace, tmp_path: Path
) -> None:
    """The keeper hears late that all was right: a gap begins then all the same when it was looked at."""
    bare.run("iptables-legacy", "-t", "nat", "-L")
    slow, held = tmp_path / "slow", tmp_path / "held"
    slow.mkdir()
    program = slow / "iptables-legacy-save"
    program.write_text(f'#!/bin/sh\n/usr/sbin/iptables-legacy-save "$@"\n[ ! -p {held} ] || cat {held}\n')
    program.chmod(0o755)
    daemon = make(IPTABLES, period=0.2)
    daemon.environment["PATH"] = f"{slow}:{os.environ['PATH']}"
    attached(daemon.run(), bare)
    os.mkfifo(held)
    looked = wait_until(lambda: writer(held), 5, "somebody has looked")
    os.kill(daemon.pid, signal.SIGSTOP)
    held.unlink()
    os.close(looked)
    with daemon.frozen():
        fault = time.time_ns() // 1000
        bare.run("iptables-legacy", "-t", "nat", "-F", "anetcon")
    (gap,) = wait_until(lambda: missing(daemon.heard("gap"), bare.name), 3, "a gap")
    assert gap["from"] <= fault <= gap["to"]


@pytest.mark.parametrize("engine", [IPTABLES, NFTABLES])
def test_a_flushed_ruleset_is_written_again(
    make: Callable[..., Daemon], bare: Namespace, log: Kmsg, ports: Iterator[int], engine: str
) -> None:
    """`nft flush ruleset` takes everything; a moment later ours is there and logs."""
    daemon = make(engine).run()
    attached(daemon, bare)
    assert wait_logged(log, bare, ports) == 1
    with daemon.frozen():
        bare.run("nft", "flush", "ruleset")
        assert anything(bare) == []
    assert wait_logged(log, bare, ports) == 1
    (gap,) = wait_until(lambda: missing(daemon.heard("gap"), bare.name), 2, "a gap")
    assert gap["to"] - gap["from"] < SLACK


@pytest.mark.parametrize(
    "tamper",
    [
        "flush chain inet anetcon postrouting",
        "delete table inet anetcon",
        'add rule inet anetcon postrouting log prefix "x"',
        "add chain inet anetcon postrouting { type nat hook postrouting priority 99; policy drop; }",
    ],
)
def test_our_table_is_put_right(make: Callable[..., Daemon], bare: Namespace, tamper: str) -> None:
    """Whatever is changed in our own table is changed back, and told of."""
    daemon = make(NFTABLES).run()
    attached(daemon, bare)
    right = table(bare)
    assert [line for line in right if "priority 99" in line]
    with daemon.frozen():
        bare.run("nft", tamper)
        assert table(bare) != right
    wait_until(lambda: table(bare) == right, 3, tamper)
    wait_until(lambda: missing(daemon.heard("gap"), bare.name), 2, "a gap")


def test_a_change_of_others_is_no_gap_and_writes_nothing(make: Callable[..., Daemon], bare: Namespace) -> None:
    """Rules of others are looked past: no gap, and the ruleset's generation stays what they made it."""
    daemon = make(IPTABLES).run()
    attached(daemon, bare)
    looks = daemon.log().count("as they have to be")
    bare.run("iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-s", "10.9.9.9", "-j", "ACCEPT")
    wait_until(lambda: daemon.log().count("as they have to be") > looks, 3, "it was looked at")
    assert daemon.heard("gap") == []
    assert daemon.log().count("put right") == 0


@pytest.mark.parametrize("engine", [IPTABLES, NFTABLES])
@pytest.mark.parametrize("following", [IPTABLES, NFTABLES, "conntrack"])
def test_after_a_crash_nothing_is_left_whatever_comes_next(
    make: Callable[..., Daemon], bare: Namespace, engine: str, following: str
) -> None:
    """Rules of a daemon that was killed are taken over by the next, or away when its engine needs others or none."""
    daemon = make(engine).run()
    attached(daemon, bare)
    daemon.close()
    before = anything(bare)
    assert before
    assert kernel.LOG_ALL_NETNS.read_text() == "1\n"
    next_one = make(following).run()
    next_one.wait_attached(bare.name)
    if following == engine:
        assert anything(bare) == before
    elif following == "conntrack":
        wait_until(lambda: anything(bare) == [], 5, "nothing is left")
    else:
        assert bool(table(bare)) == (following == NFTABLES)
        assert bool(nat(bare)) == (following == IPTABLES)
    assert next_one.stop() == 0
    assert anything(bare) == []
    assert kernel.LOG_ALL_NETNS.read_text() == "0\n"


def test_the_old_programs_chain_is_taken_over(make: Callable[..., Daemon], bare: Namespace) -> None:
    """A chain of the same name, jumped to last and with other rules, becomes ours without a second copy."""
    for arguments in ("-N anetcon", "-A POSTROUTING -s 10.9.9.9 -j ACCEPT", "-A POSTROUTING -j anetcon"):
        bare.run("iptables-nft", "-t", "nat", *arguments.split())
    bare.run("iptables-nft", "-t", "nat", "-A", "anetcon", "-p", "tcp", "-j", "LOG", "--log-prefix", "[ANETCON] [NAT] ")
    daemon = make(IPTABLES).run()
    attached(daemon, bare)
    assert [rule for rule in nat(bare) if "10.9.9.9" not in rule] == readme(bare.name, "")
    assert daemon.stop() == 0
    assert nat(bare) == ["-A POSTROUTING -s 10.9.9.9/32 -j ACCEPT"]


def test_a_reload_changes_engine_chain_and_prefix(make: Callable[..., Daemon], bare: Namespace) -> None:
    """After each reload there are the rules of the new settings and nothing of those before; each time a gap tells."""
    daemon = make(IPTABLES).run()
    attached(daemon, bare)

    def told(gaps: int) -> None:
        """Until so many were told of, each when it is over: then the rules stand."""
        wait_until(lambda: len(missing(daemon.heard("gap"), bare.name)) == gaps, 5, f"{gaps} gaps\n{daemon.log()}")

    daemon.reload(engine=NFTABLES)
    told(1)
    assert (bool(table(bare)), nat(bare)) == (True, [])
    daemon.reload(engine=IPTABLES, chain="other")
    told(2)
    assert (table(bare), nat(bare)) == ([], ["-A POSTROUTING -j other"])
    daemon.settings["logs"]["prefix"] = "[NEW]"
    daemon.reload(chain="anetcon")
    told(3)
    assert "[NEW][D]" in nat(bare)[1]
    assert "other" not in bare.run("nft", "list", "ruleset")
    daemon.settings["logs"]["prefix"] = "[NEWER]"
    daemon.reload()
    wait_until(lambda: "[NEWER][D]" in nat(bare)[1], 5, "the newer prefix")
    daemon.reload(engine="conntrack")
    wait_until(lambda: anything(bare) == [], 5, "no rules")
    wait_until(lambda: kernel.LOG_ALL_NETNS.read_text() == "0\n", 5, "the switch is put back")
    assert (bare.run("cat", "/proc/sys/net/netfilter/nf_conntrack_acct")) == "1\n"
    assert len(missing(daemon.heard("gap"), bare.name)) == 3, "the prefix alone is changed without a gap"
    daemon.reload(engine=NFTABLES)
    told(4)
    last = missing(daemon.heard("gap"), bare.name)[-1]
    noticed = daemon.wait_heard("attach", netns=bare.name, noticed=last["from"])
    assert last["from"] < last["to"] <= noticed["attached"], "from when the engine before was let go of"


def test_a_deselected_namespace_loses_its_rules(make: Callable[..., Daemon], bed: Testbed, bare: Namespace) -> None:
    """What is audited no more is as it was; what is audited still is not touched; a deleted one is let go of."""
    stays, goes = bed.namespace("stays"), bed.namespace("goes")
    daemon = make(IPTABLES).run()
    for namespace in (bare, stays, goes):
        attached(daemon, namespace)
    goes.close()
    daemon.wait_heard("detach", why="gone")
    daemon.reload(namespaces=[f"{ours()}.*stays$"])
    wait_until(lambda: anything(bare) == [], 5, "no rules of ours")
    assert nat(stays) == readme(stays.name, "")
    assert "cannot" not in daemon.log()


def test_a_replacement_in_place_leaves_the_rules_alone(make: Callable[..., Daemon], bare: Namespace) -> None:
    """SIGUSR2: the new program finds the rules standing, writes nothing, and goes on watching them."""
    daemon = make(IPTABLES).run()
    attached(daemon, bare)
    with (daemon.store / "monitor").open("wb") as output:
        monitor = bare.start("nft", "monitor", stdout=output)
    wait_until(lambda: monitor.pid in kernel.queued(bare), 5, "it listens")
    before = len(daemon.heard("started"))
    os.kill(daemon.pid, signal.SIGUSR2)
    wait_until(lambda: len(daemon.heard("started")) > before, 10, "the new program runs")
    daemon.wait_heard("attach", netns=bare.name, resumed=True)
    assert monitor.poll() is None
    assert (daemon.store / "monitor").read_text() == ""
    bare.run("iptables-nft", "-t", "nat", "-F")
    wait_until(lambda: nat(bare) == readme(bare.name, ""), 3, f"still watched\n{daemon.log()}")
    wait_until(lambda: (daemon.store / "monitor").read_text(), 3, "the monitor does see writes")
    assert daemon.stop() == 0
    assert anything(bare) == []


def test_the_switch_is_kept_on_and_put_back(make: Callable[..., Daemon], bare: Namespace) -> None:
    """nf_log_all_netns is switched on; switched off by somebody it is on again a period later, with a gap."""
    daemon = make(IPTABLES, period=0.3).run()
    attached(daemon, bare)
    assert kernel.LOG_ALL_NETNS.read_text() == "1\n"
    with daemon.frozen():  # what it saw last was before, whenever that is
        before = time.time_ns() // 1000
        kernel.LOG_ALL_NETNS.write_text("0")
    wait_until(lambda: kernel.LOG_ALL_NETNS.read_text() == "1\n", 3, "it is on again")
    (gap,) = wait_until(lambda: missing(daemon.heard("gap"), bare.name), 2, "a gap")
    assert before - SLACK <= gap["from"] <= before <= gap["to"]
    assert daemon.stop() == 0
    assert kernel.LOG_ALL_NETNS.read_text() == "0\n"
