"""One network namespace that is audited: which it is, its state, and everything the keeper has of it.

    FOUND --> REFUSED          it cannot be attached: a gap lasts, and the keeper tries again every period
      |  \\       |
      |   v      v
      |   ATTACHED             its sockets are open
      |      |
      |      v
      |   DRAINING             let go of; capture has not yet, so its slot is its own
      v      v
        GONE                   listed for a while

Other parts keep what is theirs here (`attachment`, `rules`, `shown`), so that it goes with the namespace. Refuses to
open, send or report anything.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NamedTuple

from anetcon.gaps import Cause, Gap
from anetcon.keeper.shown import Shown
from anetcon.link import counters
from anetcon.link.settings import DEFAULT
from anetcon.system.printable import recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from anetcon.keeper.attach import Attachment
    from anetcon.keeper.log_engine.standing import Standing
    from anetcon.keeper.namespaces import Seen

REMARKS_MOST, REMARK_LONGEST = 16, 1000
"""Of what capture has to say of a namespace: how many things, and characters of each."""


class Stage(Enum):
    """Where a namespace is on its way; see the module."""

    FOUND = "found"
    REFUSED = "refused"
    ATTACHED = "attached"
    DRAINING = "draining"
    GONE = "gone"


FOLLOWING = {
    Stage.FOUND: {Stage.REFUSED, Stage.ATTACHED, Stage.GONE},
    Stage.REFUSED: {Stage.REFUSED, Stage.ATTACHED, Stage.GONE},
    Stage.ATTACHED: {Stage.DRAINING},
    Stage.DRAINING: {Stage.GONE},
    Stage.GONE: set[Stage](),
}
"""Which state may follow which."""


class Refusal(NamedTuple):
    """Why a namespace is not attached, and the cause of the gap that lasts until it is."""

    why: str
    cause: Cause


class Namespace:
    """One. Times in microseconds."""

    def __init__(self, path: Path | None, seen: Seen) -> None:
        self.path = path
        """Where it is entered; None: the daemon's own."""
        self.netns = recorded(self.name)
        """The name in records, and wherever else it is written or sent: printable text, whatever bytes a file has."""
        self.seen = seen
        self.state = Stage.FOUND
        self.since = seen.noticed
        """Since when it is there, attached, or gone."""
        self.slot = -1
        self.attachment: Attachment | None = None
        self.refusal: Refusal | None = None
        self.handed = False
        """Whether a capture that had begun to work was handed the sockets."""
        self.anew = False
        """Whether it was attached until this moment, under another engine."""
        self.counters: tuple[int, ...] = (0,) * len(counters.SLOT)
        """What its slot said last, once it has none."""
        self.remarks: dict[str, str] = {}
        """What capture has to say of it, by cause."""
        self.rules: Standing | None = None
        """Its LOG rules."""
        self.shown = Shown()
        """What status.json says of it."""

    @property
    def name(self) -> str:
        """That of its file."""
        return DEFAULT if self.path is None else self.path.name

    @property
    def inode(self) -> int:
        """Which one it is, of those that have the name one after the other."""
        return self.seen.inode

    @property
    def is_attached(self) -> bool:
        """Whether it is recorded, and not waiting for anything."""
        return self.state is Stage.ATTACHED

    def move(self, folder: str) -> None:
        """Its file is in this folder now."""
        self.path = self.path and Path(folder, self.path.name)

    def continues(self, handed: bool, noticed: int) -> None:
        """It was attached until now, under another engine, and let go of at `noticed`."""
        self.anew, self.handed, self.seen = True, handed, self.seen._replace(noticed=noticed)
        self.since = noticed

    def refuse(self, refusal: Refusal) -> None:
        """It cannot be attached. The cause of the gap that lasts stays the first."""
        self._become(Stage.REFUSED)
        self.refusal = refusal if self.refusal is None else self.refusal._replace(why=refusal.why)

    def attach(self, slot: int, inode: int, attachment: Attachment, now: int) -> Gap | None:
        """It is attached from now on; the gap that ends with it, where it was refused."""
        ended = self.gap(now) if self.refusal else None
        self._become(Stage.ATTACHED)
        self.refusal, self.seen = None, self.seen._replace(inode=inode)
        self.slot, self.attachment, self.since = slot, attachment, now
        return ended

    def hand_over(self, works: bool) -> None:
        """A capture was handed its sockets, which `works` already or will."""
        self.handed = self.handed or works

    def heard_of(self) -> None:
        """Capture has begun to work: it has what it was handed."""
        self.handed = self.state is Stage.ATTACHED

    def let_go(self, now: int) -> None:
        """Close everything at once: a socket of ours would keep the namespace alive."""
        self._become(Stage.GONE if self.attachment is None else Stage.DRAINING)
        self.since = now
        if self.attachment is not None:
            self.attachment.close()
            self.attachment = None

    def drained(self, last: tuple[int, ...]) -> None:
        """Capture has let go of it: its slot, which said that last, is free."""
        self._become(Stage.GONE)
        self.counters, self.slot = last, -1

    def restore(self, state: Stage, since: int, refusal: Refusal | None) -> None:
        """It was so under the program before this one."""
        self.state, self.since, self.refusal = state, since, refusal

    def resume(self, slot: int, handed: bool, last: list[int] | None, attachment: Attachment | None) -> None:
        """And so are its counters, and the sockets that were opened then."""
        self.slot, self.handed, self.counters = slot, handed, tuple(last or self.counters)
        self.attachment = attachment

    def remark(self, cause: str, what: str | None) -> None:
        """Capture has this to say of it, or (None) no longer."""
        self.outdated()
        self.remarks.pop(cause[:REMARK_LONGEST], None)
        if what is not None and len(self.remarks) < REMARKS_MOST:
            self.remarks[cause[:REMARK_LONGEST]] = what[:REMARK_LONGEST]

    def forget_remarks(self) -> None:
        """There is another capture."""
        self.outdated()
        self.remarks.clear()

    def outdated(self) -> None:
        """Something of it changed that status.json shows."""
        self.shown.outdated()

    def keep_rules(self, standing: Standing | None) -> None:
        """These are its LOG rules."""
        self.rules = standing

    def gap(self, until: int | None) -> Gap:
        """That nothing was recorded of it since it was noticed."""
        return Gap(self.netns, self.seen.noticed, until, self.refusal.cause if self.refusal else Cause.NOT_ATTACHED)

    def _become(self, state: Stage) -> None:
        if state not in FOLLOWING[self.state]:
            raise AssertionError(f"{self.netns} is {self.state.value} and cannot be {state.value}")
        self.state = state
        self.outdated()
