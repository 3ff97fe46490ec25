"""What the capture before this one left, and so where this one's record begins."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from anetcon.gaps import Cause, Gap
from anetcon.journal.read import ended_cleanly, last_flush
from anetcon.journal.write import segments
from anetcon.system.clock import Moment


class Beginning(NamedTuple):
    """`started`: when this one did; `before`: when one wrote for the last time, None: there is nothing to be read."""

    started: Moment
    before: int | None
    restarted: bool
    """Whether the keeper ran on meanwhile."""
    continues: bool
    """Whether nothing was missed in between: the one before ended in order, and the sockets stayed open."""
    first: bool
    """Whether there was none; of a journal that cannot be read back there may be a store."""

    @classmethod
    def look(cls, journal: Path, started: Moment, *, restarted: bool) -> Beginning:
        """At a journal of connections."""
        before = last_flush(journal)
        return cls(started, before, restarted, restarted and ended_cleanly(journal), not segments(journal))

    @property
    def origin(self) -> int:
        """From when on this capture, or one that it continues, recorded."""
        return self.before if self.continues and self.before is not None else self.started.wall

    @property
    def written(self) -> int:
        """Up to when whoever was before this one wrote."""
        return self.started.wall if self.before is None else min(self.before, self.started.wall)

    def gaps(self) -> list[Gap]:
        """The time since the last flush; when the clock was set back meanwhile, what came twice is a gap as well."""
        before, started = self.before, self.started.wall
        if self.continues:
            return []
        cause = Cause.CAPTURE_DOWN if self.restarted else Cause.DAEMON_DOWN
        if before is None or before <= started:
            return [Gap(None, before, started, Cause.NEVER_RECORDED if before is None else cause)]
        return [Gap(None, started, started, cause), Gap(None, started, before, Cause.CLOCK_STEP)]
