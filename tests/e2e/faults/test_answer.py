"""What the commands say of a loss: each carries the coverage of exactly what was asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

from anetcon.errors import NOT_FOUND, NOT_FOUND_WITH_GAPS
from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router
from anetcon.testbed.traffic import Server
from tests.support.daemon import PROGRAM, Daemon, catches
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]
NOBODY = "203.0.113.250"


def test_a_loss_in_every_answer(daemon: Start, router: Router) -> None:
    """Capture is killed: before it nothing found means nothing happened, across it not; for what is found the gap is
    told as well; `follow` says it as it comes, `status` and `gaps` count it."""
    auditor = daemon(router.name)
    auditor.wait_attached([router.name])
    nobody, at = ("search", "--dst", NOBODY), time.time() + 0.2
    wait_until(lambda: (auditor.flushed() or 0) > (at + 0.1) * 1e6, 20, "that time is recorded")
    quiet = auditor.command("who", f"{router.snat}:9", "--at", f"{at:.3f}", "--within", "100ms")
    assert quiet.returncode == NOT_FOUND, quiet.stdout
    assert "the record is complete" in quiet.stdout
    words = [str(PROGRAM), "follow", "--store", str(auditor.store), "--format", "jsonl"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        wait_until(lambda: catches(following.pid, signal.SIGTERM), 10, "it follows")
        begin = time.time()
        killed = auditor.capture_pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: auditor.capture_pid() not in (None, killed), 10, "capture runs again")
        inside = router.instances[0]
        with Server(router.world.namespace, SERVER, 8080) as server:
            made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server)
        auditor.wait_flushed()
        assert following.stdout is not None
        assert following.stderr is not None
        record, line = following.stdout.readline(), following.stderr.readline()  # whichever of the two it says first
        following.terminate()
        assert following.communicate(timeout=20)[0] == ""
    assert line.startswith("gap: ")
    assert "capture-down in every namespace" in line
    assert json.loads(record)["src_port"] == made.src_port
    across = ("--since", f"{begin:.3f}")  # the gap begins before: when capture wrote last
    assert auditor.command(*nobody, *across).returncode == NOT_FOUND_WITH_GAPS
    found = auditor.json("search", "--sport", str(made.src_port), *across)
    assert [gap["cause"] for gap in found["coverage"]["gaps"]] == ["capture-down"]
    assert auditor.command("search", "--sport", str(made.src_port), *across).returncode == 0
    assert [gap["cause"] for gap in auditor.gaps(*across)] == ["capture-down"]
    assert auditor.status()["capture"]["restarts"] == 1
    assert auditor.json("status")["gaps"] == [
        {"cause": "capture-down", "gaps": 1, "lost": None, "counted": 0, "whole": False}
    ]
