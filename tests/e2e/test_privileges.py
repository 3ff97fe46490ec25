"""What the daemon and its commands do for other users of the machine: nothing that these could not do themselves."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from anetcon.errors import AnetconError
from anetcon.keeper.capture_link import PRIORITY
from anetcon.rules import invalid_sample
from anetcon.testbed.bed import Testbed
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server, tcp
from tests.load import kernel
from tests.load.packets import TCP
from tests.support import haste
from tests.support.daemon import PROGRAM, Daemon
from tests.support.invalid_packets import segments, send
from tests.support.waiting import wait_until

NET_ADMIN, NET_RAW, SYS_ADMIN, SYSLOG = 1 << 12, 1 << 13, 1 << 21, 1 << 34
CONNTRACK, LOG = SYS_ADMIN | NET_ADMIN, SYS_ADMIN | NET_ADMIN | NET_RAW | SYSLOG

Start = Callable[..., Daemon]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that every user may pass: pytest's own is shut again whenever another run of it begins."""
    with tempfile.TemporaryDirectory(prefix="anetcon-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


HOSTILE = """
import os, sys
with open({!r}, "a") as file:
    print(os.getuid(), sys.orig_argv, __file__, file=file)
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder of modules with the names of Python's and ours; the file they write when one is executed."""
    said, folder = tmp_path / "executed", tmp_path / "of-nobody"
    for name in ("anetcon/__init__.py", "anetcon.py", "resource.py", "json.py", "typing.py", "pyarrow/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(HOSTILE.format(str(said)))
    monkeypatch.chdir(folder)
    return said


def test_modules_in_the_folder_a_daemon_is_started_in(hostile: Path, bed: Testbed, daemon: Start) -> None:
    """None is executed: by the daemon, by its children, by what resolves a reload, by a replacement in place."""
    namespace = bed.namespace("one")
    auditor = daemon(namespace.name)
    auditor.wait_attached([namespace.name])
    before = auditor.capture_pid()
    auditor.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: auditor.capture_pid() not in (None, before), 20, "the new program has a capture of its own")
    auditor.wait_written()
    assert auditor.stop() == 0, auditor.errors()
    assert not hostile.exists(), hostile.read_text()


@pytest.mark.parametrize("command", ["doctor", "demo"])
def test_modules_in_the_folder_a_command_is_started_in(command: str, hostile: Path, tmp_path: Path) -> None:
    """None is executed by a command that starts programs of ours."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    done = subprocess.run([PROGRAM, command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in ((0, 1, 3) if command == "doctor" else (0,)), done.stdout + done.stderr
    assert not hostile.exists(), hostile.read_text()


class Held(NamedTuple):
    """What a process may, as /proc has it: its user, its capabilities, whether what it executes can gain any, and
    whether it is in a network namespace of its own."""

    uid: int
    capabilities: int
    no_new_privileges: bool
    apart: bool

    @classmethod
    def by(cls, pid: int) -> Held:
        """A process of the daemon. What counts, what could be made to count and what is handed on are the same."""
        lines = [line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        said = {key: value.split()[0] for key, value in lines if value}
        masks = {int(said[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")}
        assert len(masks) == 1, said
        where = [Path(f"/proc/{each}/ns/net").stat().st_ino for each in (pid, os.getpid())]
        return cls(int(said["Uid"]), masks.pop(), said["NoNewPrivs"] == "1", where[0] != where[1])


def held(auditor: Daemon) -> dict[str, Held]:
    """Of each process of a daemon, by its name."""
    found = {}
    for pid in (auditor.process.pid, *auditor.children()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # who writes status.json has ended
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name != "anetcon-keeper" or pid == auditor.process.pid:  # a child that is not yet its program
                found[name] = Held.by(pid)
    return found


SHOWN = """
kept=$(mktemp -d) && mount -t tmpfs none "$kept" || exit
hidden=$1; shift
while [ "$1" != -- ]; do mkdir "$kept/$1"; mount --bind "$hidden/$1" "$kept/$1"; shift; done; shift
mount --rbind "$kept" "$hidden"; umount -l "$kept"; rmdir "$kept"
chmod 755 "$hidden"
exec "$@"
"""


def passable() -> list[str]:
    """What has every user able to execute the program, in mounts of its own: it may lie in root's home."""
    places = [Path(sys.executable).resolve(), PROGRAM.resolve()]
    shut = [above for place in places for above in reversed(place.parents) if not above.stat().st_mode & 0o001]
    if not shut:
        return []
    inside = {place.relative_to(shut[0]).parts[0] for place in places if place.is_relative_to(shut[0])}
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", SHOWN, "sh", str(shut[0]), *inside, "--"]


@pytest.fixture
def by_root(tmp_path: Path) -> Iterator[Start]:
    """Starts a daemon that root starts; any user could."""
    started: list[Daemon] = []

    def start(*names: str, **tables: dict[str, Any]) -> Daemon:
        made = Daemon(tmp_path, names, {"": {"node": "testnode"}, **tables})
        made.within = passable()
        started.append(made)
        return made.run()

    yield start
    for each in started:
        each.stop()


def given_to(user: str, folder: Path) -> int:
    """Have a folder for a daemon be of this user's; the user's number."""
    number = pwd.getpwnam(user).pw_uid
    for name in ("store", "log"):
        (folder / name).mkdir(mode=0o750)
        os.chown(folder / name, number, grp.getgrnam("adm").gr_gid)
    return number


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("engine", ["conntrack", "nftables-log"])
def test_what_each_process_holds_by_hand(user: str, engine: str, bed: Testbed, by_root: Start, tmp_path: Path) -> None:
    """Started by root the daemon is whoever owns the store, with what each of its processes needs and nothing else,
    also after a replacement in place; and it does its job."""
    with kernel.log_all_netns() if engine != "conntrack" else contextlib.nullcontext():
        holds(given_to(user, tmp_path), engine, World(bed), by_root, tmp_path)


def holds(uid: int, engine: str, world: World, by_root: Start, tmp_path: Path) -> None:
    """Start it, measure, and have it do its job."""
    router = Router(world, instances=1)
    audit = {"engine": engine, "record_invalid": True}
    auditor = by_root(router.name, audit=audit, logs={"file": str(tmp_path / "log" / "anetcon.log")})
    auditor.wait_attached([router.name])
    expected = {
        "anetcon-keeper": Held(uid, (CONNTRACK if engine == "conntrack" else LOG) | haste.needed(), True, False),
        "anetcon-capture": Held(uid, NET_ADMIN, True, True),
        "anetcon-follow": Held(uid, 0, True, False),
        "anetcon-log": Held(uid, 0, True, False),
    }
    if engine != "conntrack":
        expected["anetcon-kmsg"] = Held(uid, 0, True, False)
    wait_until(lambda: set(held(auditor)) == set(expected), 20, "each process has its name")
    assert held(auditor) == expected
    before = auditor.capture_pid()
    assert before is not None
    assert os.getpriority(os.PRIO_PROCESS, before) == PRIORITY, "capture comes before other processes"
    auditor.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: auditor.capture_pid() not in (None, before), 20, f"another capture: {auditor.errors()}")
    wait_until(lambda: set(held(auditor)) == set(expected), 20, "and all other children")
    assert held(auditor) == expected
    with Server(world.namespace, SERVER, 8080) as server:
        inside = router.instances[0]
        tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
    wait_until(lambda: auditor.lines("nat"), 20, f"it has its line: {auditor.errors()}")
    assert len([row for row in auditor.search("--dst", SERVER) if row["origin"] != "packet"]) == 1
    if engine == "conntrack":
        wait_until(lambda: invalid_sample.NAME in router.namespace.run("nft", "list", "tables"), 20, auditor.errors())
        send(router, router.instances[0].address, SERVER, TCP, segments()["fin"][1])
        wait_until(lambda: auditor.search("--dst", SERVER, "--sport", "4000"), 20, "what is invalid is on record")
    assert invalid_sample.NAME not in router.namespace.run("nft", "list", "tables") or engine == "conntrack"
    assert auditor.stop() == 0, auditor.errors()
    assert {path.stat().st_uid for folder in ("store", "log") for path in (tmp_path / folder).rglob("*")} == {uid}


