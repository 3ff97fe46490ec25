"""The floor: receive every event as capture does, and do nothing with it.

The same sockets, buffers, slots, poll and wait as the real capture; what it costs is the least that any program in
Python with one system call for many events could cost. Started by `programs`; prints what it received at its end.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from anetcon.capture.loop import BUILD_UP, TURN
from anetcon.capture.pipeline import SLOTS
from anetcon.capture.recvmmsg import Slots
from anetcon.config.model import AuditSettings
from anetcon.keeper.capture_link import PRIORITY
from anetcon.system import syscalls as sc
from anetcon.system.memory import keep_freed_memory
from anetcon.testbed.bed import entered


class Stop:
    """Set by SIGTERM."""

    asked = False


def listen() -> socket.socket:
    """A socket of starts and ends in the namespace we are in, as the keeper opens it, in hold."""
    for name in ("events", "timestamp", "acct"):
        Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}").write_text("1")
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, sc.NETLINK_NETFILTER)
    events.setsockopt(socket.SOL_SOCKET, sc.SO_RCVBUFFORCE, AuditSettings().buffer_bytes)
    events.setsockopt(sc.SOL_NETLINK, sc.NETLINK_NO_ENOBUFS, 1)
    events.setsockopt(sc.SOL_NETLINK, sc.NETLINK_BROADCAST_ERROR, 1)
    events.bind((0, 1 << sc.NFNLGRP_CONNTRACK_NEW - 1 | 1 << sc.NFNLGRP_CONNTRACK_DESTROY - 1))
    return events


def main(paths: list[str]) -> None:
    """Receive in each namespace until told to stop."""
    keep_freed_memory()
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    opened = []
    for path in paths:
        with entered(Path(path)):
            opened.append(listen())
    signal.signal(signal.SIGTERM, lambda *_: setattr(Stop, "asked", True))
    poll = select.epoll()
    for events_of_one in opened:
        poll.register(events_of_one, select.EPOLLIN)
    slots = Slots(SLOTS)
    events = calls = 0
    print("ready", flush=True)
    while not Stop.asked:
        if not poll.poll(TURN):
            continue
        time.sleep(BUILD_UP)
        for descriptor, _ in poll.poll(0):
            while True:
                slots.used = 0
                taken = slots.receive(descriptor)
                events += taken
                calls += 1
                if taken < slots.count:
                    break
    print(json.dumps({"events": events, "calls": calls}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
