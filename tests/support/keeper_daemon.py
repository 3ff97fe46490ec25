"""A keeper under test: the real process with stand-in children, on a store of its own, for namespaces of our own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anetcon.testbed.bed import Namespace, owner
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
CHILD = "tests.support.keeper_child"
READY_SECONDS = 20.0


class Daemon:
    """`run` starts it; `close` ends it however it is."""

    def __init__(self, folder: Path, namespaces: list[str], **audit: Any) -> None:
        self.store = folder / "store"
        self.log_file = folder / "keeper.log"
        self.answer = folder / "resolved.json"
        self.settings: dict[str, Any] = {
            "node": "testnode",
            "settings_file": str(self.answer),
            "store": {"path": str(self.store)},
            "logs": {
                "prefix": "[ANETCON]",
                "prefix_dnat": "[D]",
                "prefix_other": "[X]",
                "namespace_hash": True,
                "debug": True,
            },
            "audit": {
                "namespaces": namespaces,
                "netns_dir": "/run/netns",
                "period": 30.0,
                "record": ["start", "end"],
                "on_overload": "hold",
                "guard_share": 0.7,
                "activate_conntrack": False,
                "engine": "conntrack",
                "chain": "anetcon",
                "protocols": "all",
                "networks": {},
                "buffer_bytes": 2 << 20,
                "buffers_total_bytes": 1 << 30,
                **audit,
            },
        }
        self.home: Namespace | None = None
        """Where to start it, and so what `default` means."""
        self.module = "anetcon.keeper.main"
        self.capture = CHILD
        self.within: list[str] = []
        """What runs the program, such as unshare with its options."""
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> Daemon:
        """Start, and wait until both children run."""
        before = len(self.heard("started")), len(self.heard("follow started"))
        self.start()
        wait_until(
            lambda: len(self.heard("started")) > before[0] and len(self.heard("follow started")) > before[1],
            READY_SECONDS,
            f"the children run\n{self.log()}",
        )
        return self

    def start(self) -> subprocess.Popen[bytes]:
        """Start only."""
        self.answer.write_text(json.dumps(self.settings))
        descriptor = os.memfd_create("settings")
        os.write(descriptor, json.dumps(self.settings).encode())
        options = ["--settings", str(descriptor), "--capture", self.capture, "--follow", CHILD, "--resolver", CHILD]
        inside = self.home.inside() if self.home else contextlib.nullcontext()
        with self.log_file.open("ab") as log, inside:
            self.process = subprocess.Popen(
                [*self.within, sys.executable, "-m", self.module, *options],
                stderr=log,
                pass_fds=[descriptor],
                cwd=ROOT,
                env=self.environment,
            )
        os.close(descriptor)
        return self.process

    @property
    def pid(self) -> int:
        """The keeper's process."""
        assert self.process is not None
        return self.process.pid

    def heard(self, op: str, **values: object) -> list[dict[str, Any]]:
        """What the children noted, of one kind and with these values."""
        try:
            lines = (self.store / "heard.jsonl").read_text().split("\n")[:-1]  # the last may be half written
        except FileNotFoundError:
            return []
        noted = [json.loads(line) for line in lines]
        return [n for n in noted if n["op"] == op and values.items() <= n.items()]

    def wait_heard(self, op: str, seconds: float = 5.0, **values: object) -> dict[str, Any]:
        """The last such note, once there is one."""
        return wait_until(lambda: self.heard(op, **values), seconds, f"{op} {values}\n{self.log()}")[-1]

    def wait_attached(self, name: str) -> dict[str, Any]:
        """What the capture that runs now was told of a namespace, once it was: a daemon before has left notes too."""
        return self.wait_heard("attach", netns=name, pid=self.heard("started")[-1]["pid"])

    def status(self) -> dict[str, Any]:
        """status.json."""
        path = self.store / "status.json"
        wait_until(path.exists, 5, "status.json is there")
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def namespace(self, name: str) -> dict[str, Any]:
        """What status.json says last of a namespace."""
        return next((n for n in reversed(self.status()["namespaces"]) if n["netns"] == name), {})

    def log(self) -> str:
        """What the keeper and its children wrote to stderr."""
        return self.log_file.read_text()

    def descriptors(self) -> int:
        """How many the keeper has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def reload(self, **audit: Any) -> None:
        """Change the configuration and say so."""
        self.settings["audit"] |= audit
        self.answer.write_text(json.dumps(self.settings))
        os.kill(self.pid, signal.SIGHUP)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The keeper stands still inside the block: it repairs nothing and notices nothing, and no child that it has
        sent on an errand does."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: _state(self.pid) == "T", 5, "the keeper stands still", every=0.001)
            wait_until(lambda: not self._errands(), 5, "what it had begun is done", every=0.001)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _errands(self) -> list[int]:
        """Its children that are no program of their own, and run."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [pid for pid in map(int, children) if is_alive(pid) and _name(pid) == "anetcon-keeper"]

    def wait_watched(self) -> None:
        """Until it has open what it watches in a namespace from then on."""
        wait_until(self._watches, 5, "its files are open")

    def _watches(self) -> bool:
        found = False
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found |= descriptor.readlink().name == "nf_conntrack_count"
        return found

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM and its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def close(self) -> None:
        """End it and what it started; its children die with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def ours() -> str:
    """The pattern of namespaces that this test process makes (anetcon.testbed)."""
    return f"^anet{owner()}-"


def sockets_of(pid: int) -> set[str]:
    """Every socket a process has open, by inode."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(path.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _name(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return _state(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def writer(fifo: Path) -> int:
    """A descriptor to write into a pipe with; 0 while nobody reads it."""
    with contextlib.suppress(OSError):
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    return 0


def show(figure: str) -> None:
    """A measured figure, for who runs the tests with -s."""
    sys.stdout.write(f"\n  {figure}\n")


TRACKING = "table inet tracking {\n chain any {\n  ct state new\n }\n}\n"
