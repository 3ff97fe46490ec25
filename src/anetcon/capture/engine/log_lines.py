"""The LOG engines: lines that the kernel prints for our rules, which a child reads and passes on (`kernel_lines`)."""

from __future__ import annotations

import socket

from anetcon.capture.engine.base import Engine
from anetcon.capture.kernel_lines import KernelLines
from anetcon.capture.namespace import Namespace
from anetcon.capture.recording import Recording
from anetcon.gaps import Cause
from anetcon.link import messages
from anetcon.link.messages import Message
from anetcon.system.clock import Moment


class LogLines(Engine):
    """Lines come of all namespaces together."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        began = recording.began
        self._lines = KernelLines(
            recording.settings.lines,
            recording.pipeline,
            recording.header,
            after_crash=not began.continues,
            flushed=began.before,
        )
        recording.lasting.begin(None, Cause.LOG_ENGINE, began.origin)

    def hear(
        self,
        message: Message,
        namespace: Namespace | None,  # noqa: ARG002 - as every engine
        sockets: list[socket.socket],
        now: Moment,  # noqa: ARG002 - as every engine
    ) -> None:
        """Where lines come, and which names they carry the hashes of."""
        match message:
            case messages.Kmsg():
                self.recording.poll.watch(self._lines.listen(sockets.pop()), self._lines.read)
            case messages.Name(netns, inode):
                self._lines.name(netns, inode)

    def waiting(self) -> bool:
        """Lines that are not decoded yet, and rows."""
        return self._lines.waiting() or super().waiting()

    def flush(self, now: Moment) -> None:
        """Decode and write whatever there is."""
        self._lines.flush(now)

    def finish(self) -> None:
        """Take everything that waits."""
        self._lines.read_all(self.recording.clock())
