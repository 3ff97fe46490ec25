"""`anetcon install` over an old-style installation with traffic flowing, counted by the sockets at both ends: every
connection is in a log, in the store, or in a gap record."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from anetcon import bash
from anetcon.follow import rsyslog_handover
from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.support import oldstyle
from tests.support.booted import PROGRAM, Booted
from tests.support.daemon import seconds
from tests.support.rooms import belongs_to
from tests.support.waiting import wait_until

if bash.has("legacy"):
    from anetcon.legacy import find

pytestmark = [
    belongs_to("legacy"),
    pytest.mark.slow,
    pytest.mark.needs("iptables", "nft"),
    pytest.mark.timeout(300),
]  # others may hold the machine's switch

PAUSE = 0.02
"""Seconds between two connections of each kind: close for a takeover of seconds, and so far apart that the kernel's
log, which has room for 500 such lines, keeps them for whoever is held up for five."""
CLOCK = 100_000
"""Microseconds that a start on record may be before it was made: so well, at least, the kernel's clock is known."""
FIRST_PORT = 20_000
EACH_SIDE = 50
"""How many are made before and after at least."""
LOGS = "/var/log/anetcon"
LINE = re.compile(r" SRC=(\S+) .* SPT=(\d+) ")


class Traffic:
    """Connections of an instance to the world, and of the world to a floating IP, each from a port of its own."""

    def __init__(self, world: World, router: Router) -> None:
        self.made: list[Made] = []
        self._world, self._router = world, router
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """No more of it."""
        self._stop.set()
        self._thread.join()

    def go_on(self, count: int = EACH_SIDE) -> None:
        """Wait for so many more that begin from now on: one has begun."""
        until = len(self.made) + 1 + count
        wait_until(lambda: len(self.made) >= until or not self._thread.is_alive(), 60, "traffic flows")
        assert self._thread.is_alive()

    def _run(self) -> None:
        plain, floating = self._router.instances
        public, world = self._router.floating_ips[floating.address], self._world.namespace
        with Server(world, SERVER, 8080) as server, Server(floating.namespace, floating.address, 2222) as service:
            for port in range(FIRST_PORT, 60_000):
                target = (SERVER, 8080)
                self.made.append(traffic.tcp(plain.namespace, plain.address, target, server, "reset", port))
                self.made.append(traffic.tcp(world, SERVER, (public, 2222), service, "reset", port))
                if self._stop.wait(PAUSE):
                    return


@dataclass
class Counted:
    """Where each connection that was made is. A connection is its opener's address and port."""

    made: list[Made]
    lines: Counter[tuple[str, int]]
    store: Counter[tuple[str, int]]
    gaps: list[dict[str, Any]]
    since: int
    """When (us) the daemon began to write the text logs, where it does."""

    @property
    def attached(self) -> list[Made]:
        """Those made since the record began."""
        begun = microseconds(next(gap["to"] for gap in self.gaps if gap["cause"] == "never-recorded")) or 0
        return [each for each in self.made if each.began > begun]

    @property
    def unlogged(self) -> list[Made]:
        """Those without a line."""
        return [each for each in self.made if not self.lines[key(each)]]

    @property
    def briefly_unlogged(self) -> bool:
        """Whether those without a line are of the moment in which another began to write: how long that is depends on
        the machine, but it is neither before nor after, and over when the daemon says so."""
        settled = {key(each) for each in (*self.made[:EACH_SIDE], *self.made[-EACH_SIDE:])}
        settled |= {key(each) for each in self.made if each.began > self.since + CLOCK}
        return settled.isdisjoint(map(key, self.unlogged))

    @property
    def doubled(self) -> list[Made]:
        """Those with two lines, or two records."""
        return [each for each in self.made if self.lines[key(each)] > 1 or self.store[key(each)] > 1]

    @property
    def unseen(self) -> list[Made]:
        """Those with neither a line nor a record."""
        return [each for each in self.unlogged if not self.store[key(each)]]

    def untold(self, made: list[Made]) -> list[Made]:
        """Those of these that no gap speaks of."""
        return [each for each in made if not any(_within(each, gap) for gap in self.gaps)]


