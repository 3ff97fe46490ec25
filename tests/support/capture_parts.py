"""What the tests of capture share: events to feed in, a namespace without a kernel behind it, rows read back."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np

from anetcon.capture import settings as capture_settings
from anetcon.capture.engine.ct_events import Conntrack
from anetcon.capture.keeper import KeeperLink
from anetcon.capture.loop import Loop
from anetcon.capture.namespace import Namespace
from anetcon.capture.pipeline import Networks, Pipeline
from anetcon.capture.recording import Recording
from anetcon.capture.requests import Requests
from anetcon.capture.table_dumps import Tables
from anetcon.capture.writer import Journals, Settings
from anetcon.decode.ctnetlink import SLOT, Batch
from anetcon.journal.read import read
from anetcon.link import counters
from anetcon.link.channel import Channel, pair
from anetcon.link.messages import Attach
from anetcon.netlink import headers as k
from anetcon.system import clock
from anetcon.system.clock import Moment
from tests.support.messages import Message, Side

SOCKETS: list[socket.socket] = []
"""Every socket made here; the fixture in conftest closes them."""

NOW = 1_790_000_000_000_000


def at(microseconds: int) -> Moment:
    """That moment; the steady clock of tests says the same as the wall clock, unless one is set."""
    return Moment(microseconds, microseconds)


INSIDE, OUTSIDE, PUBLIC = b"\x0a\0\0\5", b"\xc6\x33\x64\x09", b"\xcb\0\x71\x07"


def settings(store: Path, **other: Any) -> Settings:
    """Journal settings with the usual times."""
    return Settings(
        **{"store": store, "node": "n", "flush_seconds": 0.5, "sync_seconds": 5, "seal_minutes": 10, **other}
    )


def shared() -> mmap.mmap:
    """Counters for eight namespaces."""
    descriptor = counters.create(8)
    try:
        return counters.attach(descriptor)
    finally:
        os.close(descriptor)


def pipeline(
    store: Path,
    memory: mmap.mmap | None = None,
    protocols: set[int] | None = None,
    networks: Networks | None = None,
    late: int = 0,
) -> Pipeline:
    """A pipeline with a journal of its own; `late`: how late it is already when it flushes."""
    return Pipeline(
        Journals(settings(store), at(NOW)), memory or shared(), protocols or set(), networks, lambda: at(late)
    )


def namespace(name: str = "qrouter-1", slot: int = 0) -> tuple[Namespace, socket.socket, socket.socket]:
    """A namespace whose sockets end here: the far ends of its events and requests. Its routes are the machine's."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    (events, far_events), (requests, far_requests) = pairs
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    SOCKETS.extend((*pairs[0], *pairs[1], route))
    told = Attach(slot, name, 4026532000 + slot, noticed=NOW, attached=NOW, newborn=True, resumed=False)
    made = Namespace(told, [events, requests, route], "n")
    return made, far_events, far_requests


def keeper() -> tuple[KeeperLink, Channel]:
    """The keeper as capture speaks with it, and its end of the channel."""
    ours, theirs = pair()
    SOCKETS.extend((ours, theirs))
    return KeeperLink(Channel(theirs)), Channel(ours)


def message(port: int, destroy: bool = False, **values: Any) -> bytes:
    """A TCP connection from INSIDE through PUBLIC, told apart by its port."""
    orig = Side(INSIDE, OUTSIDE, values.pop("proto", 6), port, 443)
    reply = Side(OUTSIDE, PUBLIC, orig.proto, 443, port)
    if destroy:
        values = {"start": NOW * 1000, "stop": (NOW + 7) * 1000, "counters": ((1, 60), (1, 40)), **values}
    return Message(destroy, orig, reply, ct_id=port, **values).pack()


def events(*messages: bytes, code: int = 0) -> Batch:
    """Messages as received from one namespace."""
    slots = np.zeros((len(messages), SLOT), np.uint8)
    for row, data in enumerate(messages):
        slots[row, : len(data)] = np.frombuffer(data, np.uint8)
    lengths = np.array([len(data) for data in messages], np.uint32)
    return Batch(slots, lengths, np.full(len(messages), code, np.int32), NOW)


def rows(store: Path, table: str = "connections") -> list[dict[str, Any]]:
    """Everything the journal has of a table."""
    return [row for flush in read(store / "journal" / table) if flush.batch for row in flush.batch.to_pylist()]


RESOLVED = {
    "node": "n",
    "audit": {
        "protocols": "all",
        "networks": {},
        "on_overload": "hold",
        "period": 30,
        "record": ["end"],
        "netns_dir": "/run/netns",
    },
    "store": {"path": "/x", "flush_seconds": 0.5, "sync_seconds": 5, "seal_minutes": 10, "memory_megabytes": 5},
    "logs": {"prefix": "[A]", "prefix_dnat": "[D]", "prefix_other": "[X]", "namespace_hash": True},
}


class Bench:
    """One namespace whose kernel answers what it is told to; time stands still unless moved."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.now = NOW
        self.pipeline: Pipeline = pipeline(store)
        self.requests = Requests(self.clock)
        self.tables = Tables(self.pipeline, self.requests)
        self.space, _, self._kernel = namespace()
        self.pipeline.add(self.space)

    def clock(self) -> Moment:
        """This moment."""
        return at(self.now)

    def answer(self, *messages: bytes) -> None:
        """Answer the dump that was asked for."""
        sequence = struct.unpack_from("=I", self._kernel.recv(4096), 8)[0]
        done = struct.pack("=IHHII", 20, k.NLMSG_DONE, 2, sequence, 0) + bytes(4)
        answers = [data[:8] + struct.pack("=I", sequence) + data[12:] for data in messages]
        self._kernel.send(b"".join([*answers, done]))
        self.requests.readable(self.space, self.clock())

    def rows(self) -> list[dict[str, Any]]:
        """Everything recorded so far."""
        self.pipeline.flush(self.clock())
        return rows(self.store)


class Capture:
    """The whole of capture in this process, under the engine conntrack, on a store of its own."""

    def __init__(self, store: Path, channel: Channel | None = None, handed: int = 0) -> None:
        (store / "lock").touch()  # the store is there
        resolved: dict[str, Any] = {**RESOLVED, "store": {**RESOLVED["store"], "path": str(store)}}  # type: ignore[dict-item]
        if channel is None:
            ours, theirs = pair()
            SOCKETS.extend((ours, theirs))
            channel = Channel(theirs)
        memory = shared()
        counters.Header(memory).progress = handed  # none: this is the first
        self.recording = Recording(capture_settings.Settings.of(resolved), memory, channel, handed)
        self.conntrack = Conntrack(self.recording)
        self.loop = Loop(self.recording, self.conntrack)

    def attach(self, *, newborn: bool = True, resumed: bool = False, attached: int | None = None) -> Namespace:
        """A namespace is handed over."""
        space, *_ = namespace()
        now = clock.now()
        at = now.wall if attached is None else attached
        told = Attach(0, "qrouter-1", space.inode, at, at, newborn=newborn, resumed=resumed)
        sockets = [socket.socket(fileno=os.dup(each)) for each in handed(space)]
        self.loop.lifecycle.attach(told, sockets, now)
        SOCKETS.extend(sockets)
        return self.loop.lifecycle.namespaces[0]


def handed(space: Namespace) -> list[int]:
    """The descriptors of a namespace, in the order in which the keeper hands them over."""
    return [space.events.fileno(), space.requests.fileno(), space.surroundings.fileno()]
