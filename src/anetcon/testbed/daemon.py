"""The real daemon on a store of its own, as a child process: for the demo, the tests and the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from anetcon.errors import AnetconError

T = TypeVar("T")
ANETCON = [sys.executable, "-P", "-m", "anetcon.cli.main"]
PATIENCE = 40.0
"""Seconds it has to get ready, and to end in good order."""


def wait_for(condition: Callable[[], T], what: str, seconds: float = PATIENCE, every: float = 0.02) -> T:
    """Poll until the condition is true; its value. AnetconError naming `what` when it does not become so."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AnetconError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return value


class Daemon:
    """`anetcon run` with everything it writes under `folder`.

    `namespaces` are whole names; `tables` are further settings by table of the configuration file, over those made
    here. Leaving its block stops it.
    """

    def __init__(
        self, folder: Path, namespaces: Sequence[str], tables: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.folder = folder
        self.store, self.logs, self.settings = folder / "store", folder / "log", folder / "anetcon.toml"
        self.said = folder / "stderr"
        own: dict[str, dict[str, Any]] = {
            "audit": {"namespaces": [f"^{name}$" for name in namespaces]},
            "store": {"path": str(self.store)},
            "logs": {"dir": str(self.logs)},
        }
        for name, values in (tables or {}).items():
            own.setdefault(name, {}).update(values)
        self.settings.write_text("".join(_table(name, own[name]) for name in sorted(own)))
        self.within: Sequence[str] = ()
        """What runs the program, such as nsenter with its options."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it watches for namespaces and has begun its journal when this returns."""
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                [*self.within, *ANETCON, "run", "-c", str(self.settings)], stdout=said, stderr=said
            )
        begun = self.store / "journal" / "connections"
        wait_for(lambda: self._alive() and self.status() and any(begun.glob("*.index")), "the daemon is ready")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The keeper."""
        if self._process is None:
            raise AnetconError("the daemon was not started")
        return self._process

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise AnetconError(f"the daemon ended with status {self.process.returncode}: {self.said.read_text()}")
        return True

    def status(self) -> dict[str, Any]:
        """What status.json says; nothing as long as there is none."""
        try:
            said: dict[str, Any] = json.loads((self.store / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return said

    def attached(self) -> list[str]:
        """Names of the namespaces it listens to."""
        return [entry["netns"] for entry in self.status().get("namespaces", []) if entry["state"] == "attached"]

    def wait_attached(self, names: Sequence[str], seconds: float = PATIENCE) -> None:
        """Wait until it listens to all of these."""
        wait_for(lambda: self._alive() and set(names) <= set(self.attached()), "the daemon listens everywhere", seconds)

    def ask(self, command: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a reading command on its store."""
        words = [*ANETCON, command, *args, "--store", str(self.store)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def stop(self) -> int | None:
        """End it in good order; its exit status, None when it was not running."""
        if self._process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def __enter__(self) -> Daemon:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _table(name: str, values: Mapping[str, Any]) -> str:
    """A table of TOML; JSON writes texts, numbers, flags and lists as TOML reads them."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([*([f"[{name}]"] if name else []), *lines, ""])
