"""Whether the daemon that systemd has started audits what it is to audit. Refuses to wait longer than SECONDS."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from anetcon.errors import TakeoverError
from anetcon.install import service
from anetcon.link import counters
from anetcon.store import layout

SECONDS = 30.0
DONE = (*counters.STATES, "gone")


def wait(store: Path, unit: str) -> list[tuple[str, str]]:
    """Until every namespace is attached; those that cannot be, and why. TakeoverError when none is, or it ends."""
    deadline = time.monotonic() + SECONDS
    while True:
        said = service.run(("systemctl", "show", "--property=ActiveState,MainPID", unit))
        shown = dict(line.split("=", 1) for line in said.splitlines())
        if shown["ActiveState"] in ("failed", "inactive", "deactivating"):
            raise TakeoverError(f"the daemon ended right after its start: see `journalctl -u {unit}`")
        status = _status(store, int(shown["MainPID"]))
        if status is not None:
            waiting = missing(status)
            late = time.monotonic() > deadline
            if not waiting or late:
                if waiting and len(waiting) == len(status["namespaces"]):
                    raise TakeoverError(f"the daemon audits no namespace: {waiting[0][0]}: {waiting[0][1]}")
                return waiting
        elif time.monotonic() > deadline:
            raise TakeoverError(f"the daemon wrote no status within {SECONDS:g} s: see `journalctl -u {unit}`")
        time.sleep(0.05)


def missing(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Namespaces that are not audited, and why."""
    return [
        (entry["netns"], entry["message"] or "its rules are being written")
        for entry in status["namespaces"]
        if entry["state"] not in DONE
    ]


def _status(store: Path, pid: int) -> dict[str, Any] | None:
    """What this very daemon has said."""
    try:
        said: dict[str, Any] = json.loads(layout.status_path(store).read_bytes())
    except (OSError, ValueError):
        return None
    return said if said.get("pid") == pid else None