def key(made: Made) -> tuple[str, int]:
    """What tells a connection from the others."""
    return made.src_ip, made.src_port


def _within(made: Made, gap: dict[str, Any]) -> bool:
    begin, end = microseconds(gap["from"]), microseconds(gap["to"])
    return gap["cause"] != "log-engine" and (begin or 0) <= made.began <= (end or made.began)


def microseconds(text: str | None) -> int | None:
    """A time of a record, in microseconds."""
    return None if text is None else round(seconds(text) * 1e6)


@dataclass
class Site:
    """A machine with the old program and a router it audits."""

    machine: Booted
    world: World
    router: Router
    rules: str

    def anetcon(self, *words: str, check: bool = True) -> str:
        """Run our program."""
        return self.machine.run(PROGRAM, *words, check=check).stdout

    def chain(self) -> list[str]:
        """The rules of the chain, and the jump to it."""
        listed = self.router.namespace.run("iptables", "-t", "nat", "-S").splitlines()
        return [rule for rule in listed if "anetcon" in rule]

    def count(self, made: list[Made]) -> Counted:
        """Where they are, once all is written."""
        last = made[-1]

        def stored() -> Counter[tuple[str, int]] | None:
            """All of them, in the order of the kernel's lines, once the last of each kind is there."""
            if not self.has_lines(last.src_port):
                return None
            found = self._stored(made)
            return found if found[key(last)] else None

        store = wait_until(stored, 60, "the last is on record", every=0.1)
        assert store is not None
        gaps = json.loads(
            self.anetcon("gaps", "--netns", self.router.name, "--since=1 hour ago", "--format=json", check=False)
        )
        since = rsyslog_handover.since(self.machine.root / "var/lib/anetcon")
        return Counted(made, self.lines(), store, gaps["gaps"], since)

    def lines(self) -> Counter[tuple[str, int]]:
        """Lines of the router, by opener."""
        hashed = hashlib.md5(self.router.name.encode(), usedforsecurity=False).hexdigest()[:8]
        lines = [line for name in ("nat", "float") for line in self.log(name).splitlines()]
        # A line without a hash is one in the older form; every line of this machine's routers has addresses of its own.
        found = (
            LINE.search(line) for line in lines if f"[{hashed}]" in line or re.search(r"\] \[(NAT|FLOAT)\] ", line)
        )
        return Counter((match[1], int(match[2])) for match in found if match)

    def has_lines(self, port: int) -> bool:
        """Whether both connections from this port have theirs."""
        return all(f"SPT={port} " in self.log(name) for name in ("nat", "float"))

    def inodes(self) -> list[int]:
        """Which files the text logs are."""
        return [(self.machine.root / f"{LOGS[1:]}/anetcon.{name}.log").stat().st_ino for name in ("nat", "float")]

    def _stored(self, made: list[Made]) -> Counter[tuple[str, int]]:
        since = f"--since={min(each.began for each in made) // 1_000_000}"
        rows = self.anetcon("search", since, "--limit=0", "--format=jsonl", check=False).splitlines()
        return Counter((row["src_ip"], row["src_port"]) for row in map(json.loads, rows))

    def log(self, name: str) -> str:
        """A text log."""
        return (self.machine.root / f"{LOGS[1:]}/anetcon.{name}.log").read_text()


BEHIND = """
import os, subprocess, sys
from anetcon.cli.main import main
from anetcon.legacy.takeover import Takeover
steps = Takeover.steps
def until(taking):
    for step in steps(taking):
        yield step
        if step.text.startswith(last):
            yield step._replace(text="", do=lambda: subprocess.run(["sh", "-c", command], check=True))
Takeover.steps = lambda taking: list(until(taking))
last, command, sys.argv = *sys.argv[1:], ["/opt/anetcon/bin/anetcon", "install"]
main()
"""
"""`anetcon install` that does something else behind a step."""


@pytest.fixture
def site() -> Iterator[Site]:
    """The machine has booted; nothing is installed."""
    with Testbed() as bed, oldstyle.machine() as machine:
        world = World(bed)
        router = Router(world, instances=2, floating=[1])
        yield Site(machine, world, router, router.namespace.run("iptables", "-t", "nat", "-S"))


