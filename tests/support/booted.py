"""A Debian of its own with systemd as process 1, for tests of what is installed: boots in seconds, leaves nothing.

It lives in mount, process, network, host name, IPC and cgroup namespaces over an overlay in memory (tests/boot.sh), so
that units run under the restrictions they are shipped with. Of the kernel's settings it can write only those of its
own network namespace; it shares the kernel's log (/dev/kmsg) with the machine. Refuses to reach the internet.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import anetcon
from anetcon.testbed.bed import Namespace, owner
from tests.support.waiting import wait_until

HERE = Path(__file__).parents[1]
PROGRAM = "/opt/anetcon/bin/anetcon"
"""The program of this checkout, in an environment of the Debian's own Python; only where asked for."""

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")
_UNSHARE = ["unshare", *_NAMESPACES, "--propagation", "slave", "--fork", "--kill-child"]
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Also when we are killed: what a process mounts in namespaces of its own goes with it."""


class Disk:
    """A file system in the mount namespace of a process."""

    PLACE = "/mnt"

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.files = Path(f"/proc/{pid}/root{self.PLACE}")
        self.enter = ("nsenter", f"--mount=/proc/{pid}/ns/mnt")


class Booted:
    """The running system. `root` is its root as seen from outside, `pid` its process 1."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")

    def command(self, *command: str) -> list[str]:
        """What to execute outside in order to have `command` executed inside."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"]
        return [*inside, "env", "-i", *(f"{name}={value}" for name, value in _ENVIRONMENT.items()), *command]

    def run(
        self, *command: str, check: bool = True, stdin: str = "", seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Execute inside; what it printed. AssertionError with all of that when it fails and `check` is set."""
        done = subprocess.run(
            self.command(*command), check=False, capture_output=True, text=True, input=stdin, timeout=seconds
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Properties of a unit: `unit("anetcon", "ActiveState", "MainPID")`."""
        shown = self.run("systemctl", "show", name, *(f"--property={each}" for each in properties)).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, unit: str) -> str:
        """What a unit has said, to the last line."""
        shown = f"journalctl --sync && journalctl --no-pager --output=cat --unit={unit}"
        return self.run("sh", "-c", shown).stdout

    def install_program(self) -> None:
        """Have the program of this checkout at PROGRAM: Debian's own Python, our libraries."""
        self.run("/usr/bin/python3", "-m", "venv", "--without-pip", "/opt/anetcon")
        version = self.run("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
        if version != sysconfig.get_python_version():
            pytest.skip(f"the libraries here are for Python {sysconfig.get_python_version()}, Debian has {version}")
        path = self.root / f"opt/anetcon/lib/python{version}/site-packages/anetcon.pth"
        path.write_text("/opt/anetcon/src\n/opt/anetcon/libraries\n")
        script = self.root / PROGRAM[1:]
        script.write_text("#!/opt/anetcon/bin/python3\nfrom anetcon.cli.main import main\nmain()\n")
        script.chmod(0o755)


@contextlib.contextmanager
def booted(
    *, program: bool = True, binds: Sequence[str] = (), netns: bool = False, kept: Disk | None = None
) -> Iterator[Booted]:
    """Boot, and end it whatever happened. `program`: this checkout's at PROGRAM; `binds`: see tests/boot.sh; `netns`:
    the named network namespaces of the machine are seen in /run/netns there, also those that come later; `kept`: a
    `disk`, to be booted from again."""
    given = [*binds]
    if program:
        given.append(f"{Path(anetcon.__file__).parents[1]}:/opt/anetcon/src")
        given.append(f"{sysconfig.get_path('purelib')}:/opt/anetcon/libraries")
    if netns:
        Namespace(f"anet{owner()}-first-ever").close()  # what comes later is seen there only once there was one
        given.append("/run/netns:/run/netns:rw")
    with _boot(given, kept) as machine:
        if program and not (machine.root / PROGRAM[1:]).exists():
            machine.install_program()
        yield machine


@contextlib.contextmanager
def disk() -> Iterator[Disk]:
    """What systems keep from one boot to the next: in memory, since not every file system can be an overlay's, and
    mounted where nobody else sees it."""
    mount = f"mount -t tmpfs -o mode=755 anetcon-test {Disk.PLACE} && echo mounted && exec sleep infinity"
    command = [*_ENDS_WITH_US, "unshare", "--mount", "--propagation", "slave", "sh", "-c", mount]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            yield Disk(holder.pid)
        finally:
            holder.kill()


@contextlib.contextmanager
def _boot(binds: Sequence[str], kept: Disk | None) -> Iterator[Booted]:
    with tempfile.TemporaryDirectory(prefix="anetcon-boot-") as folder, _cgroup() as cgroup:
        log = Path(folder, "log")
        command = ["sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", str(cgroup), *_ENDS_WITH_US]
        place = ""
        if kept:
            command += kept.enter
            place = kept.PLACE
        with log.open("wb") as output:
            outer = subprocess.Popen(
                [*command, *_UNSHARE, str(HERE / "boot.sh"), str(image()), place, *binds],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            yield _started(outer, log)
        finally:
            for each in [*_children(outer), outer.pid]:  # process 1 first, so that its parent is there to bury it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
                    break
            outer.wait()


def image() -> Path:
    """The root that systems are booted over; made the first time. Skips the test where it cannot be."""
    made = subprocess.run([HERE / "debian-image.sh"], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no Debian to boot: {made.stderr.strip()}")
    return Path(made.stdout.strip())


def _started(outer: subprocess.Popen[bytes], log: Path) -> Booted:
    def first() -> int | None:
        assert outer.poll() is None, f"it does not boot: {log.read_text()}"
        return next((each for each in _children(outer) if Path(f"/proc/{each}/comm").read_text() == "systemd\n"), None)

    machine = Booted(wait_until(first, 60, "systemd is process 1") or 0)
    said = ""

    def up() -> bool:
        nonlocal said  # --wait was seen to wait for ever
        said = machine.run("systemctl", "is-system-running", check=False).stdout.strip()
        return said in ("running", "degraded")

    try:
        wait_until(up, 90, "it has booted", every=0.05)
    except AssertionError:
        jobs = machine.run("systemctl", "list-jobs", "--no-pager", check=False)
        said = f"it has not booted but is {said!r}: {jobs.stdout} {jobs.stderr} {log.read_text()}"
        raise AssertionError(said) from None
    assert said == "running", machine.run("systemctl", "--failed", check=False).stdout
    return machine


def _children(outer: subprocess.Popen[bytes]) -> list[int]:
    """Process 1 as seen from outside, while there is one: the only child of unshare(1)."""
    try:
        return [int(each) for each in Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()]
    except OSError:
        return []


@contextlib.contextmanager
def _cgroup() -> Iterator[Path]:
    """A control group of its own (version 2, wherever that is mounted), under which systemd makes what it wants."""
    with contextlib.ExitStack() as stack:
        mounted = next(
            (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line), ""
        )
        if not mounted:
            mounted = stack.enter_context(tempfile.TemporaryDirectory(prefix="anetcon-cgroup-"))
            subprocess.run(["mount", "-t", "cgroup2", "cgroup2", mounted], check=True)
            stack.callback(subprocess.run, ["umount", mounted], check=True)
        group = Path(mounted, f"anetcon-test-{uuid.uuid4().hex[:12]}")
        group.mkdir()
        try:
            yield group
        finally:
            wait_until(lambda: _removed(group), 20, f"{group} is empty")


def _removed(group: Path) -> bool:
    """Whether the group and those in it are gone; removes those that are empty."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()
