"""Bytes that are no messages, another listener that is stuck, a configuration that cannot be: the daemon goes on."""

from __future__ import annotations

import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from anetcon.testbed.topology import Router
from tests.e2e.faults.conftest import Weaken
from tests.load import kernel
from tests.load.flood import Flood
from tests.load.kernel import NETLINK_NETFILTER
from tests.support.capture_parts import message
from tests.support.daemon import Daemon, listening
from tests.support.hosts import stuck_listener
from tests.support.ledger import Ledger, UnaccountedError, bounded
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]

SOME, STUCK = 20_000, 20_000
FIT = 1000
"""Connections whose events the socket of a capture that is held up has room for."""
REPEATED = 200
"""Ends that come again in about three seconds: a few connections' many times."""
GARBAGE = 2000
HEADER = struct.Struct("=IHHIIBBH")
CT_NEW, CT_DELETE = 0x0100, 0x0102

NO_COUNT = """
from anetcon.capture import pipeline
whole = pipeline.Pipeline.take
def silent(self, batch, now):
    whole(self, batch, now)
    self.undecodable.clear()
pipeline.Pipeline.take = silent
"""


def garbage(chosen: random.Random) -> bytes:
    """No message: random bytes, a header alone, a length that lies, attributes that overlap their end; or a message as
    the kernel would send it, of a connection that never was."""
    body = chosen.randbytes(chosen.randrange(4, 400))
    kind = chosen.choice([CT_NEW, CT_DELETE])
    length = chosen.choice([HEADER.size + len(body), 0, 0xFFFFFFFF, HEADER.size - 1])
    whole = HEADER.pack(length, kind, 0, 0, 0, 2, 0, 0) + body
    return chosen.choice([body, whole, whole[: HEADER.size], message(chosen.randrange(1, 1 << 16), kind == CT_DELETE)])


def injected(auditor: Daemon, router: Router) -> tuple[Ledger, float, float]:
    """A flood with garbage sent into capture's own socket meanwhile, by whoever may (root); when the first was
    there, and since when the last may have been."""
    auditor.wait_attached([router.name])
    (port,), chosen = listening(router.namespace), random.Random(7)
    with (
        Flood(router, SOME) as flood,
        router.namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sender,
    ):
        ledger = Ledger(flood)
        thread = threading.Thread(target=ledger.send, kwargs={"piece": 500, "rate": SOME})
        thread.start()
        times = []
        for _ in range(GARBAGE):
            times.append(time.time())
            sender.sendto(garbage(chosen), (port, 0))
        thread.join()
        auditor.wait_recorded(lambda totals: totals["ends"] >= SOME and totals["undecodable"] >= GARBAGE)
    return ledger, times[1], times[-1]  # the first was sent by then, and the last was not


def said_undecodable(auditor: Daemon, begin: float, end: float) -> None:
    """Each piece of garbage is in a gap of its time, and counted. Raises UnaccountedError."""
    gaps = [gap for gap in auditor.gaps() if gap["cause"] == "undecodable"]
    if sum(gap["lost"] for gap in gaps) != GARBAGE:
        raise UnaccountedError(f"{GARBAGE} pieces of garbage, {[gap['lost'] for gap in gaps]} in gaps")
    bounded({"from": gaps[0]["from"], "to": gaps[-1]["to"]}, begin, end)


def test_garbage_in_its_own_socket(daemon: Start, router: Router) -> None:
    """Each piece is counted and in a gap, none is a record, and every real connection is on record as well."""
    auditor = daemon(router.name)
    ledger, begin, end = injected(auditor, router)
    assert auditor.totals()["undecodable"] == GARBAGE
    assert auditor.status()["capture"]["restarts"] == 0
    ledger.whole(auditor)
    said_undecodable(auditor, begin, end)


def test_garbage_that_nobody_mentions(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: a capture that drops what it cannot read in silence is found out."""
    weakened("anetcon.capture.main", NO_COUNT)
    auditor = daemon(router.name)
    _, begin, end = injected(auditor, router)
    with pytest.raises(UnaccountedError, match="pieces of garbage"):
        said_undecodable(auditor, begin, end)


def test_a_bad_configuration_is_refused_under_load(daemon: Start, router: Router) -> None:
    """SIGHUP with a file that cannot be: one sentence, the old configuration goes on, nothing is lost; mended, it is
    applied."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    before, good = auditor.capture_pid(), auditor.settings.read_text()
    with Flood(router, SOME) as flood:
        ledger = Ledger(flood)
        thread = threading.Thread(target=ledger.send, kwargs={"piece": 500, "rate": SOME})
        thread.start()
        for bad in ("[audit]\nperod = 3\n", "[audit\n", '[audit]\nguard_share = "much"\n'):
            refusals = auditor.errors().count("is refused")
            auditor.settings.write_text(bad)
            auditor.process.send_signal(signal.SIGHUP)
            wait_until(lambda n=refusals: auditor.errors().count("is refused") > n, 30, "it is refused")  # type: ignore[misc]
        thread.join()
        auditor.wait_recorded(lambda totals: totals["ends"] >= SOME)
        assert auditor.capture_pid() == before
        ledger.whole(auditor)
    assert "Traceback" not in auditor.errors()
    auditor.settings.write_text(good)
    auditor.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the configuration is applied" in auditor.errors(), 30, "the mended one is applied")
    assert [gap for gap in auditor.gaps("--since", ledger.since()) if gap["to"]] == []


def test_another_listener_that_never_reads(daemon: Start, router: Router) -> None:
    """The kernel repeats every end for its sake: our record has each connection once, whole."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    (ours,) = listening(router.namespace)
    with stuck_listener(router.namespace), Flood(router, STUCK) as flood:
        ledger = Ledger(flood)
        while ledger.sent < STUCK:  # an end that our socket had no room for would not come again: the first ones do
            ledger.send(FIT, piece=FIT)
            wait_until(lambda: not kernel.queued(router.namespace)[ours], 20, "they are read")
        auditor.wait_recorded(lambda totals: totals["ends"] >= STUCK + REPEATED)
        assert kernel.count(router.namespace) > STUCK * 0.9, "ended connections stay in the table for its sake"
        ledger.whole(auditor)
    assert auditor.totals()["ends"] >= STUCK + REPEATED, "the journal has repeated ends, the record has not"