def start(site: Site) -> None:
    """The old program runs, as a service, and its chain stands."""
    site.machine.run("systemctl", "enable", "--now", "anetcon")
    wait_until(lambda: len(site.chain()) == 4, 60, "its chain stands")


def prepare(site: Site, engine: str) -> None:
    """A TOML of the same meaning but for the engine."""
    toml = site.machine.root / "etc/anetcon/anetcon.toml"
    toml.parent.mkdir()
    toml.write_text(site.anetcon("config", "migrate").replace('"iptables-log"', f'"{engine}"'))


def behind(step: str, command: str) -> list[str]:
    """The installation that executes a command behind a step."""
    return ["/opt/anetcon/bin/python3", "-c", BEHIND, step, command]


def taken_over(site: Site, *commands: Sequence[str]) -> tuple[list[Made], Counted]:
    """Install while traffic flows, by other commands if there are some; what was made, and where it is."""
    with Traffic(site.world, site.router) as flowing:
        flowing.go_on()
        # It opens its files when it has the first line, which it could not do any more where they are another's.
        wait_until(lambda: site.has_lines(flowing.made[EACH_SIDE - 1].src_port), 60, "rsyslog is at work")
        for each in commands or [(PROGRAM, "install")]:
            site.machine.run(*each)
        flowing.go_on()
    return flowing.made, site.count(flowing.made)


def test_no_connection_is_missed(site: Site) -> None:
    """By the old configuration: each connection before, during and after has one line, in the files it always had;
    from when the daemon listens each is in the store; hash file and logs go on, and nothing is left in the end."""
    oldstyle.install(site.machine, site.router.name)
    start(site)
    inodes = site.inodes()
    made, found = taken_over(site)
    assert (found.unlogged, found.doubled) == ([], [])
    assert EACH_SIDE <= len(found.attached) < len(made)
    assert [each for each in found.attached if not found.store[key(each)]] == []
    assert site.inodes() == inodes
    assert site.machine.unit("anetcon", "ActiveState", "Type") == {"ActiveState": "active", "Type": "notify"}
    assert [site.log(name).splitlines()[0][:6] for name in ("nat", "float")] == ["Nov 20", "Nov 20"]
    hashes = (site.machine.root / "var/lib/anetcon/namespace.hash").read_text()
    assert "qrouter-that-is-gone [0123abcd]\n" in hashes
    assert f"{site.router.name} [" in hashes
    (site.machine.root / "etc/rc.local").write_text("/usr/sbin/anetcon.sh &\n")
    said = site.anetcon("install")
    assert ("/etc/rc.local, line 1, starts the bash ANetCon" in said, "nothing to do" in said) == (True, True)
    said = site.anetcon("uninstall")
    assert "enable --now anetcon.service" in said
    assert site.router.namespace.run("iptables", "-t", "nat", "-S") == site.rules


def test_the_older_form_started_by_hand(site: Site) -> None:
    """Also where nothing but a shell started it, with a configuration elsewhere that only root may read, and lines
    without a hash: those of the old rules and those of the new are in the same files, each once."""
    oldstyle.install(site.machine, site.router.name, older=True)
    root = site.machine.root
    (root / "etc/anetcon.conf").rename(root / "srv/audit.conf")
    (root / "srv/audit.conf").chmod(0o600)
    (root / "etc/systemd/system/anetcon.service").unlink()
    site.machine.run("sh", "-c", "cd /srv && setsid /usr/sbin/anetcon.sh -c audit.conf >/dev/null 2>&1 &")
    wait_until(lambda: len(site.chain()) == 4, 60, "its chain stands")
    _, found = taken_over(site)
    assert (found.unlogged, found.doubled) == ([], [])
    assert [each for each in found.attached if not found.store[key(each)]] == []
    assert "[ANETCON] [NAT] " in site.log("nat")
    assert "[ANETCON][X][" in site.log("nat")
    assert site.machine.run("pgrep", "-f", "anetcon[.]sh", check=False).stdout == ""
    assert "NAMESPACES" in (root / "etc/anetcon.conf").read_text()


