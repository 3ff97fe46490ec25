"""kill -9 of each process and of all, and the program replaced in place, in the middle of connections."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anetcon.errors import NOT_FOUND_WITH_GAPS
from anetcon.testbed.topology import Router
from tests.e2e.faults.conftest import Weaken
from tests.load import kernel
from tests.load.flood import Flood
from tests.support.daemon import Daemon, seconds
from tests.support.ledger import Ledger, UnaccountedError, bounded
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Start = Callable[..., Daemon]

SOME, READ = 60_000, 500
RATE = 3_000
"""Connections a second while the program is replaced, which takes a second or more: it reads its configuration."""
EVENLY = RATE // 100
"""Connections at a time, a hundred times a second: some fall into every moment, however short."""
ROUNDS, EACH, LATE = 3, 20_000, 500
"""Connections a round; the last of them surely when nobody listens any more."""
NO_CAPTURE_GAP = """
from anetcon.capture import writer as journals
said = journals.Journals.gap
journals.Journals.gap = lambda self, gap: None if gap.cause == "capture-down" else said(self, gap)
"""
NO_FLUSH_BEFORE = """
import contextlib, os
due = journals.Journals.due
with contextlib.suppress(FileExistsError):
    os.close(os.open({first!r}, os.O_CREAT | os.O_EXCL))
    journals.Journals.due = lambda self, now, pending: not pending and due(self, now, pending)
"""
"""The first capture keeps what it has read: it surely has something when it is killed."""
DIES_READING = """
import contextlib, os, sys
from anetcon.capture import pipeline
def first(name):
    with contextlib.suppress(FileExistsError):
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        return True
if "--channel" in sys.orig_argv and not first({folder!r} + "/1") and first({folder!r} + "/2"):
    pipeline.Pipeline.process = lambda self, now: os._exit(9) if self._slots.used else None
"""
"""The second capture dies of what it reads first."""
CLAIMS_AT_ONCE = """
sys.argv += ["--handed", "0"]
"""
NO_DAEMON_GAP = NO_CAPTURE_GAP.replace("capture-down", "daemon-down")
NEW_SOCKETS = """
import os, select, signal
from anetcon.keeper import upgrade
whole = upgrade.execute
def forgetful(state, *others):
    os.kill(state.children[0], signal.SIGSTOP)
    select.select([state.attached[0].descriptors[0]], [], [])  # there is something to be forgotten
    os.kill(state.children[0], signal.SIGKILL)
    whole(state._replace(attached=[]), *others)
upgrade.execute = forgetful
"""

DROPPED = 50_000
"""Messages that the kernel drops between two captures: two a connection, but for what the socket has room for."""
HELD_UP = f"""
import threading, time
from types import SimpleNamespace
from anetcon.capture import losses
from anetcon.capture.lifecycle import Lifecycle
attach = Lifecycle.attach
def late(self, message, sockets, now):
    deadline = time.monotonic() + 60
    while message.resumed and losses.dropped(SimpleNamespace(events=sockets[0])) < {DROPPED}:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    attach(self, message, sockets, now)
Lifecycle.attach = late
"""
COUNTS_ANEW = """
begin = losses.Losses.begin
def anew(self, namespace, looked, now):
    begin(self, namespace, looked, now)
    if namespace.resumed:
        self.moved(namespace)
