"""Many frames a system call: out by `sendmmsg` from arrays prepared before, in by `recvmmsg` into slots made once.

An AF_PACKET socket past the queueing discipline. Sending is synchronous: when the call returns, the frames have
normally walked through the router already, in this process's time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anetcon.testbed.bed import Namespace
from tests.load.packets import Bytes

MESSAGE = np.dtype(
    [
        *(("name", "u8"), ("namelen", "u4"), ("pad1", "u4"), ("iov", "u8"), ("iovlen", "u8")),
        *(("control", "u8"), ("controllen", "u8"), ("flags", "i4"), ("pad2", "u4"), ("len", "u4"), ("pad3", "u4")),
    ]
)
VECTOR = np.dtype([("base", "u8"), ("len", "u8")])
LINK_ADDRESS = np.dtype([("family", "u2"), ("protocol", ">u2"), ("ifindex", "i4"), ("rest", "V12")])
AT_ONCE = 1024
"""The kernel takes no more a call."""
SOL_PACKET, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 263, 20, 23
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 64 << 20
ETH_P_ALL = 3

_libc = ctypes.CDLL(None, use_errno=True)


class Batch:
    """Frames ready to go: row i leaves through interface `interfaces[i]` with its first `lengths[i]` bytes."""

    def __init__(self, rows: Bytes, interfaces: NDArray[Any] | int, lengths: NDArray[Any] | None = None) -> None:
        self.rows = np.ascontiguousarray(rows)
        self._names, self._vectors, self._messages = _headers(self.rows)
        self._names["family"] = socket.AF_PACKET
        self._names["ifindex"] = interfaces
        if lengths is not None:
            self._vectors["len"] = lengths
        self._start = self._messages.ctypes.data

    def __len__(self) -> int:
        return len(self.rows)

    def send(self, wire: Wire, start: int = 0, stop: int | None = None) -> None:
        """Send rows `start` to `stop`; a frame the kernel has no room for is tried again."""
        stop = len(self) if stop is None else stop
        while start < stop:
            count = min(AT_ONCE, stop - start)
            sent = _libc.sendmmsg(wire.descriptor, ctypes.c_void_p(self._start + start * MESSAGE.itemsize), count, 0)
            if sent < 0:
                code = ctypes.get_errno()
                if code not in (errno.ENOBUFS, errno.EAGAIN, errno.EINTR):
                    raise OSError(code, os.strerror(code))
            start += max(sent, 0)


class Wire:
    """A packet socket in a namespace, for all its interfaces. `listening`, it also takes in every frame that arrives,
    up to `size` bytes of it, in calls of at most `slots`; what is sent is not shown."""

    def __init__(self, namespace: Namespace, *, listening: bool = False, slots: int = AT_ONCE, size: int = 128) -> None:
        protocol = socket.htons(ETH_P_ALL) if listening else 0
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.descriptor = self._socket.fileno()
        with namespace.inside():
            self.interfaces = {name: index for index, name in socket.if_nameindex()}
        self._slots = np.zeros((slots, size), np.uint8)
        self._names, self._vectors, self._messages = _headers(self._slots)

    def receive(self) -> tuple[Bytes, NDArray[Any], NDArray[Any]]:
        """What has arrived, without waiting: frames, their lengths, their interfaces. Views, valid until next time."""
        start = self._messages.ctypes.data
        count = _libc.recvmmsg(
            self.descriptor, ctypes.c_void_p(start), len(self._slots), socket.MSG_DONTWAIT, ctypes.c_void_p()
        )
        if count < 0:
            code = ctypes.get_errno()
            if code != errno.EAGAIN:
                raise OSError(code, os.strerror(code))
            count = 0
        return self._slots[:count], self._messages["len"][:count], self._names["ifindex"][:count]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _headers(rows: Bytes) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Link addresses, vectors and message headers for as many rows; the arrays refer to each other: keep all three."""
    names = np.zeros(len(rows), LINK_ADDRESS)
    vectors = np.zeros(len(rows), VECTOR)
    messages = np.zeros(len(rows), MESSAGE)
    vectors["base"], vectors["len"] = _places(rows), rows.shape[1]
    messages["name"], messages["namelen"] = _places(names), LINK_ADDRESS.itemsize
    messages["iov"], messages["iovlen"] = _places(vectors), 1
    return names, vectors, messages


def _places(array: NDArray[Any]) -> NDArray[np.uint64]:
    """Where each element (or row) of an array lies in memory."""
    return np.uint64(array.ctypes.data) + np.arange(len(array), dtype=np.uint64) * np.uint64(array.strides[0])
