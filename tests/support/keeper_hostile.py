"""A capture that somebody has taken over: it says and writes what no capture would, then goes on as the stand-in does.

What it tried, and whether the kernel let it, is noted in `heard.jsonl` of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from typing import Any

from anetcon.link import counters
from tests.support import keeper_child

DEEP = 900
"""Levels that JSON is read at, and few functions that look at the value are."""

PACKETS = (
    b"[" * 60000,
    b'{"op":' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"op":"found","slot":0,"cause":"c","what":' + b'{"a":' * DEEP + b"0" + b"}" * DEEP + b"}",
    b"\xff" * 3000,
    b'{"op":"detached","slot":' + b"9" * 4000 + b"}",
    b'{"op":"detached","slot":-1}',
    b'{"op":"found","slot":1e999,"cause":null,"what":"\\ud800"}',
    b'{"op":"' + b"\\u0000" * 10000 + b'"}',
    *(b'{"op":"found","slot":0,"cause":"%d","what":"%s"}' % (number, b"x" * 30000) for number in range(100)),
    b"null",
)


class Hostile(keeper_child.Capture):
    """Does its worst before it begins."""

    def run(self) -> None:
        """Every packet, every counter at its largest, and the memory file cut under the keeper's feet."""
        for packet in PACKETS:
            with contextlib.suppress(BlockingIOError):
                while self.channel._socket.send(packet) == 0:
                    pass
        for at in range(counters.WORD, counters.HEADER_SIZE + counters.SLOT_SIZE, counters.WORD):  # progress moves on
            struct.pack_into("=Q", self.memory, at, 2**64 - 1)
        cut = True
        try:
            os.ftruncate(self.descriptor, 0)
        except PermissionError:
            cut = False
        keeper_child.note(self.store, op="hostile", cut=cut)
        super().run()

    def __init__(self, options: dict[str, int], settings: dict[str, Any]) -> None:
        self.descriptor = options["--counters"]
        super().__init__(options, settings)


def main(arguments: list[str]) -> None:
    """Be it: the arguments are capture's."""
    options = {name: int(value) for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    descriptor = options["--settings"]
    Hostile(options, json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
