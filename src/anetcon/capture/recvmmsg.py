"""Many datagrams in one system call, into slots allocated once (recvmmsg(2), through ctypes)."""

from __future__ import annotations

import ctypes
import os

import numpy as np

from anetcon.decode.ctnetlink import SLOT

MSG_DONTWAIT = 0x40  # bits/socket.h

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]

# struct mmsghdr and struct iovec of a 64-bit machine (sys/socket.h, sys/uio.h), struct sockaddr_nl (linux/netlink.h)
_MMSGHDR = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "flags", "len"],
        "formats": ["u8", "u4", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 48, 56],
        "itemsize": 64,
    }
)
_HEADER = _MMSGHDR.itemsize
_IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
_NAME = np.dtype([("family", "u2"), ("pad", "u2"), ("pid", "u4"), ("groups", "u4")])


class Slots:
    """Room for `count` datagrams of up to SLOT bytes; the first `used` are filled. `data` is (count, SLOT) bytes.

    A longer datagram arrives cut: its own length field then disagrees, and the decoder counts it as undecodable.
    `senders` are netlink's ports: the kernel's is 0, and no program can have it.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.used = 0
        self.data = np.zeros((count, SLOT), np.uint8)
        self._vector = np.zeros(count, _IOVEC)
        self._vector["base"] = self.data.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(SLOT)
        self._vector["len"] = SLOT
        self._headers = np.zeros(count, _MMSGHDR)
        self._headers["iov"] = self._vector.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(_IOVEC.itemsize)
        self._headers["iovlen"] = 1
        self._names = np.zeros(count, _NAME)
        self._headers["name"] = self._names.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(_NAME.itemsize)
        self._headers["namelen"] = _NAME.itemsize  # a netlink socket writes the same back
        self.senders = self._names["pid"]
        self.lengths = self._headers["len"]
        self._address = self._headers.ctypes.data

    def room(self) -> int:
        """How many datagrams still fit."""
        return self.count - self.used

    def receive(self, descriptor: int) -> int:
        """Take what waits in a socket, as far as there is room; the number taken. Never blocks.

        Raises OSError for anything but an empty socket.
        """
        start = self._address + self.used * _HEADER
        taken: int = _recvmmsg(descriptor, start, self.count - self.used, MSG_DONTWAIT, None)
        if taken < 0:
            error = ctypes.get_errno()
            if error == 11:  # EAGAIN
                return 0
            raise OSError(error, os.strerror(error))
        self.used += taken
        return taken
