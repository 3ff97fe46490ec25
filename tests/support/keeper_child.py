"""Stand-ins for the keeper's children in its tests: capture, follow and the resolver of settings, told by arguments.

Whatever they are told is noted as one JSON line in `heard.jsonl` of the store. This capture decodes nothing: it counts
datagrams into the shared counters, and calls a namespace whose name ends with `bare` conntrack-inactive.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from anetcon.link import counters, messages
from anetcon.link.channel import Channel
from anetcon.system.process import WITHHELD

SO_MEMINFO = 55


def note(store: str, **what: object) -> None:
    """Append what happened."""
    line = json.dumps({**what, "pid": os.getpid(), "at": time.time_ns() // 1000}) + "\n"
    descriptor = os.open(Path(store, "heard.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class Capture:
    """Holds what it is handed, reads all events and counts them."""

    def __init__(self, options: dict[str, int], settings: dict[str, Any]) -> None:
        self.store = settings["store"]["path"]
        self.memory = counters.attach(options["--counters"])
        self.channel = Channel.of(options["--channel"])
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.channel.fileno(), selectors.EVENT_READ, None)
        self.slots: dict[int, list[socket.socket]] = {}
        self.running = True
        note(self.store, op="started")

    def add(self, name: str, value: int, slot: int | None = None) -> None:
        """Raise a counter: of the header, or of a slot."""
        if slot is None:
            at = counters.HEADER.index(name) * counters.WORD
        else:
            at = counters.HEADER_SIZE + slot * counters.SLOT_SIZE + counters.SLOT.index(name) * counters.WORD
        (before,) = struct.unpack_from("=Q", self.memory, at)
        struct.pack_into("=Q", self.memory, at, before + value)

    def run(self) -> None:
        """Until SIGTERM, or the end of the channel."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "running", False))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WITHHELD)
        try:
            self.channel.send(messages.Hello())
            while self.running:  # the channel stays open until then, even when the keeper is replaced
                self.add("progress", 1)
                for key, _ in self.selector.select(0.05):
                    if key.data is None:
                        self.hear()
                    else:
                        self.count(key.data)
            self.hear()  # what was said before it was told to end
        except EOFError:
            note(self.store, op="channel closed")
        note(self.store, op="ended")

    def hear(self) -> None:
        """Take what the keeper says."""
        while (received := self.channel.receive()) is not None:
            message, descriptors = received
            sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            note(self.store, **messages.said(message), protocols=[each.proto for each in sockets])
            if isinstance(message, messages.Attach):
                slot = message.slot
                self.slots[slot] = sockets
                if message.netns.endswith("bare"):
                    self.add("state", counters.STATES.index(counters.INACTIVE), slot)
                self.selector.register(sockets[0], selectors.EVENT_READ, slot)
            elif isinstance(message, messages.Detach):
                slot = message.slot
                self.selector.unregister(self.slots[slot][0])
                for each in self.slots.pop(slot):
                    each.close()
                self.channel.send(messages.Detached(slot))

    def count(self, slot: int) -> None:
        """Read the events of one namespace."""
        events = self.slots[slot][0]
        with contextlib.suppress(BlockingIOError):
            while events.recv(8192):
                self.add("events", 1, slot)


def follow(settings: dict[str, Any]) -> None:
    """Wait for signals and note them."""
    store = settings["store"]["path"]
    note(store, op="follow started", node=settings["node"])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    while True:
        number = signal.sigwait({signal.SIGTERM, signal.SIGHUP})
        note(store, op=f"follow got {signal.Signals(number).name}")
        if number == signal.SIGTERM:
            return


def main(arguments: list[str]) -> None:
    """Be whichever child the arguments ask for."""
    if arguments[0] == "config":
        sys.stdout.write(Path(arguments[-1]).read_text())
        return
    options = {name: int(value) for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    descriptor = options["--settings"]
    settings = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    if "--channel" in options:
        Capture(options, settings).run()
    else:
        follow(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
