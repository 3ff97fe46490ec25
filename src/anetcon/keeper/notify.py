"""What the service manager is told (sd_notify(3)): that the record runs, how it is, and that capture turns.

`NOTIFY_SOCKET` and `WATCHDOG_USEC` are taken out of the environment, so that no child speaks for us; the program that
replaces this one in place gets them with the rest of its state. Without the first nobody is told anything.

Refuses to wait: what is not taken at once is said again at the next tick.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import MutableMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

FEEDINGS = 4
"""As many times the watchdog is fed in the time after which it bites."""


class Notifier:
    """One of the keeper. `tick` is to be called often, `reloading` and `stopping` when it is so."""

    def __init__(self, environment: MutableMapping[str, str], state: list[str | None] | None = None) -> None:
        found = [environment.pop(name, None) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")]
        self._given: list[str | None] = state or found[:2]
        path, period = self._given
        self._address = _address(path)
        self._every = _seconds(period) / FEEDINGS
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._ready = self._turned = False
        self._fed = -self._every
        self._status = self._reloading = ""

    def state(self) -> list[str | None]:
        """What the program that replaces this one needs to know."""
        return self._given

    def waits(self) -> bool:
        """Whether somebody is still to be told that the record runs: else nobody need find out."""
        return self._socket is not None and not self._ready

    def tick(self, ready: bool, turned: bool, status: str) -> None:
        """Tell what is new. `ready`: the record runs; `turned`: capture went on since the last tick."""
        if self._socket is None:
            return
        if self._reloading:
            self._tell_reloading()
        ready = ready and not self._reloading  # in their order
        self._turned = self._turned or turned
        feed = self._every and self._turned and time.monotonic() >= self._fed + self._every
        words = ["READY=1"] * (ready and not self._ready)
        words += [f"STATUS={status}"] * (status != self._status)
        words += ["WATCHDOG=1"] * bool(feed)
        if words and self._tell("\n".join(words)):
            self._ready, self._status = self._ready or ready, status
            if feed:
                self._turned, self._fed = False, time.monotonic()

    def reloading(self) -> None:
        """The configuration is read again; `tick` says when that is done."""
        self._ready = False
        self._reloading = f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
        self._tell_reloading()

    def _tell_reloading(self) -> None:
        if self._tell(self._reloading):
            self._reloading = ""

    def stopping(self) -> None:
        """The end begins; nothing is told after this."""
        self._tell("STOPPING=1\nSTATUS=Stopping")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, words: str) -> bool:
        """Whether it was taken."""
        if self._socket is not None and self._address is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(words.encode(), self._address)
                return True
        return False


def _address(path: str | None) -> str | None:
    """A path, or a name in the abstract namespace; None for what this does not know, such as vsock."""
    if path is None or path[:1] not in ("/", "@") or len(path) < 2:
        return None
    return "\0" + path[1:] if path[0] == "@" else path


def _seconds(microseconds: str | None) -> float:
    """0 for what is not a number."""
    return int(microseconds) / 1e6 if microseconds and microseconds.isascii() and microseconds.isdigit() else 0.0