losses.Losses.begin = anew
"""


@contextmanager
def sending(
    ledger: Ledger, count: int | None = None, rate: float = float("inf"), piece: int = 500
) -> Iterator[threading.Event]:
    """The flood, or its next `count`, is made in a thread of its own: all of it once the block is left, or what is once
    the event is set."""
    over = threading.Event()
    asked = {"count": count, "piece": piece, "rate": rate, "enough": over.is_set}
    thread = threading.Thread(target=ledger.send, kwargs=asked)
    thread.start()
    try:
        yield over
    finally:
        thread.join()


def reached(ledger: Ledger, count: int) -> None:
    """Until so many are made."""
    wait_until(lambda: ledger.sent >= count, 30, f"{count} connections are made", every=0.0005)


def restarted(auditor: Daemon, pid: int) -> None:
    """Until a child that was killed runs again, and works."""
    wait_until(lambda: auditor.capture_pid() not in (None, pid), 20, "capture runs again")
    auditor.wait_written()


def capture_killed(auditor: Daemon, router: Router) -> tuple[Ledger, tuple[float, float]]:
    """60,000 connections with capture killed in their middle; from when to when there was none. The last third is
    made after it was killed, however late that was; the first few it has read by then."""
    auditor.wait_attached([router.name])
    with Flood(router, SOME) as flood:
        ledger = Ledger(flood)
        killed = auditor.capture_pid()
        assert killed is not None
        ledger.send(READ)
        wait_until(lambda: not any(kernel.queued(router.namespace).values()), 20, "they are read")
        with sending(ledger, SOME * 2 // 3 - READ):
            reached(ledger, SOME // 2)
            os.kill(killed, signal.SIGKILL)
            moment = time.time()  # not before it: another flush may come until then
        ledger.send()
        restarted(auditor, killed)
        back = time.time()
        assert flood.made() == SOME
    assert auditor.stop() == 0, auditor.errors()
    return ledger, (moment, back)


def test_capture_killed_among_60000(daemon: Start, router: Router) -> None:
    """What is not on record was made within the one gap's bounds, and those are right."""
    auditor = daemon(router.name)
    ledger, (moment, back) = capture_killed(auditor, router)
    (gap,) = [gap for gap in auditor.gaps("--until", "now") if gap["cause"] == "capture-down"]
    bounded(gap, moment, min(back, seconds(gap["to"])))
    recorded = ledger.explained(auditor, [gap])
    assert recorded.connections > SOME // 4, "the gap is not as long as the flood"


def test_capture_killed_without_its_gap(daemon: Start, router: Router, weakened: Weaken, tmp_path: Path) -> None:
    """The control: a capture that does not say what its predecessor took with it is found out."""
    weakened("anetcon.capture.main", NO_CAPTURE_GAP + NO_FLUSH_BEFORE.format(first=str(tmp_path / "first")))
    auditor = daemon(router.name)
    ledger, _ = capture_killed(auditor, router)
    with pytest.raises(UnaccountedError):
        ledger.explained(auditor, during(auditor))


def during(auditor: Daemon) -> list[dict[str, Any]]:
    """The gaps of the time in which the daemon was wanted: not the one since it was stopped at last. Nor what tells of
    the loss as well: that the journal was not closed, and that the new capture has no address on record yet."""
    told = ("journal-damaged", "not-audited")
    return [gap for gap in auditor.gaps() if gap["to"] is not None and gap["cause"] not in told]


def replaced(auditor: Daemon, router: Router) -> Ledger:
    """Connections with the program replaced in place in their middle."""
    auditor.wait_attached([router.name])
    before = auditor.capture_pid()
    assert before is not None
    with Flood(router, SOME) as flood:
        ledger = Ledger(flood)
        with sending(ledger, rate=RATE, piece=EVENLY) as over:
            reached(ledger, RATE)
            auditor.process.send_signal(signal.SIGUSR2)
            wait_until(lambda: auditor.capture_pid() not in (None, before), 20, "capture is a new process")
            over.set()
        ledger.send(RATE)
        auditor.wait_attached([router.name])
        auditor.wait_recorded(lambda totals: totals["ends"] > 0)
        assert flood.made() == ledger.sent
    assert auditor.stop() == 0, auditor.errors()
    return ledger


def test_replaced_among_many(daemon: Start, router: Router) -> None:
    """SIGUSR2 in the middle of thousands of connections: each is on record once, with its end, and there is no gap."""
    auditor = daemon(router.name)
    ledger = replaced(auditor, router)
    ledger.whole(auditor)
    assert [gap for gap in auditor.gaps("--since", ledger.since()) if gap["to"]] == []


