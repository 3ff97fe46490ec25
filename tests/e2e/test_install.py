"""`anetcon install` and `uninstall`: on a booted Debian from the first install to the purge, and into trees."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from anetcon.install.places import LOGROTATE, RSYSLOG, TOML
from anetcon.install.tree import ASIDE
from anetcon.testbed import traffic
from anetcon.testbed.bed import Namespace, Testbed, owner
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Made, Server
from tests.support.booted import PROGRAM, Booted, Disk, booted, disk
from tests.support.daemon import PROGRAM as HERE
from tests.support.daemon import seconds
from tests.support.waiting import wait_until

OURS = f"^qrouter-.*-{owner()}$"
"""The pattern of routers that this test process makes (anetcon.testbed)."""
MINE = f'[audit]\nnamespaces = ["{OURS}"]\n'

FOLDERS = "/etc /home /root /srv /usr/local /var"
OTHERS = ("/var/cache", "/var/lib/logrotate", "/var/tmp/systemd-private-*")  # noqa: S108
"""What the system itself writes there; the last are the services' own, which systemd removes some time after a stop."""
LISTED = f"find {FOLDERS} -ignore_readdir_race {' '.join(f'-path {each} -prune -o' for each in OTHERS)} -printf"
SYSCTLS = [f"/proc/sys/net/netfilter/nf_conntrack_{name}" for name in ("events", "timestamp", "acct")]
COMPLETE = """
. /usr/share/bash-completion/bash_completion
_completion_loader anetcon
COMP_WORDS=(anetcon search --class fl) COMP_CWORD=3 COMP_LINE="anetcon search --class fl" COMP_POINT=26
$(complete -p anetcon | sed 's/.*-F \\([^ ]*\\).*/\\1/')
echo "${COMPREPLY[*]}"
"""


def files(machine: Booted) -> set[str]:
    """Everything where anything could be left, with owner, mode and target; but what the system itself writes."""
    listed = set(machine.run(*LISTED.split(), r"%M|%u|%g|%p|%l\n").stdout.splitlines())
    return {line for line in listed if not line.split("|")[3].endswith(("/passwd-", "/group-", "shadow-", ".pwd.lock"))}


def sysctls(namespace: Namespace) -> list[str]:
    """Those of conntrack that the daemon sets."""
    return namespace.run("cat", *SYSCTLS).split()


