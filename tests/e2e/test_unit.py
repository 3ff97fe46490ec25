"""The daemon as its unit starts it, with every restriction, under a real systemd: it does its whole job, it is started
again when nothing else helps, and says in a sentence what is wrong with it.

Routers are made outside after the daemon was started: only by propagation of mounts can it see them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anetcon.install import unit
from anetcon.testbed import traffic
from anetcon.testbed.bed import RUN_NETNS, Testbed, owner
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.load import kernel
from tests.support.booted import PROGRAM, Booted, booted
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(400), pytest.mark.needs("nft", "iptables", "nsenter")]

SETTINGS = "/etc/anetcon/anetcon.toml"
DROP_INS = "/etc/systemd/system/anetcon.service.d"
HIDES = ("-t", "raw", "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "CT", "--notrack")
OURS = f"^qrouter-.*-{owner()}$"
"""The pattern of routers that this test process makes (anetcon.testbed)."""

PARTS = ("src_ip", "src_port", "nat_src_ip", "nat_src_port", "dst_ip", "dst_port")


HELD = [(1 << 21 | 1 << 12, False), (1 << 12, True), (0, False)]
"""Capabilities of keeper, capture and follow, and whether each is in a network namespace of its own."""


class Service:
    """anetcon.service of a booted machine."""

    def __init__(self, machine: Booted) -> None:
        self.machine = machine
        machine.run("useradd", "--system", "--no-create-home", unit.USER)
        self.write("/etc/systemd/system/anetcon.service", unit.unit_text(PROGRAM))

    def write(self, path: str, text: str) -> None:
        """A file of the machine."""
        place = Path(self.machine.root, path[1:])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def configure(self, names: str, engine: str = "conntrack", **drop_ins: str) -> None:
        """Settings, the drop-in of the engine, and others besides; on an empty store."""
        self.machine.run("systemctl", "stop", "anetcon")
        self.machine.run("systemctl", "reset-failed", "anetcon", check=False)
        self.machine.run("rm", "-rf", DROP_INS, "/var/lib/anetcon", "/var/log/anetcon")
        self.write(SETTINGS, f'[audit]\nnamespaces = ["{names}"]\nengine = "{engine}"\n')
        texts = {"50-engine": unit.engine_drop_in(engine) or "", **drop_ins}
        for name, text in texts.items():
            self.write(f"{DROP_INS}/{name}.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Do something with it."""
        return self.machine.run("systemctl", *words, "anetcon", check=check)

    def shown(self, name: str) -> str:
        """A property."""
        return self.machine.unit("anetcon", name)[name]

    def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""
        content: dict[str, Any] = json.loads(Path(self.machine.root, "var/lib/anetcon/status.json").read_text())
        return content

    def capture(self) -> str:
        """The process of capture, as it is now; status.json may be some seconds old."""
        return self.pid("capture", check=False)

    def pid(self, name: str, check: bool = True) -> str:
        """One of its processes: not one that the keeper has forked for a moment, nor the keeper by its arguments."""
        return self.machine.run("pgrep", "--oldest", "--exact", f"anetcon-{name}", check=check).stdout.strip()

    def held(self, name: str) -> tuple[int, bool]:
        """The capabilities of one of its processes (CAP_SYS_ADMIN is bit 21, CAP_NET_ADMIN bit 12), all of which count,
        and whether it is in a network namespace of its own. None can gain any."""
        pid = self.pid(name)
        status = self.machine.run("cat", f"/proc/{pid}/status").stdout
        said = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        assert said["CapEff"] == said["CapPrm"], said
        assert said["NoNewPrivs"] == "1", said
        where = [self.machine.run("readlink", f"/proc/{each}/ns/net").stdout for each in (pid, self.pid("keeper"))]
        return int(said["CapPrm"], 16), where[0] != where[1]

    def wait_attached(self, name: str) -> None:
        """Until a namespace is audited."""
        wait_until(lambda: self._states().get(name) == "attached", 60, f"{name} is attached: {self.said()}")

    def wait_applied(self) -> None:
        """Until the settings hold: a daemon that is held up takes the signal when systemd has found the reload done."""
        wait_until(lambda: "the configuration is applied" in self.said(), 60, "it is applied", every=0.1)
        wait_until(lambda: self.shown("ActiveState") == "active", 60, "it records", every=0.1)

    def _states(self) -> dict[str, str]:
        with contextlib.suppress(FileNotFoundError):  # another process writes it: it may come after the daemon is ready
            return {each["netns"]: each["state"] for each in self.status()["namespaces"]}
        return {}

    def wait_recorded(self, *made: Made) -> list[dict[str, Any]]:
        """Until each of these is on record; the records."""
        wanted = {tuple(getattr(each, part) for part in PARTS) for each in made}

        def found() -> list[dict[str, Any]]:
            records = self.ask("search", "--limit", "0", "--format", "jsonl")
            there = {tuple(record[part] for part in PARTS) for record in records}
            return records if wanted <= there else []

        return wait_until(found, 60, f"{wanted} are recorded: {self.said()}", every=0.2)

    def ask(self, *words: str) -> list[dict[str, Any]]:
        """What a command prints as lines of JSON; as whoever may read the records."""
        done = self.machine.run(
            "setpriv", "--reuid=65534", "--regid=adm", "--clear-groups", PROGRAM, *words, check=False
        )
        assert done.returncode in (0, 1, 3), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def lines(self) -> int:
        """How many connections the text log has: follow's work."""
        log = Path(self.machine.root, "var/log/anetcon/anetcon.nat.log")
        return len(log.read_text().splitlines()) if log.exists() else 0

    def gaps(self) -> set[tuple[str, str]]:
        """Causes on record, each with its namespace."""
        return {(gap["cause"], gap["netns"]) for gap in self.ask("gaps", "--format", "jsonl")}

    def said(self) -> str:
        """Its journal."""
        return self.machine.journal("anetcon")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The unit on a machine that sees the named namespaces of this one."""
    with booted(netns=True) as machine:
        yield Service(machine)


def out(router: Router, server: Server) -> Made:
    """A connection through it, closed."""
    inside = router.instances[0]
    return traffic.tcp(inside.namespace, inside.address, (SERVER, server.port), server, by="reset")


def test_a_reload_is_checked_by_the_options_of_the_daemon(service: Service) -> None:
    """Where a drop-in gives it some: by the unit's own file that daemon would have another store."""
    start = f"[Service]\nExecStart=\nExecStart={PROGRAM} run --store /var/lib/anetcon/its-own\n"
    service.configure(OURS, **{"60-options": start})
    service.systemctl("start")
    service.systemctl("reload")
    service.write(SETTINGS, "[audit]\nnamspaces = []\n")
    assert service.systemctl("reload", check=False).returncode == 1


