"""What the checks know of this machine and of our daemon on it, read once."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from anetcon.doctor import processes
from anetcon.doctor.processes import HostProcess
from anetcon.errors import StoreError
from anetcon.journal.read import last_flush
from anetcon.link import capabilities
from anetcon.link.engine_kinds import KINDS
from anetcon.link.settings import Settings
from anetcon.store.coverage import running
from anetcon.store.layout import journal_folder, status_path

ATTACHED, YOUNG = "attached", "young"
"""The daemon's words for a namespace that it audits, and for one that had no rule yet in its first minute."""
NEW_SECONDS = 60.0
""""Attached" comes before the daemon looks for rules: for so long it does not mean that there are any."""


@dataclass(frozen=True)
class DaemonState:
    """Our daemon on the store of the settings. `pid` None: none runs; 0: one does, which one is not known."""

    pid: int | None = None
    family: frozenset[int] = frozenset()
    status: Mapping[str, Any] = field(default_factory=dict)
    flushed: int | None = None
    unreadable: str = ""

    @property
    def runs(self) -> bool:
        """Whether it does."""
        return self.pid is not None

    def state(self, netns: str) -> str:
        """What it last said of a namespace; empty when it does not know of it, or does not run."""
        return str(self._entries[netns]["state"]) if self.runs and netns in self._entries else ""

    def finds_new(self, netns: str, inode: int, now: float) -> bool:
        """Whether it runs and this namespace is new to it: made since it wrote its status, or within a minute."""
        entry = self._entries.get(netns)
        if not self.runs or entry is None or entry.get("inode") != inode:
            return self.runs
        since = seconds(entry.get("since")) or 0.0
        return entry["state"] == YOUNG or (entry["state"] == ATTACHED and now - since < NEW_SECONDS)

    @cached_property
    def _entries(self) -> dict[str, Mapping[str, Any]]:
        return {entry["netns"]: entry for entry in self.status.get("namespaces", [])}


@dataclass(frozen=True)
class Machine:
    """Everything that is not in a namespace. `root` is where files are looked for; tests have one of their own."""

    resolved: Mapping[str, Any]
    daemon: DaemonState = DaemonState()
    processes: Mapping[int, HostProcess] = field(default_factory=dict)
    owners: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Processes by the inode of a netlink socket they have open."""
    root: Path = Path("/")
    now: float = 0.0
    others: Sequence[HostProcess] = ()
    """Other programs that run, and keep a chain of our name."""

    @cached_property
    def settings(self) -> Settings:
        """The settings as the keeper uses them."""
        return Settings(dict(self.resolved))

    @cached_property
    def engine(self) -> str:
        """What the running daemon learns connections from; without one what it will."""
        engine = self.daemon.status.get("engine") if self.daemon.runs else None
        return str(engine or self.resolved["audit"]["engine"])

    @property
    def logs_rules(self) -> bool:
        """Whether the engine is one of LOG rules."""
        return KINDS[self.engine].rules

    @property
    def store(self) -> Path:
        """The store's folder."""
        return Path(self.resolved["store"]["path"])

    @property
    def file(self) -> str:
        """The configuration file, as a remedy names it."""
        return self.resolved.get("settings_file") or "/etc/anetcon/anetcon.toml"

    @cached_property
    def other_keepers(self) -> list[int]:
        """Processes of further daemons of ours, with other stores."""
        keepers = (each.pid for each in self.processes.values() if each.name == "anetcon-keeper")
        return [pid for pid in keepers if pid not in self.daemon.family]

    def text(self, path: str) -> str:
        """A file's content; empty when it is not there or may not be read."""
        with contextlib.suppress(OSError):
            return (self.root / path.lstrip("/")).read_text(errors="replace")
        return ""

    def setting(self, key: str, value: str) -> str:
        """How to change a setting, as part of a sentence."""
        table, _, name = key.rpartition(".")
        reload = f", then `kill -HUP {self.daemon.pid}`" if self.daemon.pid else ""
        return f"set `{name} = {value}` under [{table}] in {self.file}{reload}"

    def needed_capabilities(self) -> dict[str, int]:
        """What the engine needs, by number."""
        return capabilities.needed(self.engine)


def read(resolved: Mapping[str, Any]) -> Machine:
    """This machine, now."""
    every = processes.every()
    return Machine(resolved, daemon(Path(resolved["store"]["path"]), every), every, now=time.time())


def daemon(store: Path, every: Mapping[int, HostProcess]) -> DaemonState:
    """Our daemon on a store."""
    try:
        pid = running(store)
        status = json.loads(status_path(store).read_bytes())
    except FileNotFoundError:
        status = {}
    except StoreError as error:
        return DaemonState(unreadable=str(error))
    except OSError as error:
        return DaemonState(unreadable=f"{error.filename or store}: {error.strerror}")
    except (ValueError, RecursionError):
        return DaemonState(unreadable=f"{status_path(store)} is not as the daemon writes it")
    found = processes.family(pid, every.values()) if pid else set()
    flushed = None
    with contextlib.suppress(OSError):
        flushed = last_flush(journal_folder(store, "connections"))
    return DaemonState(pid, frozenset(found), status, flushed)


def seconds(text: Any) -> float | None:
    """A time of the daemon's status as seconds since 1970; None for what is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def effective_capabilities(pid: int | str = "self") -> int | None:
    """What a process may do; None when that may not be seen."""
    try:
        return processes.capabilities(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None


def can_enter() -> bool:
    """Whether this process may enter namespaces and ask netfilter there."""
    held = effective_capabilities() or 0
    return os.geteuid() == 0 and all(held >> bit & 1 for bit in capabilities.ALWAYS.values())