@pytest.mark.parametrize("name", ["status.json.new", "lock", "ledger.jsonl", "lasting.json.new", "namespaces.json.new"])
def test_links_in_a_store_of_somebody_else(name: str, bed: Testbed, by_root: Start, tmp_path: Path) -> None:
    """Root's daemon writes through none that the owner of the store has put there: a file of root's stays as it is."""
    uid = given_to("nobody", tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    (tmp_path / "store" / name).symlink_to(victim)
    os.lchown(tmp_path / "store" / name, uid, -1)
    namespace = bed.namespace("one")
    if name in ("lock", "ledger.jsonl"):
        with pytest.raises(AnetconError, match="the daemon ended with status"):
            by_root(namespace.name)
    else:
        auditor = by_root(namespace.name)
        auditor.wait_attached([namespace.name])
        wait_until(lambda: auditor.status()["namespaces"], 20, "it has written what it is")
        auditor.stop()
    assert victim.read_text() == "precious"
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (0, 0o600)


READER = ["setpriv", "--reuid=nobody", "--regid=adm", "--clear-groups"]


def test_who_may_read_and_locks_what_he_can(bed: Testbed, by_root: Start, tmp_path: Path) -> None:
    """A member of the group of readers holds locks on all that he can open: the daemon starts again nevertheless, and
    he is told whether it runs, without a lock."""
    given_to("root", tmp_path)
    namespace = bed.namespace("one")
    auditor = by_root(namespace.name)
    lock = tmp_path / "store" / "lock"
    lock.chmod(0o640)  # as versions before left it
    auditor.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: lock.stat().st_mode & 0o777 == 0o600, 20, "the mode is mended")

    def told() -> str:
        words = [*passable(), *READER, str(PROGRAM), "status", "--store", str(tmp_path / "store")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert f"the daemon runs as process {auditor.process.pid}" in told()
    assert auditor.stop() == 0, auditor.errors()
    assert "the daemon is not running" in told()
    files = [str(path) for path in (tmp_path / "store").iterdir() if path.is_file()]
    hold = [*READER, "flock", "--nonblock", "--exclusive"]
    holders = [subprocess.Popen([*hold, file, "cat"], stdin=subprocess.PIPE) for file in files]
    try:
        assert holders[files.index(str(lock))].wait(20) != 0, "he cannot lock this one"
        auditor.run()
        assert f"the daemon runs as process {auditor.process.pid}" in told()
    finally:
        for holder in holders:
            holder.communicate()