def test_where_rsyslog_gives_up_root(site: Site) -> None:
    """As on Ubuntu: the daemon writes the same files from then on, though they were another user's; none is there
    twice, what fell between is in the store, and the kernel's lines stay out of the other logs."""
    oldstyle.install(site.machine, site.router.name, user="syslog")
    start(site)
    _, found = taken_over(site)
    assert (found.unseen, found.doubled) == ([], [])
    assert [each for each in found.attached if not found.store[key(each)]] == []
    assert found.briefly_unlogged
    assert site.log("nat").count("NETNS=") >= 20
    assert site.machine.run("stat", "-c", "%U:%G", f"{LOGS}/anetcon.nat.log").stdout == "anetcon:adm\n"
    assert "[ANETCON]" not in (site.machine.root / "var/log/kern.log").read_text()
    said = site.anetcon("uninstall")
    assert list((site.machine.root / "etc/rsyslog.d").iterdir()) == []
    back = re.search(r"runs again by `(.*)`", said)
    assert back
    site.machine.run("sh", "-c", back[1])
    wait_until(lambda: len(site.chain()) == 4, 60, "the old program runs")
    with Traffic(site.world, site.router) as flowing:
        flowing.go_on()
    last = flowing.made[-1].src_port
    wait_until(lambda: site.lines()[SERVER, last], 60, "rsyslog writes its files again")


def test_to_a_table_of_nftables(site: Site) -> None:
    """Each connection before, during and after has one line and at most one record: the table takes the chain's place
    in one write; and a daemon that systemd starts before that is done everywhere is not started again."""
    oldstyle.install(site.machine, site.router.name)
    start(site)
    prepare(site, "nftables-log")
    _, found = taken_over(site, behind("put the nftables table", "systemctl start anetcon"))  # which waits for it
    assert (found.unlogged, found.doubled) == ([], [])
    assert [each for each in found.attached if not found.store[key(each)]] == []
    assert site.router.namespace.run("iptables", "-t", "nat", "-S") == site.rules
    assert "table inet anetcon" in site.router.namespace.run("nft", "list", "ruleset")
    site.anetcon("uninstall")
    assert "anetcon" not in site.router.namespace.run("nft", "list", "ruleset")


def test_to_an_engine_without_rules(site: Site) -> None:
    """With a TOML prepared that says conntrack: each connection is in a log or in the store, most in both, none twice;
    the chain is gone, rsyslog's file too, and the daemon writes the same logs."""
    oldstyle.install(site.machine, site.router.name)
    start(site)
    prepare(site, "conntrack")
    _, found = taken_over(site)
    assert (found.unseen, found.doubled) == ([], [])
    assert [each for each in found.attached if not found.store[key(each)]] == []
    assert found.briefly_unlogged
    assert site.router.namespace.run("iptables", "-t", "nat", "-S") == site.rules
    assert list((site.machine.root / "etc/rsyslog.d").iterdir()) == []
    assert site.log("nat").count("NAT_SRC=") >= 20


def test_a_plain_stop_would_miss_some(site: Site) -> None:
    """Where the old program's trap runs, connections are in no log and no store, and the record says so: without that
    this counting could not fail."""
    oldstyle.install(site.machine, site.router.name, period=1)
    alone = site.machine.root / "run/systemd/system/anetcon.service.d/20-alone.conf"
    alone.write_text("[Service]\nKillMode=process\n")  # else systemd may end a program of the trap's, and a rule stays
    start(site)
    with Traffic(site.world, site.router) as flowing:
        flowing.go_on()
        site.machine.run("systemctl", "stop", "anetcon")
        assert site.chain() == []
        flowing.go_on()
        site.machine.run(PROGRAM, "install")
        flowing.go_on()
    found = site.count(flowing.made)
    assert len(found.unseen) >= EACH_SIDE
    assert found.untold(found.unseen) == []