def write(machine: Booted, path: str, text: str) -> None:
    """A file of the machine."""
    place = machine.root / path[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def recorded(machine: Booted, made: Made) -> None:
    """Until `who`, asked as an abuse report would, names who opened the connection."""
    question = ["anetcon", "who", f"{made.nat_src_ip}:{made.nat_src_port}", "--at", f"{made.began / 1e6:.3f}"]

    def answered() -> bool:
        said = machine.run(*question, "--format", "json", check=False).stdout
        found = json.loads(said)["connections"] if said else []
        return [(one["src_ip"], one["src_port"]) for one in found] == [(made.src_ip, made.src_port)]

    wait_until(answered, 60, f"{made} is recorded: {machine.journal('anetcon')}", every=0.2)


@pytest.mark.timeout(300)
@pytest.mark.needs("nft", "iptables", "nsenter")
def test_a_host_from_install_to_purge(bed: Testbed) -> None:
    """The service runs, records and answers; everything around it works; at the end nothing is left."""
    world = World(bed)
    router = Router(world, instances=1)
    inside = router.instances[0]
    router.namespace.sysctl(netfilter__nf_conntrack_events=2, netfilter__nf_conntrack_timestamp=0)
    before = sysctls(router.namespace)
    with booted(netns=True) as machine, Server(world.namespace, SERVER, 8080) as server:

        def connect() -> None:
            recorded(machine, traffic.tcp(inside.namespace, inside.address, (SERVER, server.port), server, by="reset"))

        clean = files(machine)
        write(machine, TOML, MINE)
        (machine.root / TOML[1:]).chmod(0o600)
        edited = files(machine)
        said = machine.run(PROGRAM, "install", "--dry-run").stdout.splitlines()
        assert files(machine) == edited
        done = machine.run(PROGRAM, "install").stdout.splitlines()
        assert done[:-1] == said[:-1], "what is done is what was said"
        assert f"aside    {TOML}.new: {TOML} was edited and stays as it is" in done
        assert f"adjust   {TOML}: 0640 root:adm, for the daemon to read it" in done
        assert machine.unit("anetcon", "ActiveState", "UnitFileState") == {
            "ActiveState": "active",
            "UnitFileState": "enabled",
        }
        connect()
        assert sysctls(router.namespace) == ["1", "1", "1"]
        assert machine.run("anetcon", "install").stdout == "nothing to do: everything is installed\n"

        _others_can_use_what_is_installed(machine)
        connect()
        _the_next_version_takes_over(machine)
        connect()

        said = machine.run("anetcon", "uninstall", "--dry-run").stdout.splitlines()
        assert sysctls(router.namespace) == ["1", "1", "1"]
        done = machine.run("anetcon", "uninstall").stdout.splitlines()
        assert done[:-1] == said[:-1]
        assert f"keep     {TOML}: it was edited; --purge removes it" in done
        assert sysctls(router.namespace) == before == ["2", "0", "0"]
        assert (machine.root / TOML[1:]).read_text() == MINE
        assert machine.unit("anetcon", "LoadState")["LoadState"] == "not-found"
        machine.run(PROGRAM, "install")
        write(machine, TOML, MINE + '[store]\npath = "/srv/100% my audit"\n')
        machine.run(PROGRAM, "install")
        _what_is_disabled_stays_so(machine)
        machine.run("systemctl", "restart", "anetcon")
        refused = machine.run(PROGRAM, "uninstall", "--purge", check=False)
        assert (refused.returncode, "say --yes" in refused.stderr) == (5, True)
        machine.run(PROGRAM, "uninstall", "--purge", "--yes")
        assert sysctls(router.namespace) == before, "found before the store was moved"
        assert files(machine) == clean


@pytest.mark.timeout(200)
@pytest.mark.needs("nft", "iptables", "nsenter")
def test_after_a_power_cut(bed: Testbed) -> None:
    """The next boot records by itself, in namespaces of its own; what came between is in one gap, bounded on both
    sides, and what was recorded before is still answered."""
    world = World(bed)
    with disk() as kept:
        first = _recorded_until_the_power_cut(world, kept)
        router = Router(world, instances=1)
        (kept.files / "upper/etc/boot-id").write_text("22222222-2222-2222-2222-222222222222\n")
        with Server(world.namespace, SERVER, 8080) as server:
            inside, target = router.instances[0], (SERVER, server.port)
            unseen = traffic.tcp(inside.namespace, inside.address, target, server, by="reset")
            with booted(netns=True, kept=kept) as machine:
                assert machine.unit("anetcon", "ActiveState")["ActiveState"] == "active"
                second = traffic.tcp(inside.namespace, inside.address, target, server, by="reset")
                recorded(machine, second)
                recorded(machine, first)
                wait_until(lambda: _listed(machine) == [router.name], 60, "the first router is forgotten", every=0.2)
                since = ("--since", f"{first.began / 1e6:.3f}", "--format", "jsonl")
                lines = machine.run("anetcon", "gaps", *since, check=False).stdout.splitlines()
    gaps = [(each["cause"], seconds(each["from"]) * 1e6, seconds(each["to"]) * 1e6) for each in map(json.loads, lines)]
    down = [(begin, end) for cause, begin, end in gaps if cause == "daemon-down"]
    early = 5e6  # the record is certain up to the last fdatasync alone, which may have been before the first one
    assert [first.began - early < begin <= unseen.began <= end <= second.began for begin, end in down] == [True], gaps


def _listed(machine: Booted) -> list[str]:
    """The namespaces that `status` knows."""
    status = json.loads(machine.run("anetcon", "status", "--format", "json", check=False).stdout)
    return [each["netns"] for each in status["namespaces"]]


def _recorded_until_the_power_cut(world: World, kept: Disk) -> Made:
    """Installed, and one connection on record; then process 1 is killed, and the router is gone."""
    router = Router(world, instances=1)
    with booted(netns=True, kept=kept) as machine, Server(world.namespace, SERVER, 8080) as server:
        write(machine, TOML, MINE + "[store]\nsync_seconds = 0.1\n")
        write(machine, "/etc/boot-id", "11111111-1111-1111-1111-111111111111\n")
        bind = "[Service]\nBindReadOnlyPaths=/etc/boot-id:/proc/sys/kernel/random/boot_id\n"
        write(machine, "/etc/systemd/system/anetcon.service.d/10-boot.conf", bind)
        machine.run(PROGRAM, "install")
        inside = router.instances[0]
        made = traffic.tcp(inside.namespace, inside.address, (SERVER, server.port), server, by="reset")
        recorded(machine, made)
        assert "11111111-" in (machine.root / "var/lib/anetcon/ledger.jsonl").read_text(), "it believes in this boot"
    router.namespace.close()
    return made


def _what_is_disabled_stays_so(machine: Booted) -> None:
    """Only the first installation starts it, and has it at boot."""
    machine.run("systemctl", "disable", "--now", "anetcon")
    said = machine.run("anetcon", "install").stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "the service does not start at boot, and that stays so",
        "nothing to do",
    ]
    assert machine.unit("anetcon", "ActiveState", "UnitFileState") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }


