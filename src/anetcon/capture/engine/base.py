"""What an engine does: it learns connections from somewhere and adds them to the pipeline.

The loop calls it. An engine watches descriptors of its own (`recording.poll`), adds rows (`recording.pipeline`), and
tells what it misses (`recording.lasting`, `recording.journals`). It waits for nothing.
"""

from __future__ import annotations

import socket

from anetcon.capture.namespace import Namespace
from anetcon.capture.recording import Recording
from anetcon.gaps import Gap
from anetcon.link.messages import Message
from anetcon.system.clock import Moment


class Engine:
    """One that learns nothing. Each has of these what it needs."""

    lists = False
    """Whether what is open in conntrack's tables is recorded: at attach, and when a namespace is gone."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def attach(self, namespace: Namespace, now: Moment, *, known: bool) -> None:
        """A namespace is attached, and is to be recorded. `known`: some of its connections may be on record."""

    def opened(self, namespace: Namespace, found: int) -> None:
        """So many connections were open in it when it was attached."""

    def hear(self, message: Message, namespace: Namespace | None, sockets: list[socket.socket], now: Moment) -> None:
        """The keeper says something, of a namespace or of none, and hands these sockets over."""

    def lost(self, namespace: Namespace, gap: Gap, now: Moment) -> None:
        """The keeper tells a gap of this namespace, which is on record."""

    def read(self, namespace: Namespace, now: Moment) -> None:
        """Take what waits of a namespace: it is about to be let go of."""

    def forget(self, namespace: Namespace) -> None:
        """Expect nothing more of a namespace."""

    def gone(self, namespace: Namespace, now: Moment, *, listed: bool) -> None:
        """A namespace is no more; `listed`: what was open in it then is on record."""

    def release(self, namespace: Namespace, now: Moment) -> None:
        """A namespace is let go of, whatever for; its sockets are open still."""

    def tick(self, now: Moment) -> None:
        """About a second has passed."""

    def waiting(self) -> bool:
        """Whether a flush would write something."""
        return self.recording.pipeline.waiting()

    def flush(self, now: Moment) -> None:
        """Have everything written that was learnt."""
        self.recording.pipeline.flush(now)

    def finish(self) -> None:
        """Take what cannot wait for the next capture: this one reads each namespace again, flushes, and ends."""
