"""What a keeper that is replaced in place hands to the program after it: one record, as JSON in a memory file.

Both are the same process and most often not the same version, of either age. So names and meanings stay; a field that
comes to it has a default, which is how it was, and what a later version says more is passed over. `version` goes up
where that is not enough; who is handed a later one ends, and is started anew. Standard library only.
"""

from __future__ import annotations

from typing import NamedTuple

from anetcon.errors import AnetconError
from anetcon.gaps import Cause
from anetcon.link import settings
from anetcon.link.engine_kinds import CONNTRACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Record = TypeVar("Record")

VERSION = 1


class KeptNamespace(NamedTuple):
    """One that is audited, or was; the fields of `Audited` by their names there."""

    name: str
    inode: int
    noticed: int
    newborn: bool
    attached: int
    gone: int
    slot: int
    handed: bool
    cause: str = Cause.NOT_ATTACHED
    untracked: int | None = None
    untracked_seen: int = 0
    untracked_last: list[int] | None = None
    left: dict[str, int] | None = None
    descriptors: list[int] | None = None
    """Of one that is attached: its sockets."""
    out: list[int] | None = None
    """Of one that is out of hold: `Guard.state`."""
    message: str | None = None
    """Why it cannot be attached."""
    counters: list[int] | None = None
    """Of one that is gone: what its slot said last."""


class KeptRules(NamedTuple):
    """LOG rules that stand in a namespace; the fields of `Standing` by their names there."""

    inode: int
    wanted: list[Any]
    generation: int | None
    checked: int
    missing: int | None
    legacy: bool
    spelling: dict[str, Any]


class KeptChild(NamedTuple):
    """A child that goes on, with what it holds: the writer of a log, the reader of kernel lines."""

    descriptors: list[int]
    pid: int | None
    restarts: int
    path: str = ""


class Handover(NamedTuple):
    """All of it."""

    lock: int
    counters: int
    started: str
    hold: bool
    starts: bool
    channel: list[int]
    """The descriptor of the channel to capture, if there is one."""
    children: list[int | None]
    restarts: list[int]
    """Process ids of capture and follow, and how often each was restarted."""
    attached: list[KeptNamespace]
    retrying: list[KeptNamespace]
    draining: list[KeptNamespace]
    gone: list[KeptNamespace]
    past: list[int]
    """Sums of the counters of namespaces that have no slot any more."""
    rules: list[KeptRules]
    engine: str = CONNTRACK
    kernel_log: KeptChild | None = None
    log: KeptChild | None = None
    notify: list[str | None] | None = None
    writing: int | None = None
    """The child that writes status.json now."""
    version: int = 0
    """0: before it was counted."""

    def descriptors(self) -> list[int]:
        """Everything that is to stay open."""
        children = [descriptor for child in (self.kernel_log, self.log) if child for descriptor in child.descriptors]
        sockets = [descriptor for each in self.attached for descriptor in each.descriptors or ()]
        return [self.lock, self.counters, *self.channel, *children, *sockets]

    def write(self) -> int:
        """A new memory file that has it."""
        return settings.write(_plain(self))


def read(descriptor: int) -> Handover:
    """What a memory file has. Raises AnetconError."""
    found = settings.read(descriptor)
    if found.get("version", 0) > VERSION:
        raise AnetconError("a later version of the program handed over what this one does not know: start it anew")
    try:
        for name in ("attached", "retrying", "draining", "gone"):
            found[name] = [_record(KeptNamespace, each) for each in found[name]]
        found["rules"] = [_record(KeptRules, each) for each in found.get("rules", ())]
        for name in ("kernel_log", "log"):
            found[name] = found.get(name) and _record(KeptChild, found[name])
        return _record(Handover, found)
    except (KeyError, TypeError) as error:
        raise AnetconError(f"the program before did not hand over all that this one needs: {error}") from None


def _record(kind: type[Record], found: dict[str, Any]) -> Record:
    return kind(**{name: found[name] for name in kind._fields if name in found})  # type: ignore[attr-defined]


def _plain(value: Any) -> Any:
    """As JSON has it: a record is an object."""
    if hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
