"""Lines of a process to the daemon's own log, which is its standard error: `report` what an operator has to know, and
`debug` what tells how it came to that, which costs nearly nothing while nobody wants it.

A line begins with its level, which whoever writes it chooses: `report(f"{WARNING}cannot ...")`. The systemd journal is
given it, as sd-daemon(3) has it; a terminal and a file get the words alone. Whatever names are in it, it stays one line
and does nothing to a terminal.

Refuses to wait: a line that is not taken at once is dropped, and the next that is taken says how many were.
"""

from __future__ import annotations

import os
import select

from anetcon.system.printable import visible

MOST = 4096
"""Bytes that a pipe takes whole or not at all (PIPE_BUF)."""

ERROR, WARNING, NOTICE, INFO, DEBUG = (f"<{number}>" for number in range(3, 8))
"""Something is not recorded, or not done; it may come to that; it is well again; for the record; how it came to that. A
line without a level is for the record."""
_LEVELS = (ERROR, WARNING, NOTICE, INFO, DEBUG)


def is_journal(descriptor: int) -> bool:
    """Whether a descriptor is the systemd journal: systemd names it by device and inode (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def said(name: str, line: str, descriptor: int = 2) -> str:
    """A line of `name` as it is written to a descriptor, whatever is in it; to the journal with its level."""
    level, words = (line[:3], line[3:]) if line.startswith(_LEVELS) else (INFO, line)
    return (level if is_journal(descriptor) else "") + visible(f"{name}: {words}")


class Reporter:
    """The one of a process, whose `name` every line begins with."""

    def __init__(self, name: str, descriptor: int = 2) -> None:
        self.name = name
        self.debugging = False
        self.dropped = 0
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def introduce(self, name: str, debugging: bool = False) -> None:
        """Say who speaks, and whether `debug` is wanted."""
        self.name, self.debugging = name, debugging

    def report(self, line: str) -> None:
        """One line."""
        if self.dropped:
            line = f"{line} ({self.dropped} lines before this one were dropped: nobody took them)"
        if self._say(f"{said(self.name, line, self._descriptor)}\n".encode()):
            self.dropped = 0
        else:
            self.dropped += 1

    def debug(self, line: str, *values: object) -> None:
        """One line, made of `line` and `values` by `%`, if that much is wanted."""
        if self.debugging:
            self.report(f"{DEBUG}debug: {line % values if values else line}")

    def _say(self, content: bytes) -> bool:
        pieces = [content[at : at + MOST] for at in range(0, len(content), MOST)]
        try:
            for piece in pieces:
                if not self._poll.poll(0):
                    return False
                os.write(self._descriptor, piece)
        except OSError:
            return False
        return True


reporter = Reporter("anetcon")
report, debug = reporter.report, reporter.debug