def test_the_whole_job_under_every_restriction(service: Service, bed: Testbed) -> None:
    """Ready when it records, namespaces that come later, both sides, sysctls, reload, replacement in place, stop."""
    world = World(bed)
    service.configure(OURS)
    service.systemctl("start")
    pid = service.shown("MainPID")
    none = "0 network namespaces audited, audit.namespaces selects none that is there; see `anetcon status`"
    wait_until(lambda: service.shown("StatusText").endswith(none), 60, "it counts them")
    router = Router(world, instances=1)
    bare = bed.namespace("bare")
    service.wait_attached(router.name)
    for name in ("events", "timestamp", "acct"):
        assert router.namespace.run("cat", f"/proc/sys/net/netfilter/nf_conntrack_{name}") == "1\n"
    with Server(world.namespace, SERVER, 8080) as server:
        made = [out(router, server)]
        service.wait_recorded(*made)

        service.write(
            SETTINGS,
            f'[audit]\nnamespaces = ["{OURS}", "^{bare.name}$"]\nactivate_conntrack = true\n[logs]\ndebug = true\n',
        )
        service.systemctl("reload")
        service.wait_applied()
        wait_until(lambda: "anetcon_conntrack" in bare.run("nft", "list", "ruleset"), 60, "conntrack is made to run")
        bare.run("iptables-legacy", *HIDES)
        wait_until(lambda: ("tracking-off", bare.name) in service.gaps(), 60, "a rule that hides is found", every=0.2)
        bare.run("iptables-legacy", "-t", "raw", "-F")
        assert [service.held(name) for name in ("keeper", "capture", "follow")] == HELD
        service.write(SETTINGS, "[audit]\nnamspaces = []\n")
        assert service.systemctl("reload", check=False).returncode == 1
        wait_until(lambda: "going on with the one before" in service.said(), 60, "it is refused", every=0.1)
        wait_until(lambda: "configuration is refused" in service.shown("StatusText"), 60, "systemctl status says so")
        assert service.shown("ActiveState") == "active"
        for more, why in (
            ('engine = "nftables-log"', "needs CAP_NET_RAW"),
            ('[store]\npath = "/srv"', "restart it to move"),
            ('netns_dir = "/root"', "cannot list /root"),
        ):
            service.write(SETTINGS, f'[audit]\nnamespaces = ["{OURS}"]\n{more}\n')
            assert service.systemctl("reload", check=False).returncode == 1, "what only the daemon refuses, too"
            assert why in service.said()
        service.write(SETTINGS, f'[audit]\nnamespaces = ["{OURS}"]\n')
        service.systemctl("reload")
        wait_until(lambda: not bare.run("nft", "list", "ruleset"), 60, "its table is removed")

        capture = service.capture()
        service.systemctl("kill", "--kill-whom=main", "--signal=USR2")
        made += [out(router, server) for _ in range(20)]
        wait_until(lambda: service.capture() not in ("", capture), 60, "another capture runs")
        made.append(out(router, server))
        records = service.wait_recorded(*made)
        wait_until(lambda: service.lines() == len(made), 60, f"all are in the text log: {service.said()}")
    assert len(records) == len(made)
    assert "starting it again" not in service.said()
    assert service.shown("MainPID") == pid
    assert router.name not in {netns for _, netns in service.gaps()}
    wait_until(lambda: service.shown("StatusText").endswith("1 network namespace audited"), 60, "it counts them")
    service.systemctl("stop")
    assert service.shown("Result") == "success"
    assert service.shown("NRestarts") == "0"