def _others_can_use_what_is_installed(machine: Booted) -> None:
    """logrotate, man and bash, as they come."""
    checked = machine.run("logrotate", "--debug", "/etc/logrotate.conf")
    assert "error" not in checked.stderr
    assert "/var/log/anetcon/anetcon.nat.log" in checked.stderr
    log = machine.root / "var/log/anetcon/anetcon.nat.log"
    wait_until(lambda: log.exists() and log.stat().st_size, 60, "the text log has a line")
    machine.run("logrotate", "--force", LOGROTATE)
    assert log.with_name("anetcon.nat.log.1").exists()
    page = machine.run("man", "--warnings", "anetcon-who")
    assert ("public address" in page.stdout, page.stderr) == (True, "")
    assert machine.run("man", "-w", "anetcon.toml").stdout.endswith("/man/man5/anetcon.toml.5\n")
    assert machine.run("bash", "-c", COMPLETE).stdout == "float\n"
    nobody = machine.run("setpriv", "--reuid=65534", "--clear-groups", "anetcon", "search", check=False)
    assert nobody.stderr.endswith("/var/lib/anetcon: be root or a member of group adm\n")


def _the_next_version_takes_over(machine: Booted) -> None:
    """A daemon that runs executes the new program in place: the same process, another capture, no gap."""
    manifest = machine.root / "usr/local/share/anetcon/installed.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"program": "that of another version"}))
    pid, capture = machine.unit("anetcon", "MainPID"), _capture(machine)
    done = machine.run(PROGRAM, "install").stdout
    assert f"SIGUSR2 to process {pid['MainPID']}" in done
    assert machine.unit("anetcon", "MainPID") == pid
    assert _capture(machine) != capture
    assert machine.run(PROGRAM, "gaps", "--format", "jsonl", check=False).stdout == ""
    assert machine.run(PROGRAM, "install").stdout == "nothing to do: everything is installed\n"


def _capture(machine: Booted) -> str:
    """Its process; a child that the keeper has just forked carries the same command line for a moment."""
    return machine.run("pgrep", "--oldest", "--full", "anetcon.capture.main").stdout


@pytest.mark.timeout(200)
def test_what_is_refused_and_what_rsyslog_gets() -> None:
    """Nothing is written for a configuration that is wrong, or by anybody but root; rsyslogd takes its snippet."""
    with booted() as machine:
        clean = files(machine)
        user = machine.run("setpriv", "--reuid=65534", "--clear-groups", PROGRAM, "install", check=False)
        assert (user.returncode, user.stderr.count("\n"), "run it as root" in user.stderr) == (6, 1, True)
        write(machine, TOML, '[audit]\nengine = "conntrak"\n')
        wrong = machine.run(PROGRAM, "install", check=False)
        assert (wrong.returncode, wrong.stderr.count("\n"), f"{TOML}:2" in wrong.stderr) == (5, 1, True)
        write(machine, TOML, '[audit]\nengine = "conntrack"\n')
        assert machine.run(PROGRAM, "install", "--rsyslog", check=False).returncode == 5
        (machine.root / TOML[1:]).unlink()
        (machine.root / TOML[1:]).parent.rmdir()
        assert files(machine) == clean

        write(machine, TOML, '[audit]\nengine = "nftables-log"\n')
        machine.run(PROGRAM, "install", "--rsyslog", "--no-start")
        assert machine.unit("anetcon", "ActiveState", "UnitFileState") == {
            "ActiveState": "inactive",
            "UnitFileState": "disabled",
        }
        assert (
            "DropInPaths=/etc/systemd/system/anetcon.service.d/50-engine.conf"
            in machine.run("systemctl", "show", "anetcon", "--property=DropInPaths").stdout
        )
        assert (machine.root / RSYSLOG[1:]).exists()
        machine.run("rsyslogd", "-N1")
        again = machine.run(PROGRAM, "install", "--no-start").stdout
        assert again == "nothing to do: everything is installed\n", "what was asked for once stays"
        machine.run(PROGRAM, "uninstall", "--purge", "--yes")
        assert files(machine) == clean


NAT = "table ip nat {\n chain post {\n  type nat hook postrouting priority 100\n  oifname eth9 masquerade\n }\n}\n"
CONNECT = """
import socket
listening = socket.create_server(("127.0.0.1", 4711))
socket.create_connection(("127.0.0.1", 4711)).close()
"""


def audits(said: str) -> str:
    """What is audited, as an installation says it."""
    (line,) = (line for line in said.splitlines() if line.startswith("audits   "))
    return line.removeprefix("audits   ")


