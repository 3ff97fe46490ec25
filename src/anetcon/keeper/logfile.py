"""`anetcon-log`: appends what the daemon's processes say to the daemon's own log, each line with the time, in UTC.

`python -m anetcon.keeper.logfile --in FD --file PATH`; started by the keeper only, and only where there is such a file.
It is the one process that may wait for that disk. SIGHUP reopens the file; SIGTERM, which is also what it gets when the
keeper dies: write what was said until now and end.

What cannot be written is counted, and said as soon as something can be. While the file cannot be opened lines go to
standard error. Refuses to end for either. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from anetcon.errors import PermissionMissingError, StoreError
from anetcon.system import ondisk
from anetcon.system.clock import now_us, text
from anetcon.system.process import WITHHELD
from anetcon.system.readers import give_to_readers
from anetcon.system.syscalls import set_name

PIECE = 1 << 16
STDERR = 2
RETRY_SECONDS = 1.0
"""Between two attempts to open a file that could not be opened."""


def open_log(path: str) -> int:
    """A descriptor that appends to the file; made for the group of readers when it is new. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_CREAT, ondisk.FILE_MODE)
    give_to_readers(descriptor)
    return descriptor


def require_writable(path: str) -> None:
    """Raise an AnetconError when the daemon's own log cannot be written there; it exists afterwards."""
    try:
        os.close(open_log(path))
    except PermissionError as error:
        raise PermissionMissingError(
            f"cannot write the daemon's own log {path}: {error.strerror}; run the daemon as its owner, or give another "
            "by --log-file"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot write the daemon's own log {path}: {error.strerror}; give another by --log-file"
        ) from None


class LogFile:
    """The file. Lines that end are stamped and appended; `reopen` after it was renamed."""

    def __init__(self, path: str, now: Callable[[], int] = now_us) -> None:
        self.lost = 0
        self._path = path
        self._now = now
        self._why = ""
        self._descriptor: int | None = None
        self._not_before = 0.0
        self._rest = b""
        self.reopen()

    def reopen(self) -> None:
        """Open the path; when that fails what was open goes on, else standard error."""
        self._not_before = time.monotonic() + RETRY_SECONDS
        try:
            opened = open_log(self._path)
        except OSError as error:
            self._append([f"anetcon-log: cannot open {self._path}: {error.strerror}; trying again".encode()])
            return
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = opened

    def take(self, content: bytes) -> None:
        """What was said; the last line may not be whole."""
        if self._descriptor is None and time.monotonic() >= self._not_before:
            self.reopen()
        *lines, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > PIECE:
            lines, self._rest = [*lines, self._rest], b""
        if lines:
            self._append(lines)

    def close(self) -> None:
        """Write what was not whole either."""
        if self._rest:
            self._append([self._rest])
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, lines: list[bytes]) -> None:
        stamp = text(self._now()).encode()
        said = [f"anetcon-log: {self.lost} lines are missing here: {self._why}".encode()] if self.lost else []
        content = b"".join(b"%s %s\n" % (stamp, line) for line in [*said, *lines])
        descriptor = STDERR if self._descriptor is None else self._descriptor
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError as error:
            self.lost, self._why = self.lost + len(lines), error.strerror or str(error)
            with contextlib.suppress(OSError):  # no half line stays behind
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - (len(content) - len(view)))
        else:
            self.lost = 0


def drain(source: int, log: LogFile) -> None:
    """Take whatever is there now. Raises EOFError when nobody is left to say anything."""
    with contextlib.suppress(BlockingIOError):
        while content := os.read(source, PIECE):
            log.take(content)
        raise EOFError


def main(arguments: list[str]) -> int:
    """Write until told to end, or until nobody is left to say anything; the exit status."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    set_name("anetcon-log")
    os.umask(0o027)
    pipe, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WITHHELD)
    source, log = int(given["--in"]), LogFile(given["--file"])
    poll = select.poll()
    for descriptor in (source, pipe):
        poll.register(descriptor, select.POLLIN)
    told: set[int] = set()
    with contextlib.suppress(EOFError):
        while signal.SIGTERM not in told:
            poll.poll()
            told = set()
            with contextlib.suppress(BlockingIOError):
                told = set(os.read(pipe, 4096))
            drain(source, log)  # also before the end, and what was said before a rotation into the file it was said to
            if signal.SIGHUP in told:
                log.reopen()
    log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
