"""Hold mode and its guard, on a real connection table with a capture that is stopped.

The table's limit belongs to the first namespace and is left alone: the guard's share of it is made small instead.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.testbed.bed import Namespace, Testbed
from tests.support.keeper_daemon import TRACKING, Daemon, ours, show
from tests.support.waiting import wait_until

SMALL_SHARE = 0.005
CONNECTIONS = 3000


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    """A namespace in which connections are tracked."""
    made = bed.namespace("guarded")
    made.run("ip", "link", "set", "lo", "up")
    made.run("nft", "-f", "-", text=TRACKING)
    return made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A keeper with small buffers, not started yet."""
    keeper = Daemon(tmp_path, [ours()], buffer_bytes=65536, guard_share=SMALL_SHARE)
    yield keeper
    keeper.close()


def attached(daemon: Daemon, namespace: Namespace) -> int:
    """Start the daemon; the process of its capture, once it has the namespace."""
    pid = daemon.run().wait_heard("attach", netns=namespace.name)["pid"]
    assert isinstance(pid, int)
    return pid


def connect(namespace: Namespace, count: int = CONNECTIONS) -> None:
    """That many new connections, never answered."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(b"x", ("127.0.0.1", 10000 + number))


def table(namespace: Namespace) -> int:
    """How many connections the table holds."""
    return int(namespace.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))


def test_in_hold_every_end_arrives_though_capture_slept(daemon: Daemon, namespace: Namespace) -> None:
    """Below the guard's share ends wait in the table, and all of them arrive when capture wakes."""
    daemon.settings["audit"]["guard_share"] = 0.7
    capture = attached(daemon, namespace)
    os.kill(capture, signal.SIGSTOP)
    connect(namespace)
    namespace.run("conntrack", "-F")
    assert table(namespace) > CONNECTIONS / 2  # deleted, and still there
    os.kill(capture, signal.SIGCONT)
    wait_until(lambda: table(namespace) == 0, 10, "all are delivered")
    events = wait_until(lambda: daemon.namespace(namespace.name)["events"], 5, "they are counted")
    wait_until(lambda: daemon.namespace(namespace.name)["events"] >= CONNECTIONS, 5, f"every end, not only {events}")
    assert "dropped" not in daemon.log()


def test_the_guard_ends_hold_before_the_table_is_full(daemon: Daemon, namespace: Namespace) -> None:
    """With capture stopped and the table over the share, ends are dropped (within 0.3 s on a quiet machine); later hold
    is back, with a gap that says how many were lost."""
    capture = attached(daemon, namespace)
    os.kill(capture, signal.SIGSTOP)
    with daemon.frozen():  # a start that comes once hold is ended would be lost and counted
        connect(namespace)
    begin = time.monotonic()
    wait_until(lambda: "over 0% full" in daemon.log(), 5, "hold is ended", every=0.005)
    took = time.monotonic() - begin
    show(f"hold was ended {took * 1000:.0f} ms after the limit was passed")
    namespace.run("conntrack", "-F")
    wait_until(lambda: table(namespace) == 0, 2, "the table is empty though nobody reads")
    os.kill(capture, signal.SIGCONT)
    gap = daemon.wait_heard("gap", netns=namespace.name, cause="overrun")
    assert gap["from"] < gap["to"] <= gap["at"]
    wait_until(lambda: "capture has caught up" in daemon.log(), 5, "hold is back")
    wait_until(lambda: daemon.namespace(namespace.name)["events"], 5, "events are counted")
    assert gap["lost"] == CONNECTIONS  # every end, and no start
    assert took < 5
    held_again(daemon, namespace, capture)


def held_again(daemon: Daemon, namespace: Namespace, capture: int) -> None:
    """Below the share, ends wait again for a capture that is stopped."""
    os.kill(capture, signal.SIGSTOP)
    connect(namespace, 800)
    namespace.run("conntrack", "-F")
    assert table(namespace) > 100
    os.kill(capture, signal.SIGCONT)
    wait_until(lambda: table(namespace) == 0, 10, "all are delivered")
    assert len(daemon.heard("gap", cause="overrun")) == 1


def test_shed_never_holds(daemon: Daemon, namespace: Namespace) -> None:
    """With on_overload = shed a stopped capture loses events, and the table never holds any back."""
    daemon.settings["audit"] |= {"on_overload": "shed", "guard_share": 0.7}
    capture = attached(daemon, namespace)
    os.kill(capture, signal.SIGSTOP)
    connect(namespace)
    namespace.run("conntrack", "-F")
    wait_until(lambda: table(namespace) == 0, 2, "the table is empty though nobody reads")
    os.kill(capture, signal.SIGCONT)


def test_hold_is_ended_and_begun_by_a_reload(daemon: Daemon, namespace: Namespace) -> None:
    """on_overload is applied to sockets that are open already."""
    daemon.settings["audit"]["guard_share"] = 0.7
    capture = attached(daemon, namespace)
    daemon.reload(on_overload="shed")
    wait_until(lambda: daemon.log().count("the configuration is applied") == 1, 5, "it is applied")
    os.kill(capture, signal.SIGSTOP)
    connect(namespace)
    namespace.run("conntrack", "-F")
    wait_until(lambda: table(namespace) == 0, 2, "the table is empty though nobody reads")
    os.kill(capture, signal.SIGCONT)  # the keeper would do so itself after a while
    daemon.reload(on_overload="hold")
    wait_until(lambda: daemon.log().count("the configuration is applied") == 2, 5, "it is applied")
    os.kill(capture, signal.SIGSTOP)
    connect(namespace)
    namespace.run("conntrack", "-F")
    assert table(namespace) > CONNECTIONS / 2
    os.kill(capture, signal.SIGCONT)
    wait_until(lambda: table(namespace) == 0, 10, "all are delivered")