def test_lines_carry_their_level(service: Service) -> None:
    """The journal has what is wrong as a warning or an error, and the rest for the record: a filter by priority finds
    that nothing is audited, and that a configuration is refused."""
    service.configure("^there-is-none-such-")
    service.systemctl("start")
    service.write(SETTINGS, "[audit]\nnamspaces = []\n")
    assert service.systemctl("reload", check=False).returncode == 1
    wait_until(lambda: "going on with the one before" in service.said(), 60, "it is refused", every=0.1)
    service.systemctl("stop")
    shown = "journalctl --sync && journalctl --no-pager --output=json --unit=anetcon _COMM=anetcon-keeper"
    lines = [json.loads(line) for line in service.machine.run("sh", "-c", shown).stdout.splitlines()]
    levels = {line["MESSAGE"].removeprefix("anetcon-keeper: "): line["PRIORITY"] for line in lines}
    for words, level in (
        (r"version .* started: auditing 0 network namespaces \(audit.namespaces: \^there-is-none-such-\)", "6"),
        (r"nothing is recorded: no namespace in /run/netns .* selects", "4"),
        (r"the configuration is refused", "3"),
        (r"stopped: nothing is recorded before the next start", "6"),
    ):
        assert {level} == {found for said, found in levels.items() if re.match(words, said)}, levels
    assert not [said for said in levels if said.startswith("<")]


def test_what_stands_still_is_started_again(service: Service, bed: Testbed) -> None:
    """When everything is stopped nobody but systemd's watchdog is left: it starts it again; the gap is on record."""
    router = Router(World(bed), instances=1)
    # On a machine that stood still itself the watchdog may have been earlier: what is stopped while it starts has no
    # other limit than that of the start.
    service.configure(OURS, watchdog="[Service]\nWatchdogSec=3\nRestartSec=0.1\nTimeoutStartSec=10\n")
    service.systemctl("start")
    service.wait_attached(router.name)
    pid = service.shown("MainPID")
    service.systemctl("kill", "--signal=STOP")

    def another_records() -> bool:
        shown = service.machine.unit("anetcon", "MainPID", "ActiveState")
        return shown["MainPID"] not in ("0", pid) and shown["ActiveState"] == "active"

    wait_until(another_records, 60, "it is started again", every=0.1)
    service.wait_attached(router.name)
    told = "a gap is on record, and then what is audited"
    wait_until(lambda: {cause for cause, _ in service.gaps()} == {"daemon-down"}, 60, told, every=0.2)
    assert "watchdog" in service.said().lower()


@pytest.mark.parametrize(
    ("settings", "drop_in", "status", "sentence"),
    [
        ("[audit]\nnamspaces = []\n", "", 5, r"anetcon: .*namspaces.*namespaces"),
        (
            '[audit]\nnamespaces = ["x"]\n',
            "CapabilityBoundingSet=~CAP_SYS_ADMIN\nAmbientCapabilities=~CAP_SYS_ADMIN\n",
            6,
            "anetcon: the engine conntrack needs CAP_SYS_ADMIN: .*`anetcon install`",
        ),
        (
            '[audit]\nnamespaces = ["x"]\nengine = "nftables-log"\n',
            "",
            6,
            "anetcon: the engine nftables-log needs CAP_NET_RAW and CAP_SYSLOG: .*`anetcon install`",
        ),
        (
            '[audit]\nnamespaces = ["x"]\n[store]\npath = "/srv/store"\n',
            "",
            8,
            "cannot make the folder /srv/store: Read-only.*`anetcon install`",
        ),
    ],
)
def test_what_cannot_run_says_why(service: Service, settings: str, drop_in: str, status: int, sentence: str) -> None:
    """In one line of the journal; and what only an operator can mend is not tried again and again."""
    service.configure("x", more=f"[Service]\nRestartSec=600\n{drop_in}")
    service.write(SETTINGS, settings)
    assert service.systemctl("start", check=False).returncode
    assert service.shown("ExecMainStatus") == str(status)
    hopeless = status in unit.STOPS_FOR_GOOD
    assert service.shown("SubState") == ("failed" if hopeless else "auto-restart")
    lines = [line for line in service.said().splitlines() if re.search(sentence, line)]
    assert lines, service.said()


