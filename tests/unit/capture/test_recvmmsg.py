"""Many datagrams in one call."""

from __future__ import annotations

import socket

import pytest

from anetcon.capture.recvmmsg import Slots
from anetcon.decode.ctnetlink import SLOT
from anetcon.netlink.dump import Exchange

RTM_GETLINK = 18


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


def test_the_sender_of_each_is_known() -> None:
    """What another program sent has that one's port, an answer of the kernel has 0, also in slots used before."""
    kinds = socket.NETLINK_USERSOCK, socket.NETLINK_USERSOCK, socket.NETLINK_ROUTE
    ours, other, asking = (socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, kind) for kind in kinds)
    with ours, other, asking:
        for each in (ours, other):
            each.bind((0, 0))
        slots = Slots(8)
        for _ in range(2):
            slots.used = 0
            other.sendto(bytes(20), ours.getsockname())
            Exchange(RTM_GETLINK, bytes(16), lambda _: None).send(asking)
            assert slots.receive(ours.fileno()) == 1
            answers = slots.receive(asking.fileno())
            assert answers > 0
            assert slots.senders[: slots.used].tolist() == [other.getsockname()[0]] + [0] * answers
            while slots.room() and slots.receive(asking.fileno()):
                pass


def test_a_bad_descriptor_is_an_error() -> None:
    """Anything but an empty socket is told."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        Slots(1).receive(-1)
