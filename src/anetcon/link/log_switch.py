"""nf_log_all_netns, the one switch of the machine: set where LOG rules are to print, and put back."""

from __future__ import annotations

import contextlib
from pathlib import Path

from anetcon.link.capabilities import LOG_SWITCH
from anetcon.link.ledger import Ledger, LogSwitch
from anetcon.system.netns import Home

SWITCH = LOG_SWITCH
FIRST = Path("/proc/1/ns/net")


class Switch:
    """The one switch. `problem` is why other namespaces than the first log nothing, None when they do."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self.problem: str | None = None
        self._home = home
        self._ledger = ledger
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
                    self._note(LogSwitch(found))
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
        except OSError as error:
            return f"cannot set {SWITCH.name} back to {found}: {error.strerror}"
        with contextlib.suppress(OSError):  # a full disk: then the next start sets it once more
            self._ledger.strike(LogSwitch(found))
        return None

    def found(self) -> str | None:
        """What it was before we set it, where we did since this boot."""
        noted = self._ledger.of(LogSwitch)
        return noted[0].found if noted else None

    def _note(self, entry: LogSwitch) -> None:
        """Not set unless it is known what to put back. Raises OSError."""
        try:
            self._ledger.note(entry)
        except OSError:
            self._ledger.forget(entry)
            raise