@pytest.mark.parametrize("engine", ["nftables-log", "iptables-log"])
def test_log_engines(service: Service, bed: Testbed, engine: str) -> None:
    """With the drop-in it writes and removes its rules in a router, reads the kernel's lines, and is replaced in place.

    It joins the machine's first network namespace: only there is the switch that lets other ones log. SIGUSR2 goes to
    all processes here, as `systemctl kill` does when it is not told which: those it is not for ignore it.
    """
    first = RUN_NETNS / f"anet{owner()}-first-of-all"
    subprocess.run(["ip", "netns", "attach", first.name, str(os.getpid())], check=True)
    try:
        service.configure(OURS, engine, first=f"[Service]\nNetworkNamespacePath={first}\n")
        world = World(bed)
        with kernel.log_all_netns(0), Server(world.namespace, SERVER, 8080) as server:
            router = Router(world, instances=1)
            try:
                service.systemctl("start")
                service.wait_attached(router.name)
                _log_engine_records(service, router, server)
            finally:  # whatever happened: it must not switch the machine's switch on behind this test
                service.systemctl("stop")
            assert kernel.LOG_ALL_NETNS.read_text() == "0\n"
        assert "anetcon" not in router.namespace.run("nft", "list", "ruleset")
    finally:
        subprocess.run(["ip", "netns", "del", first.name], check=True)


def _log_engine_records(service: Service, router: Router, server: Server) -> None:
    made = [out(router, server)]
    wait_until(lambda: len(_sources(service)) == 1, 60, f"it is recorded: {service.said()}", every=0.2)
    capture = service.capture()
    service.systemctl("kill", "--signal=USR2")
    made += [out(router, server) for _ in range(10)]
    wait_until(lambda: service.capture() not in ("", capture), 60, "another capture runs")
    made.append(out(router, server))
    wanted = {(each.src_ip, each.src_port) for each in made}
    wait_until(lambda: wanted <= _sources(service), 60, f"all are recorded: {service.said()}", every=0.2)
    assert "starting it again" not in service.said()
    held = [service.held(name) for name in ("keeper", "capture", "follow", "kmsg")]
    assert held == [(1 << 34 | 1 << 21 | 1 << 13 | 1 << 12, False), (1 << 12, True), (0, False), (0, False)]


def _sources(service: Service) -> set[tuple[str, int]]:
    records = service.ask("search", "--limit", "0", "--format", "jsonl")
    return {(record["src_ip"], record["src_port"]) for record in records}


PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "unit.md"
EXPOSED = {"conntrack": 1.9, "iptables-log": 2.3, "nftables-log": 2.3}
"""What systemd-analyze of systemd 252 says at most."""


@pytest.mark.parametrize("engine", EXPOSED)
def test_what_remains_exposed_is_told(service: Service, engine: str) -> None:
    """The figure does not rise, the page gives it, and explains exactly what the tool lists; nor is a line unknown."""
    path = "/srv/unit/exposed.service"  # of a name that no drop-in is for
    service.write(path, unit.unit_text(PROGRAM) + (unit.engine_drop_in(engine) or ""))
    checked = service.machine.run("systemd-analyze", "verify", "--man=no", path)
    assert checked.stdout + checked.stderr == ""
    ask = ("systemd-analyze", "security", "--offline=true", "--no-pager")
    figure = re.search(r"exposure level for \S+ ([\d.]+)", service.machine.run(*ask, path).stdout)
    assert figure
    assert float(figure[1]) <= EXPOSED[engine]
    page = PAGE.read_text()
    assert f"**{EXPOSED[engine]}**" in page
    listed = json.loads(service.machine.run(*ask, "--json=short", path).stdout)
    exposed = {each["name"] for each in listed if not each["set"]}
    rows = re.findall(r"^\| `([^`]+)` \| (all|LOG) \|", page, re.MULTILINE)
    told = {name.replace("\\|", "|") for name, which in rows if which == "all" or engine != "conntrack"}
    assert told == exposed
