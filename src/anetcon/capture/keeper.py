"""The keeper, as capture speaks with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from anetcon.capture.namespace import Namespace
from anetcon.gaps import Cause
from anetcon.link import messages
from anetcon.link.channel import Channel
from anetcon.link.messages import Message
from anetcon.system.report import WARNING, report


class KeeperLink:
    """The other end of the channel. When it is gone, so is whoever would be told."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def fileno(self) -> int:
        """Where it speaks."""
        return self._channel.fileno()

    def hello(self) -> None:
        """Capture works."""
        self._tell(messages.Hello())

    def heard(self) -> Iterator[tuple[Message, list[int]]]:
        """What it said that waits, with the descriptors. Raises EOFError when it is gone."""
        while True:
            try:
                received = self._channel.receive()
            except ValueError as error:
                report(f"{WARNING}the keeper said what this version does not know, and it is ignored: {error}")
                continue
            if received is None:
                return
            yield received

    def detached(self, slot: int) -> None:
        """A namespace is let go of."""
        self._tell(messages.Detached(slot))

    def tracks(self, namespace: Namespace, families: frozenset[str]) -> None:
        """Of which families connection tracking runs there without us."""
        self._tell(messages.Tracks(namespace.slot, sorted(families)))

    def remark(self, namespace: Namespace, cause: Cause, what: str | None) -> None:
        """Have `anetcon status` say something of a namespace, or no longer."""
        self._tell(messages.Remark(namespace.slot, cause, what))

    def flush(self) -> None:
        """Send what could not be sent at once."""
        with contextlib.suppress(OSError):
            self._channel.flush()

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(message)
