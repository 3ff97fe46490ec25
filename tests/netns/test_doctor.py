"""Faults made for real, each in a namespace of its own: found, and gone once the remedy was run as it is printed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from anetcon.config.load import load
from anetcon.doctor.examine import examine
from anetcon.doctor.finding import Finding, Severity
from anetcon.doctor.machine import Machine
from anetcon.testbed.bed import Namespace, Testbed, command, end
from tests.load import kernel
from tests.support.waiting import wait_until

EVERYWHERE = {"invalid", "loose"}
"""Notes that every namespace has whose rules do not drop what is invalid (tests/netns/test_dropped_invalid.py), and
whose conntrack is as the kernel begins."""

pytestmark = pytest.mark.needs("nft", "iptables", "nsenter", "conntrack")

TRACKED = "table inet own {\n chain c {\n  ct state new\n }\n}\n"
LISTEN = """
import socket, sys, time
listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
listening.bind((0, 1 | 4))
if sys.argv[1] == "read":
    while True: listening.recv(65536)
sys.stdin.read()
"""
Doctor = Callable[..., list[Finding]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' daemons run on this machine, which might keep what is called left here."""
    monkeypatch.setattr(Machine, "other_keepers", [])


@pytest.fixture
def house(bed: Testbed) -> Namespace:
    """A namespace in which all is well."""
    made = bed.namespace("house")
    made.run("ip", "link", "set", "lo", "up")
    made.run("nft", "-f", "-", text=TRACKED)
    made.sysctl(**{f"netfilter__nf_conntrack_{name}": 1 for name in ("events", "timestamp", "acct")})
    return made