def dies_of_what_waited(auditor: Daemon, router: Router) -> None:
    """The program is replaced, and the next capture dies of what came meanwhile: that is missing in the gap."""
    auditor.wait_attached([router.name])
    with Flood(router, 2 * SOME) as flood:
        ledger, over = Ledger(flood), threading.Event()
        making = threading.Thread(target=ledger.send, kwargs={"piece": 5, "rate": 500, "enough": over.is_set})
        making.start()
        try:
            wait_until(lambda: ledger.sent >= READ, 30, "some are made", every=0.01)
            before = auditor.capture_pid()
            auditor.process.send_signal(signal.SIGUSR2)
            wait_until(lambda: "ended with status 9" in auditor.errors(), 15, "the second one dies")
            wait_until(lambda: auditor.capture_pid() not in (None, before), 60, "another one")
            auditor.wait_written()
        finally:
            over.set()
            making.join()
        auditor.wait_attached([router.name])
        auditor.wait_written()
    assert auditor.stop() == 0, auditor.errors()
    gaps = [gap for gap in auditor.gaps("--since", ledger.since()) if gap["to"]]
    assert "capture-down" in {gap["cause"] for gap in gaps}
    missing = ledger.explained(auditor, gaps, near=0.05).times[: ledger.sent] == 0
    assert missing.any()


def test_replaced_by_one_that_dies_reading(daemon: Start, router: Router, weakened: Weaken, tmp_path: Path) -> None:
    """What waited while no capture ran, and died with the one that read it, was made inside the gap."""
    weakened("anetcon.capture.main", DIES_READING.format(folder=str(tmp_path)))
    dies_of_what_waited(daemon(router.name), router)


def test_replaced_by_one_that_says_too_much(daemon: Start, router: Router, weakened: Weaken, tmp_path: Path) -> None:
    """The control: a capture that says at its start that all is on record is found out."""
    weakened("anetcon.capture.main", DIES_READING.format(folder=str(tmp_path)) + CLAIMS_AT_ONCE)
    with pytest.raises(UnaccountedError):
        dies_of_what_waited(daemon(router.name), router)


