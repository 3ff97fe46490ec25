"""status.json: what every namespace's state is and what was counted, for `anetcon status` and whoever watches.

Written at most once a second, when something changed, and every five seconds; with many namespaces every ten. The text
of a namespace is made anew only when its numbers changed: with 1,000 of them the keeper must stay idle. Refuses to read
its own file back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from anetcon import __version__
from anetcon.keeper.children import Child
from anetcon.keeper.roster import Audited, Roster
from anetcon.keeper.shared import Shared
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

INACTIVE = "no rule here uses conntrack, so nothing is tracked; audit.activate_conntrack = true would make it run"

LATEST, LARGEST_ERRNO = 253_402_300_799_999_999, 4095
"""The last microsecond of the year 9999, and MAX_ERRNO: capture may write any number into the memory it shares."""

_COUNTED = counters.SLOT[:-1]


def identity() -> dict[str, Any]:
    """This process, so that it is told from every other that there ever was: who may read alone knows by it whether it
    runs (`anetcon.store.coverage.running`)."""
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": os.getpid(), "start_ticks": int(ticks), "boot_id": boot}


class _Shown:
    """What was last shown of one namespace."""

    __slots__ = ("message", "row", "rules", "since", "state", "text")

    def __init__(self) -> None:
        self.row: tuple[int, ...] = ()
        self.message = ""
        self.rules = (0, 0)
        self.state = ""
        self.since = 0
        self.text = ""


class Status:
    """Makes status.json. `write` gets the whole content and says whether it could begin to write it."""

    def __init__(self, roster: Roster, shared: Shared, write: Callable[[bytes], bool]) -> None:
        self._roster = roster
        self._shared = shared
        self._write = write
        self._shown: dict[Audited, _Shown] = {}
        self._written = 0
        self._told: tuple[object, ...] = ()

    def update(self, head: dict[str, Any], capture: Child, follow: Child) -> None:
        """Write if it is time to."""
        self._roster.forget_old()
        listed = [*self._roster.audited.values(), *self._roster.gone]
        texts = [self._text(audited) for audited in listed]
        header = self._shared.header()
        told = head, capture.pid, follow.pid, header["unwritten"] > 0, texts
        now = now_us()
        if told == self._told and now - self._written < AT_LEAST_SECONDS * (1 + (len(listed) > MANY)) * 1_000_000:
            return
        if len(self._shown) > len(listed):
            self._shown = {audited: self._shown[audited] for audited in listed}
        top = head | {
            "program": __version__,
            "updated": text(now),
            "capture": of_child(capture) | _journal(header),
            "follow": of_child(follow),
            "totals": self._totals(header),
        }
        content = json.dumps({"version": VERSION, **top})[:-1] + ', "namespaces": [\n' + ",\n".join(texts) + "\n]}\n"
        if self._write(content.encode()):
            self._written, self._told = now, told

    def _text(self, audited: Audited) -> str:
        """One namespace as JSON."""
        row = self._shared.row(audited.slot) if audited.slot >= 0 else audited.counters
        shown = self._shown.get(audited)
        if shown is None:
            shown = self._shown[audited] = _Shown()
        state = state_of(audited, row)
        message = audited.message or "; ".join(audited.found.values())
        message = message or (INACTIVE if state == counters.STATES[1] else "")
        rules = audited.rules_checked, audited.rules_repaired
        if (row, state, message, rules) == (shown.row, shown.state, shown.message, shown.rules):
            return shown.text
        if state != shown.state:
            shown.since = _since(audited) if not shown.state else now_us()
        shown.row, shown.state, shown.message, shown.rules = row, state, message, rules
        entry = {
            "netns": audited.netns,
            "inode": audited.inode,
            "state": state,
            "since": text(shown.since),
            "message": message or None,
        }
        if rules[0]:
            entry["rules"] = {"checked": _time(rules[0]), "repaired": _time(rules[1])}
        shown.text = json.dumps(entry | dict(zip(_COUNTED, row, strict=False)))
        return shown.text

    def _totals(self, header: dict[str, int]) -> dict[str, int]:
        slots = [a.slot for a in (*self._roster.audited.values(), *self._roster.draining.values()) if a.slot >= 0]
        sums = [sum(column) for column in zip(self._roster.past, *map(self._shared.row, slots), strict=True)]
        journal = {name: header[name] for name in ("journal_rows", "journal_bytes", "unwritten")}
        return {"namespaces": len(self._roster.audited), **dict(zip(_COUNTED, sums, strict=False)), **journal}


def line(roster: Roster, header: dict[str, int], children: Sequence[Child], refused: bool) -> str:
    """All of it in a line, for the service manager; which version this is, for who waits for it to be replaced."""
    attached = len(roster.attached())
    others = len(roster.audited) - attached
    told = [f"{attached} network namespace{'s' * (attached != 1)} audited"]
    told += [f"{others} cannot be"] * bool(others)
    told += ["audit.namespaces selects none that is there"] * (not roster.audited)
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
    return {"pid": child.pid, "restarts": child.restarts, "failed": _time(child.failed)}


def state_of(audited: Audited, row: tuple[int, ...]) -> str:
    """The state as `anetcon status` names it."""
    if audited.gone:
        return "gone"
    if audited.sockets is None:
        return "retrying"
    return counters.STATES[min(row[-1], len(counters.STATES) - 1)]


def _since(audited: Audited) -> int:
    return audited.gone or audited.attached or audited.noticed


def _journal(header: dict[str, int]) -> dict[str, Any]:
    """How far the journal is, and while it cannot be written since when, why, and what waits in memory."""
    told: dict[str, Any] = {"flushed": _time(header["flushed"]), "unwritten": None}
    if header["unwritten"]:
        told["unwritten"] = {
            "since": _time(header["unwritten_since"]),
            "reason": _reason(header),
            "waiting_rows": header["waiting_rows"],
        }
    return told


def _reason(header: dict[str, int]) -> str:
    return os.strerror(min(header["unwritten_error"], LARGEST_ERRNO))


def _time(us: int) -> str | None:
    return text(min(us, LATEST)) if us else None
