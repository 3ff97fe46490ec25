"""The channel between keeper and capture: messages, one a packet, with file descriptors beside them.

Both ends use it. Nothing here waits: what does not fit is queued and sent by `flush` when the socket is writable.
Refuses packets over 64 KiB. Standard library only.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

from anetcon.link import messages
from anetcon.link.messages import Message

MAX_PACKET = 1 << 16
MAX_DESCRIPTORS = 8
_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._queue: deque[tuple[bytes, list[int]]] = deque()

    @classmethod
    def of(cls, descriptor: int) -> Channel:
        """The end that was inherited as a descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """For poll: readable when a message or the end is there."""
        return self._socket.fileno()

    @property
    def queued(self) -> int:
        """Messages that wait until the socket is writable."""
        return len(self._queue)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send or queue; the caller may close its descriptors at once. OSError when the other end is closed."""
        packet = messages.encode(message)
        if len(packet) > MAX_PACKET:
            raise ValueError(f"packet of {len(packet)} bytes, at most {MAX_PACKET}")
        if self._queue or not self._send(packet, descriptors):
            self._queue.append((packet, [os.dup(descriptor) for descriptor in descriptors]))

    def flush(self) -> None:
        """Send what is queued, as far as it fits. OSError when the other end is closed."""
        while self._queue and self._send(*self._queue[0]):
            for descriptor in self._queue.popleft()[1]:
                os.close(descriptor)

    def _send(self, packet: bytes, descriptors: Sequence[int]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._socket.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        return True

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors, None when there is none now. EOFError when the other end is closed,
        ValueError when it is none."""
        try:
            packet, ancillary, flags, _ = self._receive()
        except BlockingIOError:
            return None
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not packet:
            raise EOFError("the other end of the channel is closed")
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("truncated packet, or no descriptor is free")
            message = messages.decode(packet)
        except ValueError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return message, list(descriptors)

    def _receive(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        try:
            return self._socket.recvmsg(MAX_PACKET, _SPACE, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # told once, before what is queued, when the other end died with unread messages
            return self._socket.recvmsg(MAX_PACKET, _SPACE, socket.MSG_CMSG_CLOEXEC)

    def close(self) -> None:
        """Close this end and forget what is queued."""
        for _, descriptors in self._queue:
            for descriptor in descriptors:
                os.close(descriptor)
        self._queue.clear()
        self._socket.close()
