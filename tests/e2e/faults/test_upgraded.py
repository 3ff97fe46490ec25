"""The program of the version before, replaced in place by this one among many connections.

That version is taken from the repository. Where its history is not there (a shallow checkout) this one takes its place,
and hands over no more than that version did, by the record of it that the unit tests keep.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anetcon.testbed.topology import Router
from tests.load.flood import Flood
from tests.support.daemon import Daemon
from tests.support.ledger import Ledger
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Start = Callable[..., Daemon]
Install = Callable[[], None]

ROOT = Path(__file__).parents[3]
BEFORE = "58e1a01"
RECORD = ROOT / "tests/unit/keeper/handed_over.jsonl"
MOST, RATE, EVENLY = 120_000, 1_500, 15
"""Connections at most, a second, and at a time."""
ROOM = {"buffer_bytes": 16 << 20}
"""The queue of events has room for what comes while a busy machine starts the next capture."""
AS_RECORDED = f"""
import sys
if "anetcon.keeper.main" in sys.orig_argv:
    import json
    from anetcon.keeper import handover
    with open({str(RECORD)!r}) as lines:
        before = json.loads(next(lines))
    (kept,), plain = {{tuple(each) for each in before["attached"]}}, handover._plain
    def reduced(state):
        found = {{key: value for key, value in plain(state).items() if key in before}}
        found["attached"] = [{{key: each[key] for key in kept}} for each in found["attached"]]
        return found
    handover.Handover.write = lambda state: handover.settings.write(reduced(state))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """The version before is what a daemon is started from, until this is called: then it is this one."""
    before, site = tmp_path / "before", tmp_path / "site"
    before.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", BEFORE, "src"], capture_output=True, check=False)
    if archive.returncode == 0:
        subprocess.run(["tar", "-x", "-C", before], input=archive.stdout, check=True)
    else:
        (before / "src").mkdir()
        (before / "src/anetcon").symlink_to(ROOT / "src/anetcon")
        (before / "src/sitecustomize.py").write_text(AS_RECORDED)
    site.symlink_to(before / "src")
    monkeypatch.setenv("PYTHONPATH", str(site))
    where = [sys.executable, "-P", "-c", "import anetcon; print(anetcon.__file__)"]
    assert subprocess.run(where, capture_output=True, check=True, text=True).stdout.startswith(str(site))

    def now() -> None:
        (tmp_path / "new").symlink_to(ROOT / "src")
        (tmp_path / "new").replace(site)

    return now


@contextmanager
def among_many(auditor: Daemon, router: Router) -> Iterator[Ledger]:
    """The block runs while connections are made evenly; some are made after it, and then the daemon is stopped."""
    auditor.wait_attached([router.name])
    over = threading.Event()
    with Flood(router, MOST) as flood:
        ledger = Ledger(flood)
        making = threading.Thread(target=ledger.send, kwargs={"piece": EVENLY, "rate": RATE, "enough": over.is_set})
        making.start()
        try:
            wait_until(lambda: ledger.sent >= RATE // 2, 30, "some are made", every=0.01)
            wait_starts_known(auditor, ledger)
            yield ledger
        finally:
            over.set()
            making.join()
        assert ledger.sent < MOST, "the connections ran out too early"
        ledger.send(RATE // 2)
        auditor.wait_attached([router.name])
        auditor.wait_recorded(lambda totals: totals["ends"] > 0)
        assert flood.made() == ledger.sent
    wait_starts_known(auditor, ledger)
    assert auditor.stop() == 0, auditor.errors()


def wait_starts_known(auditor: Daemon, ledger: Ledger) -> None:
    """Until the table was listed after starts were dropped, if any were: a capture that ends before leaves a gap."""

    def unknown() -> list[str]:
        return [gap["cause"] for gap in auditor.gaps("--since", ledger.since()) if gap["cause"] == "starts-off"]

    wait_until(lambda: not unknown(), 60, "no start is missing")


def goes_on_as_a_new_one(auditor: Daemon, signalled: int, number: signal.Signals) -> None:
    """Send a signal, and wait until capture is another process, which listens."""
    before = auditor.capture_pid()
    os.kill(signalled, number)
    wait_until(lambda: auditor.capture_pid() not in (None, before), 20, f"another capture\n{auditor.errors()}")
    auditor.wait_written()


def test_replaced_by_this_version(daemon: Start, router: Router, install: Install) -> None:
    """Each connection is on record once, with its end, and there is no gap; neither version wonders at the other."""
    auditor = daemon(router.name, audit=ROOM)
    with among_many(auditor, router) as ledger:
        install()
        goes_on_as_a_new_one(auditor, auditor.process.pid, signal.SIGUSR2)
    ledger.whole(auditor)
    assert [gap for gap in auditor.gaps("--since", ledger.since()) if gap["to"]] == []
    assert "does not know" not in auditor.errors()
    assert "unknown" not in auditor.errors()


def test_a_capture_of_this_version_under_the_keeper_before(daemon: Start, router: Router, install: Install) -> None:
    """A capture that dies once this version is installed is followed by one of this version, which understands the
    keeper; what the dead one took with it is a gap, and the replacement later is none."""
    auditor = daemon(router.name, audit=ROOM)
    with among_many(auditor, router) as ledger:
        install()
        goes_on_as_a_new_one(auditor, auditor.capture_pid() or 0, signal.SIGKILL)
        wait_starts_known(auditor, ledger)
        goes_on_as_a_new_one(auditor, auditor.process.pid, signal.SIGUSR2)
    gaps = [gap for gap in auditor.gaps("--since", ledger.since()) if gap["to"]]
    unread = "journal-damaged"  # on a busy machine a follower of the version before finds what it cannot read
    assert [gap["cause"] for gap in gaps if gap["cause"] != unread] == ["capture-down"]
    ledger.explained(auditor, gaps)
    assert "does not know" not in auditor.errors()
