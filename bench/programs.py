"""Who listens. Each program is started, asked whether it has taken everything in, ended, and its output judged.

The peers get what they can use: the priority that capture gives itself, which the load has too, so that none gains by
slowing the load; buffers of 256 MiB; only the events they need.
Their own option for the buffer does nothing in the versions of Debian 12 (conntrack 1.4.7 sets it on another socket,
ulogd 2.0.8 sets 0), so it is set on their sockets from outside.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from anetcon.testbed.bed import Namespace
from anetcon.testbed.daemon import Daemon, wait_for
from bench import judge, measure
from bench.judge import Found
from bench.loads import PRIORITY, Load, Made
from tests.load import kernel
from tests.load.wire import SO_RCVBUFFORCE

BUFFER = 256 << 20
CALM = 0.03
"""Share of a core that a program may use before a load begins."""
PEER = ("nice", "-n", str(PRIORITY))
SYS_PIDFD_GETFD = 438

_libc = ctypes.CDLL(None)


class Program:
    """One program that listens to a load's routers, with a folder of its own."""

    name = ""
    needs: tuple[str, ...] = ()
    buffer = BUFFER

    def __init__(self, load: Load, folder: Path) -> None:
        self.load, self.folder = load, folder
        self.namespaces = [router.namespace for router in load.routers]
        self.children: list[subprocess.Popen[Any]] = []

    @classmethod
    def missing(cls) -> list[str]:
        """Programs it needs that this machine does not have."""
        return [program for program in cls.needs if not shutil.which(program)]

    def start(self) -> None:
        """Start it; it listens when this returns."""
        raise NotImplementedError

    def calm_down(self) -> None:
        """Wait until it has done what it does at its start: it uses next to nothing."""
        used = -1.0
        while self.cpu() - used > CALM * 0.5:
            used = self.cpu()
            time.sleep(0.5)

    def settle(self) -> None:
        """Wait until it has taken in everything there was."""
        wait_for(lambda: all(sum(kernel.queued(n).values()) == 0 for n in self.namespaces), "empty queues")

    def pids(self) -> list[int]:
        """Its processes' roots."""
        return [child.pid for child in self.children]

    def cpu(self) -> float:
        """CPU seconds that its processes have used so far."""
        return sum(measure.cpu_by_name(self.pids()).values())

    def stop(self) -> float:
        """End it in good order; the CPU seconds that all its processes used in their lives, its end included."""
        for child in self.children:
            child.terminate()
        total = 0.0
        for child in self.children:
            total += measure.wait(child.pid)
            child.returncode = 0
        return total

    def found(self, made: Made) -> Found:
        """What it has of the load."""
        raise NotImplementedError

    def _in(self, namespace: Namespace, *args: str, **options: Any) -> subprocess.Popen[Any]:
        with namespace.inside():
            return self._run(*args, **options)

    def _run(self, *args: str, **options: Any) -> subprocess.Popen[Any]:
        child = subprocess.Popen(args, **options)
        self.children.append(child)
        return child


