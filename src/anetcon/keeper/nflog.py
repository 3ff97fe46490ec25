"""nf_log_all_netns: without it the kernel prints nothing for LOG rules in namespaces other than the first.

It is one for the whole machine and exists in the first namespace only. What it was is kept in a file of the store, from
before it is set until it is put back, so that a crash in between is made good by the next start, whatever its engine.

`Printing` adds since when it is not on, which `Rules` makes gaps of. Refuses to wait, and to fail: `problem` says what
stands against it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from anetcon.keeper import capabilities, files
from anetcon.keeper.attach import Home
from anetcon.keeper.clock import now_us
from anetcon.keeper.report import ERROR, WARNING

SWITCH = capabilities.LOG_SWITCH
FIRST = Path("/proc/1/ns/net")


class Switch:
    """The one switch. `problem` is why other namespaces than the first log nothing, None when they do."""

    def __init__(self, home: Home, kept: Path) -> None:
        self.problem: str | None = None
        self._home = home
        self._kept = kept
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._place = None if SWITCH.exists() else FIRST
        self.first: int | None = home.inode if self._place is None else None
        """Inode of the first namespace, which logs without it; None when that cannot be told."""

    def on(self) -> bool:
        """See that it is on; whether it was off though we had switched it on."""
        try:
            with self._home.entered(self._place) as self.first:
                found = SWITCH.read_text().strip()
                ours = self.found() is not None
                if not ours:
                    files.replace(self._kept, json.dumps({"boot_id": self._boot, "found": found}).encode())
                if found == "0":
                    SWITCH.write_text("1")
        except OSError as error:
            self.problem = (
                f"its LOG rules would print nothing, since {SWITCH.name} cannot be set ({error.filename}: "
                f"{error.strerror}): run the daemon in the machine's first network namespace, as root, "
                "or give it CAP_SYS_PTRACE"
            )
            return False
        self.problem = None
        return ours and found == "0"

    def put_back(self) -> str | None:
        """Set it to what was found, if we had set it; why that failed."""
        found = self.found()
        if found is None:
            return None
        try:
            with self._home.entered(self._place):
                SWITCH.write_text(found)
            self._kept.unlink()
        except OSError as error:
            return f"cannot set {SWITCH.name} back to {found}: {error.strerror}"
        return None

    def found(self) -> str | None:
        """What it was before we set it, where we did since this boot."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._kept.read_bytes())
            if kept["boot_id"] == self._boot:
                return str(kept["found"])
        return None


class Printing:
    """Whether the kernel prints lines of other namespaces than the first, and since when it does not.

    `tell` hears of each time without, (from, to) in us: with to None when it begins, where it could not be ended.
    """

    def __init__(self, switch: Switch, tell: Callable[[int, int | None], None], report: Callable[[str], None]) -> None:
        self.dark: int | None = None
        """Since when a lasting gap says that it prints nothing."""
        self._switch = switch
        self._tell = tell
        self._report = report
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
                self._report(ERROR + self._switch.problem)
            return
        if flipped:
            if self.dark is None:
                self.dark = self._seen or now
            self._report(f"{WARNING}nf_log_all_netns was switched off by somebody; it is on again")
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
            self._report(WARNING + why)
        self._seen = 0
