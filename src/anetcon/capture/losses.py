"""The drop counter of each namespace's socket of events: what the kernel had no room for.

While the kernel does not hold ends back, that is what was lost; in hold it counts refusals, and tries again.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anetcon.capture.namespace import Namespace
from anetcon.system.clock import Moment

SO_MEMINFO = 55  # asm-generic/socket.h; nine u32, the last is the drop counter (linux/sock_diag.h)


class Loss(NamedTuple):
    """So many were dropped between two looks."""

    start: int
    end: Moment
    number: int


@dataclass
class _Look:
    """The last one: when, by the wall clock, and what the counter said; and when it was last seen to have moved, by the
    steady clock (0: never)."""

    at: int
    drops: int
    moved: int


class Losses:
    """Of all namespaces; `drops` is the counter as it is published, by slot."""

    def __init__(self, drops: NDArray[np.uint64], clock: Callable[[], Moment]) -> None:
        self._published = drops
        self._clock = clock
        self._looks: dict[Namespace, _Look] = {}

    def begin(self, namespace: Namespace, looked: int, now: Moment) -> None:
        """From what the capture before this one saw, `looked` at then; or from none."""
        moved = now.steady if namespace.resumed else 0  # maybe: nobody looked since
        self._looks[namespace] = _Look(looked, int(self._published[namespace.slot]), moved)

    def look(self, namespace: Namespace, now: Moment) -> Loss | None:
        """What was dropped since the last look, and publish it."""
        look, drops = self._looks[namespace], dropped(namespace)
        before, look.at = look.at, now.wall
        if drops == look.drops:
            return None
        now = self._clock()  # after the counter was read: whoever was held up before that lost more meanwhile
        number, look.drops, look.moved = (drops - look.drops) & 0xFFFFFFFF, drops, now.steady
        self._published[namespace.slot] = drops
        return Loss(before, now, number)

    def moved(self, namespace: Namespace) -> bool:
        """Whether the counter has moved; what it says is published by none, so that the next capture sees the loss."""
        look = self._looks[namespace]
        before, look.drops = look.drops, dropped(namespace)
        return before != look.drops

    def count(self, namespace: Namespace) -> int:
        """What the counter said."""
        return self._looks[namespace].drops

    def latest(self, namespace: Namespace) -> int:
        """When it was last seen to have moved, by the steady clock; 0: never."""
        return self._looks[namespace].moved

    def forget(self, namespace: Namespace) -> None:
        """It is gone."""
        del self._looks[namespace]


def dropped(namespace: Namespace) -> int:
    """The counter."""
    packed = namespace.events.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    return int(struct.unpack("=9I", packed)[8])