def test_replaced_with_new_sockets(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: a program that does not hand its sockets over has missed some."""
    weakened("anetcon.keeper.main", NEW_SOCKETS)
    auditor = daemon(router.name)
    ledger = replaced(auditor, router)
    with pytest.raises(UnaccountedError):
        ledger.whole(auditor)


def replaced_while_it_sheds(start: Start, router: Router) -> None:
    """Where nobody read while many came, some are not on record, and two messages of each are counted as lost. Raises
    UnaccountedError where fewer are."""
    auditor = start(router.name, audit={"namespaces": [f"^{router.name}$"], "on_overload": "shed"})
    auditor.wait_attached([router.name])
    before = auditor.capture_pid()
    assert before is not None
    with Flood(router, DROPPED // 2 + EACH) as flood:
        ledger = Ledger(flood)
        ledger.send(EACH // 2)
        auditor.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: not Path(f"/proc/{before}").exists(), 20, "capture has ended", every=0.001)
        ledger.send()
        wait_until(lambda: auditor.capture_pid() not in (None, before), 20, "capture is a new process")
        auditor.wait_attached([router.name])
        auditor.wait_written()
        made = flood.made()
    assert auditor.stop() == 0, auditor.errors()
    gaps = auditor.gaps("--since", ledger.since())
    lost = sum(gap["lost"] for gap in gaps if gap["cause"] == "overrun")
    missing = made - ledger.explained(auditor, gaps).connections
    assert missing > 0
    if lost < 2 * missing:
        raise UnaccountedError(f"{missing} connections are missing, {lost} messages counted as lost")


def test_replaced_while_it_sheds(daemon: Start, router: Router, weakened: Weaken) -> None:
    """What the kernel drops between two captures is counted: two messages of each connection that is missing."""
    weakened("anetcon.capture.main", HELD_UP)
    replaced_while_it_sheds(daemon, router)


def test_replaced_by_one_that_counts_anew(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: a capture that takes the kernel's count as it finds it says less than is missing."""
    weakened("anetcon.capture.main", HELD_UP + COUNTS_ANEW)
    with pytest.raises(UnaccountedError):
        replaced_while_it_sheds(daemon, router)


def killed_whole(auditor: Daemon, router: Router, rounds: int = ROUNDS) -> tuple[Ledger, list[tuple[float, float]]]:
    """Everything killed so many times at random moments under load, started again each time; when it was down."""
    auditor.wait_attached([router.name])
    auditor.wait_flushed()  # or it would have never recorded, when it is killed at once
    moments = random.Random(5)
    downs = []
    with Flood(router, rounds * EACH) as flood:
        ledger = Ledger(flood)
        on_record: set[int] = set()
        for number in range(rounds):
            with sending(ledger, EACH - LATE):
                reached(ledger, number * EACH + moments.randrange(EACH - LATE))
                auditor.kill()
                down = time.time()
            ledger.send(LATE)
            flushed = set(ledger.each_once(auditor).times.nonzero()[0].tolist())
            assert on_record <= flushed, "what was flushed is still there"
            on_record = flushed
            auditor.run()
            auditor.wait_attached([router.name])
            downs.append((down, time.time()))
        settled = set(ledger.each_once(auditor).times.nonzero()[0].tolist())
        assert on_record <= settled
        assert flood.made() == len(flood)
    return ledger, downs


def test_everything_killed_three_times(daemon: Start, router: Router) -> None:
    """Three gaps with right bounds; what was flushed is there, none twice; and an answer says that there are gaps."""
    auditor = daemon(router.name)
    ledger, downs = killed_whole(auditor, router)
    auditor.wait_written()
    gaps = [gap for gap in auditor.gaps() if gap["cause"] == "daemon-down"]
    assert len(gaps) == len(downs)
    for gap, (begin, end) in zip(gaps, downs, strict=True):
        bounded(gap, begin, min(end, seconds(gap["to"])))
    ledger.explained(auditor, gaps)
    hour = ("--at", "now", "--within", "1h", "--format", "json")
    done = auditor.command("who", "203.0.113.250:9", *hour)
    assert done.returncode == NOT_FOUND_WITH_GAPS
    assert [gap["cause"] for gap in auditor.json("who", "203.0.113.250:9", *hour[:-2])["coverage"]["gaps"]].count(
        "daemon-down"
    ) == ROUNDS
    asked = ("search", "--dst", "203.0.113.250", "--since", "1 hour ago")
    assert auditor.command(*asked).returncode == NOT_FOUND_WITH_GAPS
    assert len([gap for gap in auditor.json(*asked)["coverage"]["gaps"] if gap["cause"] == "daemon-down"]) == ROUNDS


def test_everything_killed_without_a_gap(daemon: Start, router: Router, weakened: Weaken) -> None:
    """The control: a daemon that does not say that it was down is found out."""
    weakened("anetcon.capture.main", NO_DAEMON_GAP)
    auditor = daemon(router.name)
    ledger, _ = killed_whole(auditor, router, rounds=1)
    with pytest.raises(UnaccountedError):
        ledger.explained(auditor, during(auditor))


def test_processes_killed_at_random(daemon: Start, router: Router) -> None:
    """One process after the other, at random moments under load: the daemon goes on, or is started again by whoever
    starts it; none is there twice, and whatever is missing was made in a gap."""
    chosen = random.Random(1)
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    with Flood(router, 6 * EACH) as flood:
        ledger = Ledger(flood)
        for number, name in enumerate(chosen.sample(["capture", "follow", "keeper"] * 2, 6)):
            thread = threading.Thread(target=ledger.send, args=(EACH,), kwargs={"piece": 500})
            thread.start()
            reached(ledger, number * EACH + chosen.randrange(EACH))
            process = auditor.process.pid if name == "keeper" else auditor.status()[name]["pid"]
            os.kill(process, signal.SIGKILL)
            thread.join()
            if name == "keeper":
                auditor.process.wait(10)
                wait_until(lambda: auditor.command("status").returncode == 1, 20, "its children end with it")
                auditor.run()
                auditor.wait_attached([router.name])
            else:
                wait_until(lambda n=name, p=process: auditor.status()[n]["pid"] not in (None, p), 15, f"{name} is back")  # type: ignore[misc]
        auditor.wait_written()
        assert flood.made() == len(flood)
    gaps = during(auditor)
    ledger.explained(auditor, gaps)
    assert {gap["cause"] for gap in gaps} <= {"daemon-down", "capture-down", "not-attached", "starts-off"}
    assert auditor.stop() == 0, auditor.errors()
