"""A mixed load: many routers, IPv4 and IPv6, TCP with data and real closes, UDP, ICMP, floating IPs in both directions,
marks; tens of thousands of connections a second.

Frames are prepared before (`lives`) and sent in blocks of connections, step by step, so that each connection walks
through its whole life and conntrack decides what it was. What goes out is answered here by an echo. The count is exact
and has every detail: each first packet is recognized when it has come through, with the source it was given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anetcon.testbed.topology import NOBODY, Router
from tests.load import kernel
from tests.load.echo import Group, answers, first_packets, groups
from tests.load.lives import KINDS, STEPS, Kind, Packet, segments, truth, widened
from tests.load.packets import Bytes, frames, mac_bytes
from tests.load.wire import Batch, Wire

BLOCK = 4096
WIDTH = 144
"""Bytes of the longest frame: IPv6, TCP, data."""
PATIENCE = 1.0
"""Seconds after which frames that have not come through are given up: on a busy machine they take their time."""

TIMEOUTS = {
    **{f"tcp_timeout_{state}": 1 for state in ("time_wait", "close")},
    **{f"tcp_timeout_{state}": 5 for state in ("syn_sent", "syn_recv", "established", "fin_wait", "last_ack")},
    **dict.fromkeys(("udp_timeout", "udp_timeout_stream", "icmp_timeout", "icmpv6_timeout"), 2),
    "tcp_loose": 0,
}
"""Short, so that connections end while the load runs; and the middle of a connection never counts as a new one."""


@dataclass
class _Outbox:
    """What one side sends in one step: rows of block b are `bounds[b]` to `bounds[b + 1]`."""

    wire: Wire
    batch: Batch
    bounds: list[int]
    inside: bool


class Mixed:
    """Prepares `connections` through `routers` (each with a floating address); `send` makes them."""

    def __init__(self, routers: Sequence[Router], connections: int, seed: int = 1, block: int = BLOCK) -> None:
        self.routers = routers
        self.truth = truth(routers, connections, seed, block)
        self.blocks = -(-connections // block)
        self._block = block
        for router in routers:
            router.nobody_inside(f"10.{router.number}.128.0/17", f"2001:db8:{router.number}:1::/64")
            router.nobody_outside()
            router.kernel_settings(TIMEOUTS)
        self._world = Wire(routers[0].world.namespace, listening=True, size=WIDTH)
        self._wires = [Wire(router.inside) for router in routers]
        self._steps: list[list[_Outbox]] = [self._prepare(step) for step in range(1, STEPS + 1)]

    def __len__(self) -> int:
        return len(self.truth.kind)

    def __enter__(self) -> Mixed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for wire in (self._world, *self._wires):
            wire.close()

    # ---- preparing

    def _prepare(self, step: int) -> list[_Outbox]:
        parts: dict[bool, list[tuple[NDArray[Any], Bytes]]] = {True: [], False: []}
        for code, kind in enumerate(KINDS):
            rows = np.flatnonzero(self.truth.kind == code)
            for packet in kind.life:
                if packet.step == step and len(rows):
                    inside = packet.opener != kind.inbound
                    parts[inside].append((rows, self._frames(rows, kind, packet, inside)))
        outboxes = [self._outbox(*_merge(parts[False]), None)] if parts[False] else []
        if parts[True]:
            rows, matrix, lengths = _merge(parts[True])
            for number in range(len(self.routers)):
                mine = self.truth.router[rows] == number
                outboxes.append(self._outbox(rows[mine], matrix[mine], lengths[mine], number))
        return outboxes

    def _frames(self, rows: NDArray[Any], kind: Kind, packet: Packet, inside: bool) -> Bytes:
        macs = np.array([mac_bytes(r.mac(1 if inside else 2)) for r in self.routers])[self.truth.router[rows]]
        source, destination, segment = segments(self.truth, rows, kind, packet)
        return frames(macs, mac_bytes(NOBODY), source, destination, kind.proto, segment)

    def _outbox(self, rows: NDArray[Any], matrix: Bytes, lengths: NDArray[Any], router: int | None) -> _Outbox:
        bounds = np.searchsorted(rows, np.arange(self.blocks + 1) * self._block).tolist()
        if router is not None:
            wire = self._wires[router]
            return _Outbox(wire, Batch(matrix, wire.interfaces["eth0"], lengths), bounds, True)
        links = np.array([self._world.interfaces[r.link] for r in self.routers])
        return _Outbox(self._world, Batch(matrix, links[self.truth.router[rows]], lengths), bounds, False)

    # ---- sending

    def send(self, first: int = 0, last: int | None = None) -> float:
        """Make the connections of blocks `first` to `last` (all); the seconds it took."""
        began = time.monotonic()
        for block in range(first, self.blocks if last is None else last):
            for outboxes in self._steps:
                expected = 0
                for box in outboxes:
                    start, stop = box.bounds[block], box.bounds[block + 1]
                    box.batch.send(box.wire, start, stop)
                    expected += (stop - start) * box.inside
                self._take(expected)
        return time.monotonic() - began

    def _take(self, expected: int) -> None:
        """Recognize and answer what comes through to the world, until all has or nothing more does."""
        deadline = time.monotonic() + PATIENCE
        while expected > 0 and time.monotonic() < deadline:
            rows, lengths, interfaces = self._world.receive()
            for where, group in groups(rows, lengths):
                expected -= len(where)
                self._note(group)
                chosen, reply = answers(group)
                if len(chosen):
                    Batch(reply, interfaces[where][chosen]).send(self._world)
            if len(rows):
                deadline = time.monotonic() + PATIENCE

    # ---- counting

    def _note(self, group: Group) -> None:
        chosen, index = first_packets(group)
        self.truth.seen[index] = True
        if not group.inbound and not group.ipv6:
            self.truth.nat_src_ip[index] = widened(group.sources()[chosen])
            self.truth.nat_src_port[index] = group.source_ports()[chosen]

    def made(self) -> dict[str, int]:
        """Connections that have come through, by kind."""
        counts = np.bincount(self.truth.kind[self.truth.seen], minlength=len(KINDS))
        return {kind.name: int(count) for kind, count in zip(KINDS, counts, strict=True)}

    def failures(self) -> dict[str, int]:
        """What conntrack refused: empty unless something is wrong with the machine."""
        return kernel.failures([router.namespace for router in self.routers])


def _merge(parts: Sequence[tuple[NDArray[Any], Bytes]]) -> tuple[NDArray[Any], Bytes, NDArray[Any]]:
    """Frames of several kinds in one matrix, in the order of their connections: rows, frames, lengths."""
    rows = np.concatenate([part[0] for part in parts])
    order = np.argsort(rows, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    matrix = np.zeros((len(rows), WIDTH), np.uint8)
    lengths = np.zeros(len(rows), np.int64)
    start = 0
    for own, part in parts:
        here = place[start : start + len(own)]
        matrix[here, : part.shape[1]], lengths[here] = part, part.shape[1]
        start += len(own)
    return rows[order], matrix, lengths
