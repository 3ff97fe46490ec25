"""Many datagrams in one call."""

from __future__ import annotations

import socket

import pytest

from anetcon.capture.recvmmsg import Slots
from anetcon.decode.ctnetlink import SLOT


def test_datagrams_arrive_in_their_slots() -> None:
    """As many as there are, up to the room; a longer one is cut at the slot's size."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        slots = Slots(4)
        assert slots.receive(near.fileno()) == 0
        for size in (3, SLOT + 88, 5, 7, 9):
            far.send(bytes([size % 251]) * size)
        assert slots.receive(near.fileno()) == 4
        assert slots.room() == 0
        assert slots.lengths.tolist() == [3, SLOT, 5, 7]
        assert [slots.data[row, 0] for row in range(4)] == [3, (SLOT + 88) % 251, 5, 7]
        slots.used = 0
        assert slots.receive(near.fileno()) == 1
        assert slots.data[0, :9].tolist() == [9] * 9


def test_a_bad_descriptor_is_an_error() -> None:
    """Anything but an empty socket is told."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        Slots(1).receive(-1)
