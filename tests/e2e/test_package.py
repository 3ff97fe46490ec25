"""The Debian package in a Debian of its own: installed, under load while it is upgraded, removed, purged."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anetcon.journal.read import last_flush
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import Router, World
from tests.load.flood import Flood
from tests.support.booted import Booted, booted, image
from tests.support.ledger import Ledger
from tests.support.rooms import belongs_to
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
OLD, NEW = "0.1.0~test1", "0.1.0~test2"
MOST, RATE = 480_000, 12_000
"""Connections there can be, and how many a second; an eighth of that once half of them are made, so that they last for
an upgrade of three minutes."""
SYSCTLS = ("nf_conntrack_events", "nf_conntrack_timestamp", "nf_conntrack_acct")
OLD_UNIT = "[Service]\nExecStart=/bin/bash /usr/sbin/anetcon.sh\n[Install]\nWantedBy=multi-user.target\n"
DPKG = "dpkg --force-confold --force-unsafe-io"
UNTOUCHED = ("proc", "sys", "dev", "run", "tmp")
PRIVATE = "systemd-private-"
"""Folders of services that have a /var/tmp of their own: systemd removes them some time after a stop."""
OTHERS = ("/var/lib/dpkg", "/var/log/", "/var/cache/")
"""Where dpkg, man-db and whoever writes logs note what they did."""
BACKUPS = {f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow")}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two versions of the package, and an update of the Python that it runs on."""
    python = Path("/usr/bin/python3").readlink()
    if (image() / "usr/bin/python3").readlink() != python:
        pytest.skip(f"a package made here is for {python}, which the Debian that is booted has not")
    folder = tmp_path_factory.mktemp("packages")
    build = [sys.executable, "-m", "tools.deb", "--quick", "--version", OLD, "--to", str(folder)]
    made = subprocess.run(build, check=False, capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    Path(made.stdout.strip()).rename(folder / "old.deb")
    with unpacked(folder) as tree:  # making it again would take as long
        (program,) = tree.glob("usr/lib/anetcon/environment/lib/python3*/site-packages/anetcon")
        for path in [*(tree / "DEBIAN").iterdir(), program / "__init__.py", *program.glob("__pycache__/__init__.*")]:
            path.write_bytes(path.read_bytes().replace(OLD.encode(), NEW.encode()))
        pack(tree, folder / "new.deb")
    with tempfile.TemporaryDirectory() as tree:  # an update of Debian's Python
        Path(tree, "DEBIAN").mkdir()
        Path(tree, "DEBIAN/control").write_text(
            "Package: update\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: x\n"
        )
        Path(tree, "usr/bin").mkdir(parents=True)
        shutil.copy(image() / "usr/bin" / python, Path(tree, "usr/bin"))
        pack(Path(tree), folder / "python.deb")
    yield folder
    shutil.rmtree(folder)


@contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """The first version as dpkg-deb makes a package of it."""
    with tempfile.TemporaryDirectory(dir=folder) as tree:
        subprocess.run(["dpkg-deb", "--raw-extract", folder / "old.deb", tree], check=True)
        yield Path(tree)


def pack(tree: Path, package: Path) -> None:
    """Quickly."""
    subprocess.run(["dpkg-deb", "-Zzstd", "-z1", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)


class Host:
    """A booted Debian with the packages in /packages; `Ledger` asks it as it asks a daemon."""

    def __init__(self, machine: Booted) -> None:
        self.machine = machine
        self.run = machine.run
        self.unit = machine.unit

    def dpkg(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """With a configuration that was there before left as it is."""
        return self.run(*DPKG.split(), *arguments, check=check, seconds=120)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The installed program."""
        return self.run("anetcon", *arguments, check=False)

    def gaps(self) -> list[dict[str, Any]]:
        """All that there are."""
        found: list[dict[str, Any]] = json.loads(self.command("gaps", "--format", "json").stdout)["gaps"]
        return found

    def pid(self) -> int:
        """The daemon's, as seen inside; 0 when none runs."""
        return int(self.unit("anetcon", "MainPID")["MainPID"])

    def state(self) -> tuple[str, str]:
        """Whether it runs, and whether it starts at boot."""
        shown = self.unit("anetcon", "ActiveState", "UnitFileState")
        return shown["ActiveState"], shown["UnitFileState"]

    def processes(self) -> str:
        """Those of the daemon."""
        return self.run("pgrep", "anetcon", check=False).stdout

    def said(self) -> str:
        """What the daemon tells systemd of itself."""
        return self.unit("anetcon", "StatusText")["StatusText"]

    def configure(self, *namespaces: str, more: str = "") -> None:
        """Audit these alone: the tests beside this one make others."""
        (self.machine.root / "etc/anetcon").mkdir(exist_ok=True)
        names = ", ".join(f'"{name}"' for name in namespaces)
        (self.machine.root / "etc/anetcon/anetcon.toml").write_text(f"[audit]\nnamespaces = [{names}]\n{more}")


@contextmanager
def host(packages: Path, *, netns: bool = False) -> Iterator[Host]:
    """One that vanishes."""
    with booted(program=False, netns=netns, binds=[f"{packages}:/packages"]) as machine:
        (
            machine.root / "var/lib/man-db/auto-update"
        ).unlink()  # man-db looks at every page there is, a second each time
        yield Host(machine)


def files(root: Path) -> dict[str, str]:
    """Everything on the disk, with mode, owner and what is in it."""
    found = {}
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [each for each in folders if each not in UNTOUCHED]
        folders[:] = [each for each in folders if not each.startswith(PRIVATE)]
        for name in [*folders, *names]:
            path = Path(folder, name)
            status = path.lstat()
            inside = str(path.relative_to(root))
            content = str(status.st_size) if path.is_file() else ""
            if inside.startswith("etc/") and path.is_file() and not path.is_symlink():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found["/" + inside] = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {content}"
    return {path: what for path, what in found.items() if not path.startswith(OTHERS) or "anetcon" in path}


def sysctls(router: Router) -> list[str]:
    """What the daemon sets in a router."""
    return router.namespace.run("sysctl", "-n", *(f"net.netfilter.{name}" for name in SYSCTLS)).split()


def upgraded_under_load(machine: Host, router: Router, before: int) -> Ledger:
    """Connections all the while, some of them before and some after."""
    with Flood(router, MOST) as flood:
        ledger, over = Ledger(flood), threading.Event()

        def send() -> None:
            while not over.is_set() and ledger.sent < MOST:
                rate = RATE if ledger.sent < MOST // 2 else RATE // 8
                ledger.send(rate // 4, piece=500, rate=rate)

        sending = threading.Thread(target=send)
        sending.start()
        try:
            wait_until(lambda: ledger.sent > RATE // 2, 20, "in full flow")
            machine.dpkg("-i", "/packages/new.deb")
            after = ledger.sent
            wait_until(lambda: ledger.sent > after + RATE // 2, 20, "and goes on")
        finally:
            over.set()
            sending.join()
        assert ledger.sent < MOST, "the connections ran out before the upgrade was over"
        assert machine.pid() == before
        recorded(machine, ledger.sent)
        ledger.whole(machine)
    return ledger


def recorded(machine: Host, ends: int) -> None:
    """Until so many ends are counted, and all of them are in the journal."""
    wait_until(lambda: status(machine)["totals"]["ends"] >= ends, 60, f"{ends} ends are counted", every=0.2)
    journal = machine.machine.root / "var/lib/anetcon/journal/connections"
    for _ in range(2):
        before = last_flush(journal)
        wait_until(lambda: last_flush(journal) != before, 20, "flushed")  # noqa: B023


def status(machine: Host) -> dict[str, Any]:
    """status.json, as the keeper wrote it last."""
    found: dict[str, Any] = json.loads((machine.machine.root / "var/lib/anetcon/status.json").read_bytes())
    return found


def test_installed_upgraded_removed_purged(packages: Path) -> None:
    """Installed it runs at once and at boot, and is whole; an upgrade under load misses nothing; removed it keeps the
    records, purged it leaves nothing."""
    with Testbed() as bed, host(packages, netns=True) as machine:
        router = Router(World(bed), plain=True)
        found, root = sysctls(router), machine.machine.root
        before = files(root)
        machine.configure(router.name)
        machine.dpkg("-i", "/packages/old.deb")
        is_whole(machine)
        upgraded_under_load(machine, router, machine.pid())
        assert {gap["cause"] for gap in machine.gaps()} <= {"starts-off"}, "of starts that a busy kernel dropped"
        assert machine.command("--version").stdout == f"anetcon {NEW}\n"
        said = json.loads(machine.command("status", "--format", "json").stdout)
        assert (said["program"], said["pid"]) == (NEW, machine.pid())
        assert sorted(path.name for path in (root / "usr/lib/anetcon").iterdir()) == ["current", "environment"]

        assert sysctls(router) == ["1"] * 3 != found
        machine.dpkg("--remove", "anetcon")
        assert machine.unit("anetcon", "LoadState")["LoadState"] == "not-found"
        assert not machine.processes()
        assert list((root / "var/lib/anetcon/journal").iterdir())
        assert (root / "etc/anetcon/anetcon.toml").exists()
        assert sysctls(router) == found
        machine.dpkg("--purge", "anetcon")
        after = files(root)
        assert {path for path in after if after[path] != before.get(path)} <= BACKUPS
        assert before.keys() <= after.keys()
        assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def is_whole(machine: Host) -> None:
    """Whatever was to be installed is there, and does its work."""
    assert machine.state() == ("active", "enabled")
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"
    assert machine.command("--version").stdout == f"anetcon {OLD}\n"
    # It clears away what dead processes left; this one, to whom the namespaces there belong, is none of that system's.
    alone = "mount -t tmpfs none /run/netns && exec anetcon demo"
    assert "everything removed" in machine.run("unshare", "--mount", "sh", "-c", alone).stdout
    assert (machine.machine.root / "etc/anetcon/anetcon.toml.dpkg-dist").exists()
    assert machine.run("man", "-w", "anetcon", "anetcon.toml").stdout.count(".gz") == 2
    machine.run("logrotate", "--debug", "/etc/logrotate.d/anetcon")
    assert machine.run("anetcon", "install").stdout == "nothing to do: everything is installed\n"


def test_starts_nothing_it_should_not(packages: Path) -> None:
    """Not where policy-rc.d forbids it, nor again what the administrator stopped; but what had failed. It ends where it
    is removed, also after it was only unpacked."""
    with host(packages) as machine:
        policy = machine.machine.root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        machine.configure("default")
        machine.dpkg("-i", "/packages/old.deb")
        assert machine.state() == ("inactive", "enabled")
        policy.unlink()
        machine.run("systemctl", "disable", "--now", "anetcon")
        machine.dpkg("-i", "/packages/new.deb")
        assert "and that stays so" in machine.run("anetcon", "install").stdout
        assert machine.state() == ("inactive", "disabled")
        assert machine.command("--version").stdout == f"anetcon {NEW}\n"
        machine.configure("(")
        machine.run("systemctl", "enable", "--now", "anetcon", check=False)
        machine.configure("default")
        assert machine.state() == ("failed", "enabled")
        machine.run("dpkg-reconfigure", "anetcon")
        assert machine.state() == ("active", "enabled")
        machine.run("systemctl", "mask", "anetcon")
        machine.dpkg("--unpack", "/packages/old.deb")
        machine.dpkg("--remove", "anetcon")
        assert not machine.processes()


def test_without_systemd(packages: Path) -> None:
    """As where an image is built: nothing is started. Purged it leaves records in other places, and says so; a store
    that is a mount point does not hinder it. Another package that took its files over keeps them."""
    with host(packages) as machine:
        root = machine.machine.root
        machine.configure("default", more='[store]\npath = "/srv/audit"  # large\n')
        steps = f"""
            set -e
            mkdir /var/lib/anetcon
            for each in run/systemd var/lib/anetcon; do mount -t tmpfs none /$each; done
            {DPKG} -i /packages/old.deb
            anetcon install
            test -e /etc/systemd/system/anetcon.service.d
            touch /srv/audit/records /var/lib/anetcon/x
            sh /var/lib/dpkg/info/anetcon.postrm disappear others 1.0
            test -e /usr/lib/anetcon/current
            {DPKG} --purge anetcon
            ! ls -A /var/lib/anetcon | grep .
        """
        said = machine.run("unshare", "--mount", "sh", "-c", steps).stderr
        assert re.search("stay.* the user anetcon: /srv/audit$", said, re.MULTILINE)
        assert (root / "srv/audit/records").exists()
        assert "anetcon:" in (root / "etc/passwd").read_text()
        assert not (root / "etc/systemd/system/anetcon.service.d").exists()


@belongs_to("legacy")
def test_the_bash_anetcon_goes_on(packages: Path) -> None:
    """Where it runs it is neither stopped nor enabled, whatever is done to the package, and its logs stay; its
    configuration counts."""
    with host(packages) as machine:
        root = machine.machine.root
        (root / "etc/systemd/system/anetcon.service").write_text(OLD_UNIT)
        (root / "usr/sbin/anetcon.sh").write_text("while :; do sleep 1000; done\n")
        (root / "etc/anetcon.conf").write_text('NAMESPACES="default"\n')
        (root / "var/log/anetcon").mkdir()
        (root / "var/log/anetcon/anetcon.nat.log").write_text("old lines\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", "anetcon")
        before = machine.pid(), *machine.state()
        for name in ("old", "new"):
            done = machine.dpkg("-i", f"/packages/{name}.deb")
            assert (machine.pid(), *machine.state()) == before
            assert ("anetcon install" in done.stderr) == (name == "old")
        plan = machine.run("anetcon", "install", "--dry-run").stdout
        assert "remove   /etc/anetcon/anetcon.toml" in plan
        assert "remove   /etc/systemd/system/anetcon.service" in plan
        assert not re.search(
            r"(write|update|link) +/(etc/systemd/system/anetcon.service$|usr/local|etc/sysusers)", plan, re.M
        )
        machine.dpkg("--remove", "anetcon")
        assert (machine.pid(), *machine.state()) == before
        assert "another ANetCon" in machine.dpkg("--purge", "anetcon").stderr
        assert (machine.pid(), *machine.state()) == before
        assert (root / "var/log/anetcon/anetcon.nat.log").exists()


def test_a_failed_upgrade_leaves_the_old_running(packages: Path) -> None:
    """Daemon and commands stay the old version, whole: when unpacking fails, while the new one is not configured, when
    that refuses the configuration, and, after a moment, when its capture does not start or it ends at once. An
    update of Python is used at once, too."""
    with host(packages) as machine:
        machine.configure("default")
        quick = machine.machine.root / "etc/systemd/system/anetcon.service.d/quick.conf"
        quick.parent.mkdir()
        quick.write_text("[Service]\nRestartSec=0.3\n")
        machine.dpkg("-i", "/packages/old.deb")
        pid, root = machine.pid(), machine.machine.root
        whole = (packages / "new.deb").read_bytes()
        (root / "half.deb").write_bytes(whole[: len(whole) // 8])
        assert machine.dpkg("-i", "/half.deb", check=False).returncode
        runs_on(machine, pid, "environment")
        state = machine.run("dpkg-query", "-Wf", "${Version} ${db:Status-Status}", "anetcon").stdout
        assert state == f"{OLD} installed"

        machine.dpkg("--unpack", "/packages/new.deb")
        capture = wait_until(lambda: capture_pid(machine), 60, "the failure's own replacement is over", every=0.2)
        machine.run("kill", "-9", capture)
        wait_until(lambda: capture_pid(machine) not in ("", capture), 60, "capture runs again", every=0.2)
        runs_on(machine, pid, "before")
        (root / "etc/anetcon/anetcon.toml").write_text("[audit]\nnamespace = 3\n")
        said = configure_fails(machine)
        assert f"before {NEW} stays in use, since this one refuses the configuration" in said
        runs_on(machine, pid, "before")

        machine.configure("default")
        script = root / "var/lib/dpkg/info/anetcon.postinst"
        patient = script.read_text()
        # Not a minute, but a second from when the new keeper speaks: given up before, it would become new only after.
        speaks = 'until show StatusText | grep -q "^$version: "; do sleep 0.1; done; left=5'
        script.write_text(patient.replace("left=300", speaks))
        with broken(root, "capture"):
            said = configure_fails(machine)
        script.write_text(patient)
        assert f"before {NEW} stays in use, since the daemon did not become this one" in said
        wait_until(lambda: machine.said().startswith(f"{OLD}: 1 "), 60, "it is the old one again", every=0.2)
        runs_on(machine, pid, "before")
        with broken(root, "keeper"):
            said = configure_fails(machine)
        assert f"before {NEW} stays in use, since the daemon did not become this one" in said
        wait_until(lambda: machine.state()[0] == "active", 60, "it was started again", every=0.2)
        runs_on(machine, machine.pid(), "before")
        machine.dpkg("--configure", "anetcon")
        assert machine.command("--version").stdout == f"anetcon {NEW}\n"

        uses_updated_python(machine)
        machine.configure("(")
        machine.run("systemctl", "restart", "anetcon", check=False)
        machine.dpkg("--remove", "anetcon")
        assert machine.run("systemctl", "is-system-running").stdout == "running\n", "nothing failed is left behind"


def uses_updated_python(machine: Host) -> None:
    """The daemon becomes itself again on what was updated, in place."""
    pid, capture = machine.pid(), capture_pid(machine)
    machine.dpkg("--force-overwrite", "-i", "/packages/python.deb")
    maps = machine.run("sh", "-c", "cat $(printf '/proc/%s/maps ' $(pgrep anetcon))", check=False).stdout
    assert "/usr/bin/python3" in maps
    assert not re.search(r"/usr/.* \(deleted\)", maps)
    assert machine.pid() == pid
    assert capture_pid(machine) != capture


@contextmanager
def broken(root: Path, process: str) -> Iterator[None]:
    """That process of the new version ends at once."""
    (module,) = root.glob(f"usr/lib/anetcon/environment/lib/python3*/site-packages/anetcon/{process}/main.py")
    good = module.read_text()
    module.write_text("raise SystemExit(1)\n")
    for bytecode in module.parent.glob("__pycache__/main.*.pyc"):
        bytecode.unlink()
    yield
    module.write_text(good)


def configure_fails(machine: Host) -> str:
    """What is said then."""
    done = machine.dpkg("--configure", "anetcon", check=False)
    assert done.returncode
    return done.stderr


def runs_on(machine: Host, pid: int, tree: str) -> None:
    """The daemon is the old version, from that tree."""
    assert machine.pid() == pid
    assert (machine.machine.root / "usr/lib/anetcon/current").readlink() == Path(tree)
    assert machine.command("--version").stdout == f"anetcon {OLD}\n"
    assert machine.said().startswith(f"{OLD}: "), machine.said()


def capture_pid(machine: Host) -> str:
    """Capture's, while it runs."""
    return machine.run("pgrep", "--oldest", "-x", "anetcon-capture", check=False).stdout.strip()