def test_a_daemon_that_does_not_start(site: Site) -> None:
    """Then the bash ANetCon runs again, with its files, and that is said; it has missed nothing. A dry run, a
    configuration that is refused, and a file with the site's own things in it, change nothing."""
    oldstyle.install(site.machine, site.router.name)
    start(site)
    before = {path: path.read_bytes() for path in oldstyle.files(site.machine)}
    planned, end, _ = site.anetcon("install", "--dry-run").partition("nothing was changed: --dry-run\n")
    assert ("kill process" in planned, end != "") == (True, True)
    assert site.machine.run(PROGRAM, "uninstall", "--purge", "--yes", check=False).returncode == 10
    configuration = site.machine.root / "etc/anetcon.conf"
    configuration.write_bytes(before[configuration] + b"NAMESPACES=$(ip netns)\n")
    assert site.machine.run(PROGRAM, "install", check=False).returncode == 5
    configuration.write_bytes(before[configuration])
    rotation = site.machine.root / "etc/logrotate.d/anetcon"
    rotation.write_bytes(before[rotation] + b"/var/log/site.log {\n}\n")
    mixed = site.machine.run(PROGRAM, "install", check=False)
    assert (mixed.returncode, "such as `/var/log/site.log`: move that" in mixed.stderr) == (10, True)
    rotation.write_bytes(before[rotation])
    read_only = "mount --bind /etc /etc && mount -o remount,ro,bind /etc && exec "
    said = site.machine.run("unshare", "--mount", "sh", "-c", f"{read_only}{PROGRAM} install", check=False).stderr
    assert (said.count("\n"), "Read-only file system; mount that file system writable" in said) == (1, True)
    assert {path: path.read_bytes() for path in oldstyle.files(site.machine)} == before
    assert not (site.machine.root / "etc/anetcon").exists()
    drop_in = site.machine.root / "run/systemd/system/anetcon.service.d/20-fails.conf"
    drop_in.write_text("[Service]\nExecStartPre=/bin/grep anetcon.sh /etc/systemd/system/anetcon.service\n")
    with Traffic(site.world, site.router) as flowing:
        flowing.go_on()
        done = site.machine.run(PROGRAM, "install", check=False)
        flowing.go_on()
    assert (done.returncode, "the bash ANetCon runs again" in done.stderr) == (10, True), done.stderr
    assert done.stdout == planned, "what is begun is what was said"
    assert find.find(site.machine.root).unit is not None
    assert {path: path.read_bytes() for path in oldstyle.files(site.machine)} == before
    last = flowing.made[-1].src_port
    wait_until(lambda: site.has_lines(last), 60, "the last have their lines")
    lines = site.lines()
    assert [each for each in flowing.made if lines[key(each)] != 1] == []


@pytest.mark.parametrize(
    ("step", "engine", "rules"),
    [
        ("kill process", "iptables-log", (4, 0)),
        ("kill process", "nftables-log", (0, 1)),
        ("start the daemon", "conntrack", (0, 0)),
    ],
)
def test_interrupted_and_done_again(site: Site, step: str, engine: str, rules: tuple[int, int]) -> None:
    """Killed behind any step one of the two runs, or begins to by itself; the next installation goes on."""
    oldstyle.install(site.machine, site.router.name)
    start(site)
    prepare(site, engine)
    soon = site.machine.root / "run/systemd/system/anetcon.service.d/20-soon.conf"
    soon.write_text("[Service]\nRestartSec=0.1\n")
    assert site.machine.run(*behind(step, "kill -KILL $PPID"), check=False).returncode == -signal.SIGKILL

    def runs() -> bool:
        state = site.machine.unit("anetcon", "ActiveState", "MainPID")
        return state["ActiveState"] == "active" and state["MainPID"] != "0"

    wait_until(runs, 60, "one of them runs")
    assert len(site.chain()) == 4
    site.anetcon("install")
    assert not find.find(site.machine.root)
    assert site.machine.unit("anetcon", "Type", "ActiveState") == {"Type": "notify", "ActiveState": "active"}
    tables = site.router.namespace.run("nft", "list", "ruleset").count("table inet anetcon")
    assert (len(site.chain()), tables) == rules
    rsyslog = list((site.machine.root / "etc/rsyslog.d").iterdir())
    assert len(rsyslog) == (0 if engine == "conntrack" else 1)
    assert not rsyslog_handover.waits(site.machine.root / "var/lib/anetcon")
    assert "attached" in site.anetcon("status")
