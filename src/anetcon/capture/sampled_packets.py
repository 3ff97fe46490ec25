"""Packets that conntrack calls invalid and that left a namespace: rows of origin packet, of the sample that the kernel
logs to the socket the keeper opened (`keeper.sampling`). Each is a packet, no connection: nothing was translated.

They come a tenth of a second late, and some hundred a second of a namespace at most: the rule limits them.
"""

from __future__ import annotations

import socket

import numpy as np

from anetcon.capture.namespace import Namespace
from anetcon.capture.pipeline import Pipeline
from anetcon.decode.columns import COUNTERS, Columns
from anetcon.decode.nflog import Packet, packets
from anetcon.netlink.dump import heard
from anetcon.record import EndReason, Origin, Reply, StartIs
from anetcon.system.clock import Moment

READS = 16
"""Datagrams taken at a turn, of 64 KiB at most; the rest waits for the next."""


def read(sample: socket.socket, namespace: Namespace, pipeline: Pipeline, now: Moment) -> None:
    """Take what waits in the socket of a namespace's packets."""
    found: list[Packet] = []
    unread = 0
    for _ in range(READS):
        try:
            some, damaged = packets(heard(sample))
        except OSError:  # nothing waits, or what did was dropped: they are a sample
            break
        found += some
        unread += damaged
    if found or unread:
        pipeline.take_packets(rows(found, pipeline.codes[namespace], now.wall), unread, namespace, now)


def rows(found: list[Packet], code: int, now: int) -> Columns:
    """A row each."""
    out = Columns(len(found))
    out.rows = len(found)
    of = out.of
    for side in ("src", "dst"):
        addresses = np.frombuffer(b"".join(getattr(each, f"{side}_ip") for each in found), np.uint8).reshape(-1, 16)
        of[f"{side}_ip"][:] = of[f"nat_{side}_ip"][:] = addresses
        of[f"{side}_port"][:] = of[f"nat_{side}_port"][:] = [getattr(each, f"{side}_port") for each in found]
    for name in ("family", "proto", "mark"):
        of[name][:] = [getattr(each, name) for each in found]
    of["netns"][:], of["start"][:], of["end"][:] = code, now, now
    of["packets_out"][:], of["bytes_out"][:] = 1, [each.size for each in found]
    of["end_reason"][:], of["origin"][:] = EndReason.UNKNOWN, Origin.PACKET
    of["reply"][:], of["start_is"][:] = Reply.NONE, StartIs.BEGIN
    for name in COUNTERS:
        out.given[name][:] = True
    return out
