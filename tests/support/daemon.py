"""The installed daemon on a store of its own, and its commands, as a user runs them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from anetcon.journal.read import last_flush
from anetcon.store.coverage import running
from anetcon.testbed import daemon
from anetcon.testbed.bed import Namespace
from tests.load.kernel import NETLINK_NETFILTER
from tests.support.asking import Answer
from tests.support.waiting import wait_until

PROGRAM = Path(sys.executable).parent / "anetcon"
EVENTS = 0x5
"""The groups of the socket of events: NFNLGRP_CONNTRACK_NEW and NFNLGRP_CONNTRACK_DESTROY."""
QUICK = {"store": {"flush_seconds": 0.1, "sync_seconds": 0.1}}
"""Settings for tests that often wait until what they made is on record."""


class Daemon(daemon.Daemon):
    """The testbed's daemon, with what tests ask of it. `run` starts it, also again. Idle, it flushes twice a second
    (`QUICK`: ten times). What it has on record is asked in this process, by the same words: starting a program takes
    a third of a second."""

    def __init__(self, folder: Path, namespaces: Sequence[str], tables: Mapping[str, Any] | None = None) -> None:
        given = tables or {}
        super().__init__(folder, namespaces, {**given, "store": {"sync_seconds": 0.5, **given.get("store", {})}})

    def run(self) -> Daemon:
        """Start it, and wait until capture writes the journal; what one before it wrote is no sign of that."""
        before, flushed = self.capture_pid(), self.flushed()
        self.start()
        wait_until(
            lambda: self.capture_pid() not in (None, before) and self.flushed() not in (None, flushed),
            30,
            f"the daemon runs: {self.errors()}",
        )
        return self

    def errors(self) -> str:
        """What the daemon printed."""
        return self.said.read_text()

    def capture_pid(self) -> int | None:
        """The process of capture."""
        pid: int | None = self.status().get("capture", {}).get("pid")
        return pid

    def signal_capture(self, number: signal.Signals) -> None:
        """Send a signal to capture, which runs: number 0 would be our own process group."""
        pid = self.capture_pid()
        assert pid, self.errors()
        os.kill(pid, number)

    def flushed(self) -> int | None:
        """Until when the journal is written, in microseconds."""
        return last_flush(self.store / "journal" / "connections")

    def totals(self) -> dict[str, int]:
        """The counters of all namespaces together."""
        totals: dict[str, int] = self.status()["totals"]
        return totals

    def states(self) -> dict[str, str]:
        """Each namespace's state."""
        return {n["netns"]: n["state"] for n in self.status().get("namespaces", [])}

    def wait_flushed(self) -> None:
        """Until whatever happened before this call is in the journal."""
        before = self.flushed()
        wait_until(lambda: self.flushed() != before, 20, f"flushed after {before}", every=0.02)
        again = self.flushed()
        wait_until(lambda: self.flushed() != again, 20, f"flushed after {again}", every=0.02)

    def wait_written(self) -> None:
        """Until whatever capture could have read before this call is in the journal; sooner than `wait_flushed`, which
        gives those beside capture (the keeper, the reader of kernel lines) a second as well."""
        now = time.time_ns() // 1000
        wait_until(lambda: (self.flushed() or 0) > now, 20, f"flushed until {now}")

    def wait_recorded(self, condition: Callable[[dict[str, int]], bool], seconds: float = 60.0) -> None:
        """Until the counters say so and all of it is flushed."""
        wait_until(lambda: condition(self.totals()), seconds, f"recorded; {self.totals()}", every=0.1)
        self.wait_written()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command, on this store."""
        words = [str(PROGRAM), *arguments, "--store", str(self.store)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)

    def _ask(self, *arguments: str) -> Answer:
        """A command's answer; an error's exit status is a failure."""
        answer = Answer(*arguments, "--store", self.store)
        assert answer.status in (0, 1, 3), (arguments, answer.status, answer.err, self.errors())
        return answer

    def json(self, *arguments: str) -> dict[str, Any]:
        """A command's answer as JSON."""
        answer = self._ask(*arguments, "--format", "json")
        assert answer.out[:1] in ("{", "["), (answer.out[:300], arguments, answer.status, answer.err, self.errors())
        return answer.json

    def search(self, *arguments: str) -> list[dict[str, Any]]:
        """Every record `anetcon search` finds."""
        return self._ask("search", *arguments, "--limit", "0", "--format", "jsonl").lines

    def gaps(self, *arguments: str) -> list[dict[str, Any]]:
        """The gaps on record."""
        listed: list[dict[str, Any]] = self.json("gaps", *arguments)["gaps"]
        return listed

    def lines(self, log: str) -> list[str]:
        """The lines of a text log: nat or float."""
        path = self.logs / f"anetcon.{log}.log"
        return path.read_text().splitlines() if path.exists() else []

    def children(self) -> list[int]:
        """The keeper's children."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self) -> None:
        """kill -9 of everything at once, until all of it has ended: whoever is the last lets go of the lock."""
        for pid in (self.process.pid, *self.children()):
            with contextlib.suppress(ProcessLookupError):  # a child dies with the keeper
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        wait_until(lambda: running(self.store) is None, 10, "nobody has the lock")


def listening(namespace: Namespace) -> list[int]:
    """The ports of the sockets in a namespace that listen to connections: a daemon's is one, once it is attached."""
    with namespace.inside():
        rows = [row.split() for row in Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]]
    return [int(row[2]) for row in rows if int(row[1]) == NETLINK_NETFILTER and int(row[3], 16) == EVENTS]


def seconds(text: str) -> float:
    """A time of a record as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal yet: then it does what it was started for."""
    with Path(f"/proc/{pid}/status").open() as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


PROTO = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
