"""status.json: what every namespace's state is and what was counted, for `anetcon status` and whoever watches.

Written at most once a second, when something changed, and every five seconds; with many namespaces every ten. The text
of a namespace is made anew only when its numbers changed: with 1,000 of them the keeper must stay idle. Refuses to read
its own file back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from anetcon import __version__
from anetcon.keeper.children import Child
from anetcon.keeper.namespace import Namespace, Stage
from anetcon.keeper.roster import Roster
from anetcon.keeper.shared import Shared
from anetcon.keeper.shown import COUNTED, time
from anetcon.keeper.store_files import Aside
from anetcon.link import counters
from anetcon.system.clock import now_us, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
EVERY_SECONDS = 1.0
AT_LEAST_SECONDS = 5.0

MANY = 500
"""With more namespaces it is written half as often while nothing changes: with 1,000 that takes 8 ms, 5 of them for the
child that writes it to close 10,000 descriptors."""

LARGEST_ERRNO = 4095
"""MAX_ERRNO: capture may write any number into the memory it shares."""


def identity() -> dict[str, Any]:
    """This process, so that it is told from every other that there ever was: who may read alone knows by it whether it
    runs (`anetcon.store.coverage.running`)."""
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": os.getpid(), "start_ticks": int(ticks), "boot_id": boot}


class Status:
    """Makes status.json, `shown`, and the `line` for the service manager."""

    def __init__(self, roster: Roster, shared: Shared, shown: Aside) -> None:
        self.line = "Starting"
        self._roster = roster
        self._shared = shared
        self._file = shown
        self._texts: list[str] = []
        self._counted = bytearray()
        self._written = 0
        self._told: tuple[object, ...] = ()

    def update(self, head: dict[str, Any], capture: Child, follow: Child) -> None:
        """Write if it is time to."""
        self._roster.forget_old()
        listed = [*self._roster.namespaces.values(), *self._roster.gone]
        texts = self._texts = self._all(listed)
        header = self._shared.header()
        told = head, capture.pid, follow.pid, header["unwritten"] > 0, texts
        now = now_us()
        if told == self._told and now - self._written < AT_LEAST_SECONDS * (1 + (len(listed) > MANY)) * 1_000_000:
            return
        top = head | {
            "program": __version__,
            "updated": text(now),
            "capture": of_child(capture) | _journal(header),
            "follow": of_child(follow),
            "totals": self._totals(header),
        }
        content = json.dumps({"version": VERSION, **top})[:-1] + ', "namespaces": [\n' + ",\n".join(texts) + "\n]}\n"
        if self._file.write(content.encode()):
            self._written, self._told = now, told

    @property
    def writing(self) -> int | None:
        """The child that writes it now."""
        return self._file.writing

    def sum_up(self, children: Sequence[Child], refused: bool) -> None:
        """Make the line anew."""
        self.line = line(self._roster, self._shared.header(), children, refused)

    def _all(self, listed: list[Namespace]) -> list[str]:
        """A text each; with many of them nobody looks at each while nothing changed at all."""
        changed = self._shared.has_changed(self._counted)
        old = any(each.shown.is_old for each in listed)
        if not changed and not old and len(listed) == len(self._texts):
            return self._texts
        return [self._text(each) for each in listed]

    def _text(self, namespace: Namespace) -> str:
        row = self._shared.row(namespace.slot) if namespace.slot >= 0 else namespace.counters
        return namespace.shown.update(namespace, state_of(namespace, row), row)

    def _totals(self, header: dict[str, int]) -> dict[str, int]:
        slots = [*self._roster.attached, *self._roster.draining]
        sums = [sum(column) for column in zip(self._shared.past, *map(self._shared.row, slots), strict=True)]
        journal = {name: header[name] for name in ("journal_rows", "journal_bytes", "unwritten")}
        return {"namespaces": len(self._roster.namespaces), **dict(zip(COUNTED, sums, strict=False)), **journal}


def line(roster: Roster, header: dict[str, int], children: Sequence[Child], refused: bool) -> str:
    """All of it in a line, for the service manager; which version this is, for who waits for it to be replaced."""
    attached = len(roster.attached)
    others = len(roster.namespaces) - attached
    told = [f"{attached} network namespace{'s' * (attached != 1)} audited"]
    told += [f"{others} cannot be"] * bool(others)
    told += ["audit.namespaces selects none that is there"] * (not roster.namespaces)
    told += ["capture is starting"] * (not roster.capture_works)
    told += [
        f"{child.name} was started again {child.restarts} time{'s' * (child.restarts != 1)}"
        for child in children
        if child.restarts
    ]
    told += [f"the journal cannot be written: {_reason(header)}"] * bool(header["unwritten"])
    told += ["the configuration is refused, the one before holds"] * refused
    return f"{__version__}: " + ", ".join(told) + ("; see `anetcon status`" if len(told) > 1 else "")


def of_child(child: Child) -> dict[str, Any]:
    """One of the daemon's other processes."""
    return {"pid": child.pid, "restarts": child.restarts, "failed": time(child.failed)}


def state_of(namespace: Namespace, row: tuple[int, ...]) -> str:
    """The state as `anetcon status` names it."""
    match namespace.state:
        case Stage.FOUND | Stage.REFUSED:
            return "retrying"
        case Stage.ATTACHED:
            return counters.STATES[min(row[-1], len(counters.STATES) - 1)]
        case Stage.DRAINING | Stage.GONE:
            return "gone"


def _journal(header: dict[str, int]) -> dict[str, Any]:
    """How far the journal is, and while it cannot be written since when, why, and what waits in memory."""
    told: dict[str, Any] = {"flushed": time(header["flushed"]), "unwritten": None}
    if header["unwritten"]:
        told["unwritten"] = {
            "since": time(header["unwritten_since"]),
            "reason": _reason(header),
            "waiting_rows": header["waiting_rows"],
        }
    return told


def _reason(header: dict[str, int]) -> str:
    return os.strerror(min(header["unwritten_error"], LARGEST_ERRNO))
