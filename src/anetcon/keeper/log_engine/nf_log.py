"""nf_log_all_netns: without it the kernel prints nothing for LOG rules in namespaces other than the first.

It is one for the whole machine and exists in the first namespace only. What it was is in the ledger from before it
is set until it is put back, so that a crash in between is made good by the next start, whatever its engine.

`Printing` adds since when it is not on, which `Rules` makes gaps of. Refuses to wait, and to fail: `problem` says what
stands against it.
"""

from __future__ import annotations

from collections.abc import Callable

from anetcon.link.log_switch import Switch
from anetcon.system.clock import now_us
from anetcon.system.report import ERROR, WARNING, report


class Printing:
    """Whether the kernel prints lines of other namespaces than the first, and since when it does not.

    `tell` hears of each time without, (from, to) in us: with to None when it begins, where it could not be ended.
    """

    def __init__(self, switch: Switch, tell: Callable[[int, int | None], None]) -> None:
        self.dark: int | None = None
        """Since when a lasting gap says that it prints nothing."""
        self._switch = switch
        self._tell = tell
        self._seen = 0
        """When it was last seen to."""

    def problem(self, inode: int) -> str | None:
        """What is in the way of a namespace's lines."""
        if self._seen == 0:
            self.look()
        return self._switch.problem if self.needed(inode) else None

    def needed(self, inode: int) -> bool:
        """Whether a namespace's lines depend on the switch."""
        return inode != self._switch.first

    def look(self) -> None:
        """See that the switch is on."""
        now = now_us()  # before it is read: it may be switched off right after
        flipped = self._switch.on()
        if self._switch.problem is not None:
            if self.dark is None:
                self.dark = self._seen or now
                self._tell(self.dark, None)
                report(ERROR + self._switch.problem)
            return
        if flipped:
            if self.dark is None:
                self.dark = self._seen or now
            report(f"{WARNING}nf_log_all_netns was switched off by somebody; it is on again")
        self.over()
        self._seen = now

    def over(self) -> None:
        """The time without has ended, if there was one."""
        if self.dark is not None:
            self._tell(self.dark, now_us())
            self.dark = None

    def put_back(self) -> None:
        """Leave the switch as it was found."""
        why = self._switch.put_back()
        if why is not None:
            report(WARNING + why)
        self._seen = 0
