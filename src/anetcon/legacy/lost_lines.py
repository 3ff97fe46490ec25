"""The kernel's lines over a restart of rsyslog, and those of them that it lost, written where it would have.

Stopped, rsyslog loses one or two lines that imklog has just taken from the kernel (measured, at 500 lines a second: in
four of six restarts). /dev/kmsg has them still. They come in order, lot by lot: what is not in a log when a line of a
later lot is has been lost. Refuses to read a log from before the restart, and to wait longer than SECONDS for a line to
be there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

KMSG = Path("/dev/kmsg")
SECONDS = 30.0
"""Only where nothing is printed any more is it waited for so long."""
LOTS = 2
"""rsyslog writes the lines that it takes at once file by file: a later one may be in the first file while an earlier
one is yet to come into the second. Once a line is there that was printed after that, the lot is written."""
RECORD_BYTES = 8192


class KernelLine(NamedTuple):
    """One of the kernel's: microseconds since the boot, and the text."""

    at: int
    text: str


class Witness:
    """Sees what begins with one of `prefixes` from now on; the file is where such a line goes. `logs` are further
    files where it may be instead."""

    def __init__(self, prefixes: Mapping[str, Path], logs: Iterable[Path] = (), kmsg: Path = KMSG) -> None:
        self._prefixes = prefixes
        self._logs = {path: _size(path) for path in {*prefixes.values(), *logs}}
        self._lines: list[KernelLine] = []
        self._kmsg = os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._kmsg, 0, os.SEEK_END)

    def fill(self) -> int:
        """Append what was lost until now; how many lines."""
        self._read()
        missing, printed, lots = [*self._lines], len(self._lines), 0
        deadline = time.monotonic() + SECONDS
        while missing and lots < LOTS and time.monotonic() < deadline:
            time.sleep(0.02)
            self._read()
            there = self._written()
            if any(line.text in there for line in self._lines[printed:]):
                lots += 1
                self._read()
                printed = len(self._lines)  # what comes from now on is of another lot than what is there
            there = self._written()  # once more: a later line may have been in the second file when the first was read
            missing = [line for line in missing if line.text not in there]
        os.close(self._kmsg)
        for line in missing:
            self._append(line)
        return len(missing)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    record = os.read(self._kmsg, RECORD_BYTES)
                except BrokenPipeError:  # the ring was faster: what is gone is gone
                    continue
                self._lines += [line for line in [parsed(record)] if line.text.startswith(tuple(self._prefixes))]

    def _written(self) -> str:
        return "".join(_from(path, size) for path, size in self._logs.items())

    def _append(self, line: KernelLine) -> None:
        file = next(file for prefix, file in self._prefixes.items() if line.text.startswith(prefix))
        now, host = time.strftime("%b %e %H:%M:%S"), socket.gethostname().partition(".")[0]  # as rsyslog has it
        text = f"{now} {host} kernel: [{line.at // 10**6:5}.{line.at % 10**6:06}] {line.text}\n"
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.write(descriptor, text.encode(errors="replace"))
        finally:
            os.close(descriptor)


def parsed(record: bytes) -> KernelLine:
    """A record of /dev/kmsg: level, number, time, flags; the text; further lines of properties. Empty if it is none."""
    head, _, rest = record.decode(errors="replace").partition(";")
    fields: Sequence[str] = head.split(",")
    at = int(fields[2]) if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit() else 0
    return KernelLine(at, rest.partition("\n")[0].strip() if at else "")


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _from(path: Path, offset: int) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")
    return ""