@pytest.mark.timeout(300)
@pytest.mark.needs("nft", "nsenter")
def test_a_plain_gateway() -> None:
    """Where the host itself forwards and translates, and has no namespace of Neutron, a new configuration audits it,
    which is said before and after; one that is there stays as it is; any other host is told what is audited."""
    with booted() as machine:
        inside = ("nsenter", f"--net=/proc/{machine.pid}/ns/net")
        nothing = "nothing yet: no namespace in /run/netns matches audit.namespaces (^(qrouter|snat|fip)-)"
        proposed = "this host's own namespace, since it forwards and translates and has none of Neutron: "
        assert audits(machine.run(PROGRAM, "install", "--dry-run").stdout) == nothing
        machine.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        assert audits(machine.run(PROGRAM, "install", "--dry-run").stdout) == nothing
        subprocess.run([*inside, "nft", "-f", "-"], input=NAT, text=True, check=True)

        write(machine, TOML, "# mine\n")
        edited = audits(machine.run(PROGRAM, "install", "--dry-run").stdout)
        setting = 'namespaces = ["default"]'
        assert edited == f"{nothing}; this host forwards and translates itself: set `{setting}` under [audit] in {TOML}"
        (machine.root / TOML[1:]).unlink()

        assert audits(machine.run(PROGRAM, "install", "--dry-run").stdout) == proposed + setting
        assert audits(machine.run(PROGRAM, "install").stdout) == proposed + setting
        written = (machine.root / TOML[1:]).read_text()
        assert tomllib.loads(written)["audit"] == {"namespaces": ["default"]}
        machine.run("ip", "link", "set", "lo", "up")
        machine.run("python3", "-c", CONNECT)
        search = ("anetcon", "search", "--dport", "4711", "--format", "jsonl")
        wait_until(lambda: machine.run(*search, check=False).stdout, 60, machine.journal("anetcon"), every=0.2)
        assert machine.run("anetcon", "status").stdout.splitlines()[-1].startswith("default")

        subprocess.run([*inside, "nft", "flush", "ruleset"], check=True)
        assert machine.run("anetcon", "install").stdout == "nothing to do: everything is installed\n"
        assert (machine.root / TOML[1:]).read_text() == written


def anetcon(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The command, here."""
    return subprocess.run([*prefix, str(HERE), *words], capture_output=True, text=True, check=False)


def tree(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Every file and folder below a root, with mode, owners and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def test_a_tree(tmp_path: Path) -> None:
    """An image is prepared with its own users and nothing of this machine touched; purged, it is as it was."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nanetcon:x:4711:4711::/:/bin/false\n")
    with (tmp_path / "etc/passwd").open("a") as file:
        file.write("anetcon-sign:x:4713:4713::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nadm:x:4712:\n")
    empty = tree(tmp_path)
    said = anetcon("install", "--root", str(tmp_path), "--dry-run").stdout.splitlines()
    assert tree(tmp_path) == empty
    done = anetcon("install", "--root", str(tmp_path))
    lines = done.stdout.splitlines()
    assert [line for line in lines if line[8:9] == " "] == [line for line in said if line[8:9] == " "]
    assert "systemctl" not in done.stdout
    made = tree(tmp_path)
    assert made["var/lib/anetcon"][:3] == (0o40750, 4711, 4712)
    assert made["etc/anetcon/anetcon.toml"][:3] == (0o100640, 0, 4712)
    assert (
        made["etc/systemd/system/multi-user.target.wants/anetcon.service"][3] == b"/etc/systemd/system/anetcon.service"
    )
    assert anetcon("install", "--root", str(tmp_path)).stdout.startswith("nothing to do")
    assert tree(tmp_path) == made
    (tmp_path / LOGROTATE[1:]).write_text("mine\n")
    assert anetcon("uninstall", "--root", str(tmp_path)).returncode == 0
    kept = {path for path, (mode, *_) in tree(tmp_path).items() if path not in empty and mode & 0o100000}
    assert kept == {LOGROTATE[1:], "usr/local/share/anetcon/installed.json"}


def test_a_full_disk(tmp_path: Path) -> None:
    """One sentence; every file that is there is whole; with room made, the same command goes on."""
    script = (
        'mount -t tmpfs -o size=24k tmpfs "$1" && "$0" install --root "$1"; echo "first: $?"\n'
        'find "$1" -type f ; mount -o remount,size=4m "$1" && "$0" install --root "$1"; echo "then: $?"'
    )
    done = anetcon(str(tmp_path), prefix=("unshare", "--mount", "sh", "-c", script))
    assert done.stderr.count("\n") == 1
    assert "No space left on device; make room on that file system and run it again" in done.stderr
    said = done.stdout.splitlines()
    first, then = said.index("first: 4"), said.index("then: 0")
    assert not [line for line in said[first:then] if ASIDE in line], "nothing half-written is left"
    assert said[then - 2] == f"installed in {tmp_path}"