class Floor(Program):
    """`bench.floor`."""

    name = "floor: recvmmsg, nothing done"

    def start(self) -> None:
        paths = [str(namespace.path) for namespace in self.namespaces]
        root = Path(__file__).parents[1]
        child = self._run(sys.executable, "-m", "bench.floor", *paths, stdout=subprocess.PIPE, cwd=root)
        assert child.stdout is not None
        child.stdout.readline()

    def found(self, made: Made) -> Found:
        stdout = self.children[0].stdout
        assert stdout is not None
        events = json.loads(stdout.read())["events"]
        stdout.close()
        return Found(min(events // 2, made.count), events=events)


class Anetcon(Program):
    """The whole daemon: capture, journal, both text logs, sealing."""

    name = "anetcon, whole"
    logs = True
    seal_minutes = 0.25
    audit: Mapping[str, Any] = MappingProxyType({})
    """Settings of the table `audit`."""

    def start(self) -> None:
        self.daemon = Daemon(
            self.folder,
            [namespace.name for namespace in self.namespaces],
            {"audit": self.audit, "store": {"seal_minutes": self.seal_minutes}, "logs": {"enabled": self.logs}},
        )
        self.daemon.start()
        self.children.append(self.daemon.process)
        self.daemon.wait_attached([namespace.name for namespace in self.namespaces])

    def found(self, made: Made) -> Found:
        found = Found(0)
        stored = judge.stored(self.daemon.store)
        if not len(stored["ended"]):
            raise RuntimeError(f"nothing was sealed; the daemon said: {self.daemon.said.read_text() or 'nothing'}")
        judge.match(made, stored, found)
        found.events = found.connections + (found.ended or 0)
        totals = self.daemon.status()["totals"]
        found.slow = totals["slow"] / max(totals["events"], 1)
        found.size = self._sizes(made)
        if self.logs:
            _, found.lines = judge.log_lines(self._logs())
        return found

    def _logs(self) -> list[Path]:
        return sorted(self.daemon.logs.glob("anetcon.*.log"))

    def _sizes(self, made: Made) -> dict[str, float]:
        stored = sum(file.stat().st_size for file in self.daemon.store.glob("node=*/date=*/*.parquet"))
        sizes = {"store": stored / made.count}
        if self.logs:
            sizes["text"] = sum(file.stat().st_size for file in self._logs()) / made.count
        return sizes


class Capture(Anetcon):
    """Capture and journal alone: no text logs, sealing far away; the followers' process is left out, and the end too,
    since sealing belongs to it."""

    name = "anetcon, capture and journal"
    logs = False
    seal_minutes = 1440.0

    def settle(self) -> None:
        """The journal is whole when it has been flushed twice after the queues were empty."""
        super().settle()
        for _ in range(2):
            flushed = self._flushed()
            wait_for(lambda: self._flushed() != flushed, "a flush")  # noqa: B023 - waited for within the turn

    def _flushed(self) -> str:
        return str(self.daemon.status()["capture"]["flushed"])

    def cpu(self) -> float:
        used = measure.cpu_by_name(self.pids())
        return sum(seconds for name, seconds in used.items() if name != "anetcon-follow")

    def stop(self) -> float:
        used = self.cpu()
        self._journal = {file.name: file.stat().st_size for file in self.daemon.store.glob("journal/connections/*")}
        super().stop()
        return used

    def _sizes(self, made: Made) -> dict[str, float]:
        whole = "0000000001.arrows" in self._journal  # what is sealed is dropped: then nothing can be said
        return {"journal": sum(self._journal.values()) / made.count} if whole else {}


class Conntrack(Program):
    """`conntrack -E` to a file, one in each namespace."""

    name = "conntrack -E to a file"
    needs = ("conntrack",)

    def start(self) -> None:
        self._files = [self.folder / f"{number}.txt" for number in range(len(self.namespaces))]
        for file, namespace in zip(self._files, self.namespaces, strict=True):
            with file.open("wb") as output:
                args = (*PEER, "conntrack", "-E", "-e", "NEW,DESTROY", "-o", "timestamp")
                child = self._in(namespace, *args, stdout=output, stderr=subprocess.DEVNULL)
            enlarge(child.pid, namespace, self.buffer)

    def found(self, made: Made) -> Found:
        return _of_text(self._files, judge.event_lines(self._files), made)


class Ulogd(Program):
    """ulogd2, NFCT to JSON, every event; one in each namespace."""

    name = "ulogd2 NFCT to JSON"
    needs = ("ulogd",)

    @classmethod
    def missing(cls) -> list[str]:
        return [*super().missing(), *([] if _ulogd_plugins() else ["ulogd's plugins"])]

    def start(self) -> None:
        plugins = _ulogd_plugins()
        self._files = [self.folder / f"{number}.json" for number in range(len(self.namespaces))]
        for file, namespace in zip(self._files, self.namespaces, strict=True):
            settings = file.with_suffix(".conf")
            settings.write_text(
                f'[global]\nlogfile="{file.with_suffix(".log")}"\nloglevel=5\n'
                + "".join(f'plugin="{plugin}"\n' for plugin in plugins)
                + "stack=ct1:NFCT,ip2str1:IP2STR,json1:JSON\n"
                f'[ct1]\nhash_enable=0\nevent_mask=0x00000005\n[json1]\nfile="{file}"\n'
            )
            child = self._in(namespace, *PEER, "ulogd", "-c", str(settings), stderr=subprocess.DEVNULL)
            enlarge(child.pid, namespace, self.buffer)

    def found(self, made: Made) -> Found:
        return _of_text(self._files, judge.json_lines(self._files), made)


def _ulogd_plugins() -> list[Path]:
    wanted = ("inpflow_NFCT", "filter_IP2STR", "output_JSON")
    found = [sorted(Path("/usr/lib").glob(f"**/ulogd/ulogd_{name}.so"))[:1] for name in wanted]
    return [paths[0] for paths in found] if all(found) else []


class Rsyslog(Program):
    """An rsyslogd of our own that reads the kernel's log: the lines of LOG rules in one router, marked by its hash, go
    to a file. It knows starts only."""

    name = "rsyslog, imklog"
    needs: tuple[str, ...] = ("rsyslogd",)

    def start(self) -> None:
        self._file = self.folder / "kernel.log"
        settings = self.folder / "rsyslog.conf"
        marks = " or ".join(f'$msg contains "[{mark(namespace)}]"' for namespace in self.namespaces)
        settings.write_text(
            f'global(workDirectory="{self.folder}")\nmodule(load="imklog")\n'
            f'if ({marks}) then {{ action(type="omfile" file="{self._file}") stop }}\n'
        )
        pid_file = self.folder / "rsyslogd.pid"
        self._run(*PEER, "rsyslogd", "-n", "-f", str(settings), "-i", str(pid_file))
        wait_for(pid_file.exists, "rsyslogd")

    def settle(self) -> None:
        """Its file has not grown for a second."""
        size = -1
        while size != (size := self._file.stat().st_size if self._file.exists() else 0):
            time.sleep(1.0)

    def found(self, made: Made) -> Found:
        files = [self._file] if self._file.exists() else []
        lines, connections = judge.log_lines(files)
        found = _of_text(files, (lines, 0, connections), made)
        found.doubles, found.ended = lines - connections, None
        return found


class Seed(Rsyslog):
    """The seed's way: its chain of LOG rules in each router, of TCP over IPv4 only, and rsyslog.

    The kernel prints for namespaces other than the first only while nf_log_all_netns is set, for the whole machine:
    set under a lock, put back at the end.
    """

    name = "LOG rules and rsyslog (the seed)"
    needs = ("rsyslogd", "iptables-nft")

    def start(self) -> None:
        self._switch = ExitStack()
        self._switch.enter_context(kernel.log_all_netns())
        for namespace in self.namespaces:
            add_rules(namespace)
        super().start()

    def stop(self) -> float:
        try:
            return super().stop()
        finally:
            self._switch.close()


def mark(namespace: Namespace) -> str:
    """What stands for a namespace in the prefix of its lines."""
    return hashlib.md5(namespace.name.encode(), usedforsecurity=False).hexdigest()[:8]


def add_rules(namespace: Namespace) -> None:
    """The seed's chain and rules."""
    rules = [["-N", "anetcon"], ["-I", "POSTROUTING", "1", "-j", "anetcon"]]
    for way, negation in (("D", []), ("X", ["!"])):
        match = ["-p", "tcp", "-m", "state", "--state", "NEW", "-m", "conntrack", *negation, "--ctstate", "DNAT"]
        prefix = f"[ANETCON][{way}][{mark(namespace)}] "
        rules.append(["-A", "anetcon", *match, "-j", "LOG", "--log-prefix", prefix])
    for rule in rules:
        namespace.run("iptables-nft", "-t", "nat", *rule)


def _of_text(files: list[Path], counted: tuple[int, int, int], made: Made) -> Found:
    """What is known of a program that writes lines: starts, ends, distinct connections."""
    starts, ends, connections = counted
    size = sum(file.stat().st_size for file in files) / max(connections, 1)
    strangers = max(connections - made.count, 0)
    return Found(connections - strangers, ends, strangers=strangers, events=starts + ends, size={"text": size})


PROGRAMS: tuple[type[Program], ...] = (Floor, Anetcon, Capture, Conntrack, Ulogd, Seed)


def enlarge(pid: int, namespace: Namespace, size: int) -> None:
    """Wait until another process listens to conntrack, and give its netlink sockets a buffer of that size."""
    wait_for(lambda: pid in kernel.queued(namespace), f"process {pid} to listen")
    process = os.pidfd_open(pid)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if str(link.readlink()).startswith("socket:"):
            with socket.socket(fileno=_libc.syscall(SYS_PIDFD_GETFD, process, int(link.name), 0)) as theirs:
                if theirs.family == socket.AF_NETLINK:
                    theirs.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    os.close(process)


@contextmanager
def running(kind: type[Program], load: Load, folder: Path) -> Iterator[Program]:
    """A program that listens; whatever is left of it is ended."""
    program = kind(load, folder)
    try:
        program.start()
        yield program
    finally:
        if any(child.returncode is None and child.poll() is None for child in program.children):
            program.stop()