@pytest.fixture
def doctor(house: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Looks at it as one that is audited, with further settings of `audit`; gives what is not well there.

    It does not look at the host, which takes a process that tries what the kernel can: no test here asks for that.
    """
    monkeypatch.setattr("anetcon.doctor.examine.of_host", lambda *_: ())

    def ask(audited: bool = True, but: Collection[str] = EVERYWHERE, **audit: object) -> list[Finding]:
        settings = tmp_path / "anetcon.toml"
        pattern = f"^{house.name}$" if audited else "^nothing$"
        lines = [f'namespaces = ["{pattern}"]', *(f"{key} = {value}" for key, value in audit.items())]
        settings.write_text("\n".join(["[audit]", *lines, "[store]", f'path = "{tmp_path}/store"', ""]))
        found = examine(load(settings, environment={}).resolved(), [house.name])
        here = [each for each in found if each.netns == house.name and each.severity is not Severity.OK]
        return [each for each in here if each.check not in but]

    return ask


def remedy(finding: Finding) -> str:
    """The command of a remedy."""
    commands: list[str] = re.findall(r"`([^`]+)`", finding.remedy)
    return commands[0]


def mended(finding: Finding) -> None:
    """Do literally what the remedy says."""
    command(["sh", "-c", remedy(finding)])


def test_nothing_to_find(doctor: Doctor) -> None:
    """Of a namespace in which all is well nothing is said."""
    assert doctor() == []


@pytest.mark.parametrize("name", ["nf_conntrack_events", "nf_conntrack_timestamp", "nf_conntrack_acct"])
def test_a_sysctl_at_0(house: Namespace, doctor: Doctor, name: str) -> None:
    """It is named with its value, and that the daemon will set it; the command sets it."""
    house.sysctl(**{f"netfilter__{name}": 0})
    (found,) = doctor()
    assert (found.check, found.severity) == ("sysctls", Severity.NOTE)
    assert f"{name} is 0" in found.found
    assert "the daemon sets it when it attaches" in found.means
    mended(found)
    assert doctor() == []


def test_tcp_that_is_taken_liberally(house: Namespace, doctor: Doctor) -> None:
    """Where conntrack does not look at sequence numbers there is a warning; the command ends it."""
    house.sysctl(netfilter__nf_conntrack_tcp_be_liberal=1)
    (found,) = doctor()
    assert (found.check, found.severity) == ("liberal", Severity.WARNING)
    mended(found)
    assert doctor() == []


def test_tcp_that_is_picked_up_in_the_middle(doctor: Doctor) -> None:
    """Where conntrack takes up connections that it did not see begin there is a note; the command ends it."""
    (found,) = doctor(but={"invalid"})
    assert (found.check, found.severity) == ("loose", Severity.NOTE)
    mended(found)
    assert doctor(but={"invalid"}) == []


def test_no_rule_uses_conntrack(house: Namespace, doctor: Doctor) -> None:
    """Where nothing is tracked that is said, with the setting that makes it run."""
    house.run("nft", "flush", "ruleset")
    (found,) = doctor()
    assert (found.check, found.severity) == ("conntrack", Severity.WARNING)
    assert remedy(found) == "activate_conntrack = true"


def test_only_one_family_is_tracked(house: Namespace, doctor: Doctor) -> None:
    """A router that forwards IPv6 but has rules for IPv4 alone records no IPv6; the command makes it."""

    def tracked() -> int:
        with house.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("::1", 5001))
        return kernel.count(house)

    house.run("nft", "flush", "ruleset")
    house.run("nft", "-f", "-", text=TRACKED.replace("inet", "ip"))
    house.sysctl(ipv6__conf__all__forwarding=1)
    assert tracked() == 0
    (found,) = doctor()
    assert "IPv4 only" in found.found
    mended(found)
    assert doctor() == []
    assert tracked() == 1


HIDING = {
    "notrack": "table ip raw {\n chain p {\n type filter hook prerouting priority -300\n udp dport 53 notrack\n }\n}",
    "ct event": "table inet e {\n chain p {\n type filter hook prerouting priority -150\n ct event set new\n }\n}",
}


@pytest.mark.parametrize("rules", HIDING.values(), ids=HIDING)
def test_rules_of_nftables_that_hide(house: Namespace, doctor: Doctor, rules: str) -> None:
    """A rule without tracking, or with fewer events, is found by its handle, and deleted by it."""
    house.run("nft", "-f", "-", text=rules)
    (found,) = doctor()
    assert (found.check, found.severity) == ("rules", Severity.WARNING)
    mended(found)
    assert doctor() == []


@pytest.mark.parametrize("program", ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"])
@pytest.mark.parametrize("target", ["CT --notrack", "CT --ctevents new", "NOTRACK"])
def test_rules_of_iptables_that_hide(house: Namespace, doctor: Doctor, program: str, target: str) -> None:
    """So are those of iptables, whichever of its two kinds wrote them."""
    rule = f"-t raw -A PREROUTING -p udp --dport 53 -j {target}"
    house.run(program, "-w", *rule.split())
    (found,) = doctor()
    assert (found.check, found.severity) == ("rules", Severity.WARNING)
    assert ("its end" in found.means) is ("ctevents" in target)
    mended(found)
    assert doctor() == []


@pytest.mark.parametrize("engine", ["conntrack", "nftables-log", "iptables-log"])
def test_a_path_without_sbin(house: Namespace, tmp_path: Path, engine: str) -> None:
    """As `su` and cron leave it: the programs that it needs are found all the same."""
    house.run("iptables-legacy", "-t", "raw", "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "CT", "--notrack")
    settings = tmp_path / "anetcon.toml"
    audit = f'namespaces = ["^{house.name}$"]\nengine = "{engine}"\nactivate_conntrack = true\nrecord_invalid = true\n'
    settings.write_text(f'[audit]\n{audit}[store]\npath = "{tmp_path}/store"\n')
    program = str(Path(sys.executable).parent / "anetcon")
    words = [program, "doctor", "-c", str(settings), "--format", "json", house.name]
    said = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PATH": "/usr/bin:/bin"}
    ).stdout
    found = json.loads(said)["findings"]
    assert [each["found"] for each in found if each["check"] == "kernel" and each["severity"] == "problem"] == []
    assert any("iptables-legacy, table raw" in each["found"] for each in found if each["check"] == "rules")


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_harmless_rules_are_not_blamed(house: Namespace, doctor: Doctor, program: str) -> None:
    """A CT target that sets a zone, or all the events we need, hides nothing."""
    for target in ("CT --zone 5", "CT --ctevents new,destroy"):
        house.run(program, "-w", *f"-t raw -A PREROUTING -p udp -j {target}".split())
    assert doctor() == []


@pytest.mark.parametrize("audited", [True, False])
@pytest.mark.parametrize("table", ["anetcon", "anetcon_conntrack"])
def test_tables_we_left(house: Namespace, doctor: Doctor, table: str, audited: bool) -> None:
    """A table of ours that no daemon keeps is found, in namespaces that are not audited too, and removed."""
    house.run("nft", "-f", "-", text=TRACKED.replace("own", table))
    found = [each for each in doctor(audited) if each.check == "stale"]
    assert [each.severity for each in found] == [Severity.WARNING]
    mended(found[0])
    assert [each for each in doctor(audited) if each.check == "stale"] == []
    assert house.run("nft", "list", "tables") == "table inet own\n"


@pytest.mark.parametrize("program", ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"])
def test_chains_we_left(house: Namespace, doctor: Doctor, program: str) -> None:
    """The chain of the LOG rules is found where no daemon keeps it, and removed with its jump."""
    house.run(program, "-w", "-t", "nat", "-N", "anetcon")
    house.run(program, "-w", "-t", "nat", "-A", "anetcon", "-j", "LOG")
    house.run(program, "-w", "-t", "nat", "-I", "POSTROUTING", "-j", "anetcon")
    (found,) = doctor()
    assert found.check == "stale"
    mended(found)
    assert doctor() == []
    assert "anetcon" not in house.run(f"{program}-save", "-t", "nat")


@pytest.fixture
def listener(house: Namespace) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts another program that listens to events of connections, and reads them or not."""
    started = []

    def start(how: str) -> subprocess.Popen[bytes]:
        made = house.start(sys.executable, "-c", LISTEN, how, stdin=subprocess.PIPE)
        started.append(made)
        wait_until(lambda: made.pid in kernel.queued(house), 5, "it listens")
        return made

    yield start
    for each in started:
        end(each)
        assert each.stdin is not None
        each.stdin.close()


def test_another_listener(doctor: Doctor, listener: Callable[[str], subprocess.Popen[bytes]]) -> None:
    """It is named with its process and its groups; ended as the remedy says it is gone."""
    other = listener("read")
    (found,) = doctor()
    assert (found.check, found.severity) == ("listeners", Severity.NOTE)
    assert f"(process {other.pid}) listens to NEW+DESTROY" in found.found
    assert remedy(found) == f"kill {other.pid}"
    mended(found)
    other.wait(20)
    assert doctor() == []


def test_a_listener_that_does_not_read(
    house: Namespace, doctor: Doctor, listener: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """What waits in its socket is told, and what that may do."""
    other = listener("sleep")
    with house.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(20000, 20200):
            sender.sendto(b"x", ("127.0.0.1", port))
    (found,) = doctor()
    assert (found.check, found.severity) == ("listeners", Severity.WARNING)
    assert re.search(r"has \d{5,} bytes unread", found.found)
    mended(found)
    other.wait(20)
    assert doctor() == []


def test_a_table_that_is_nearly_full(house: Namespace, doctor: Doctor) -> None:
    """A count above guard_share of the maximum is found, with the command that makes the table larger."""
    with house.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(20000, 20020):
            sender.sendto(b"x", ("127.0.0.1", port))
    limit = int(house.run("cat", "/proc/sys/net/netfilter/nf_conntrack_max"))
    (found,) = doctor(guard_share=19.5 / limit)
    assert (found.check, found.severity) == ("table", Severity.WARNING)
    assert found.found.startswith(f"20 of {limit}")
    assert remedy(found) == f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}"
    assert doctor(guard_share=21 / limit) == []


def test_looking_changes_nothing(house: Namespace, doctor: Doctor) -> None:
    """Rules, sysctls and sockets of a namespace are the same before and after, and so is where we are."""

    def state() -> list[str]:
        settings = house.run("sh", "-c", "cat /proc/sys/net/netfilter/nf_conntrack_*")
        lines = house.run("cat", "/proc/net/netlink").splitlines()
        return [house.run("nft", "-a", "list", "ruleset"), settings, *sorted(lines)]

    house.run("nft", "flush", "ruleset")
    house.sysctl(netfilter__nf_conntrack_events=2)
    before, home = state(), Path("/proc/thread-self/ns/net").readlink()
    assert len(doctor()) == 2
    assert state() == before
    assert Path("/proc/thread-self/ns/net").readlink() == home


def test_a_namespace_that_is_not_audited(house: Namespace, doctor: Doctor) -> None:
    """One that is named but not selected is said to be so; nothing else is held against it."""
    house.sysctl(netfilter__nf_conntrack_events=0)
    (found,) = doctor(audited=False)
    assert (found.check, found.severity) == ("selection", Severity.WARNING)
    assert house.name in found.remedy
