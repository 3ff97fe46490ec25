"""Everybody who listens is stopped (SIGSTOP) while connections are made at full speed, and continued afterwards.

All have receive buffers of the same size, ours as it is by default. What is asked is not speed: which connections are
on record, and which are at least known to be missing?
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anetcon.testbed.bed import Testbed
from bench.loads import Load
from bench.programs import Anetcon, Conntrack, Program, Ulogd, running
from bench.report import Report
from tests.load import kernel

FITS, TOO_MANY = 100_000, 330_000
"""Connections: fewer and more than the connection table holds (262,144)."""

SAME = 2 << 20
"""Bytes of receive buffer (audit.buffer_bytes): about 3,000 events."""

NEARLY_NONE = 0.05
"""The share that a program without reliable delivery has at most."""

RETRIES = 200
"""Retries that the guard may count as losses in the moment in which it leaves hold."""


class SmallConntrack(Conntrack):
    """With the same buffer."""

    buffer = SAME


class SmallUlogd(Ulogd):
    """With the same buffer."""

    buffer = SAME


@dataclass(frozen=True)
class Outcome:
    """What one program has of a load during which it was stopped."""

    program: str
    made: int
    recorded: int
    lost: int | None
    """Counted as lost; None where nothing is counted."""


def frozen(report: Report) -> None:
    """Run all of it and judge it."""
    for count in (FITS, TOO_MANY):
        outcomes = {}
        for kind in (Anetcon, SmallConntrack, SmallUlogd):
            if missing := kind.missing():
                report.say(f"left out: {kind.name} needs {', '.join(missing)}")
            else:
                outcomes[kind.name] = once(kind, count)
        report.table(f"frozen for {count:,}", [_row(outcome) for outcome in outcomes.values()])
        ours = outcomes.pop(Anetcon.name)
        if count == FITS:
            report.promise(ours.recorded == ours.made, f"frozen for {count:,}: every connection is recorded")
        known = ours.recorded + (ours.lost or 0)
        report.promise(
            ours.made <= known <= ours.made + RETRIES, f"frozen for {count:,}: made = recorded + counted lost"
        )
        for peer in outcomes.values():
            share = peer.recorded / peer.made
            report.promise(share < NEARLY_NONE, f"frozen for {count:,}: {peer.program} has {share:.1%} of them")


def once(kind: type[Program], count: int) -> Outcome:
    """One program, stopped for so many connections."""
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        load = Load("flood", bed, count)
        with running(kind, load, folder) as program:
            program.calm_down()
            with stopped(listeners(program)):
                made = load.make()
            kernel.wait_empty(program.namespaces)
            program.settle()
            lost = counted(program) if isinstance(program, Anetcon) else None
            program.stop()
        return Outcome(kind.name, made.count, program.found(made).connections, lost)


def listeners(program: Program) -> list[int]:
    """Those of its processes that read events."""
    if isinstance(program, Anetcon):
        return [program.daemon.status()["capture"]["pid"]]
    return program.pids()


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Inside the block they do nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def counted(program: Anetcon) -> int:
    """What its gaps count as lost, once nothing more is dropped."""
    namespace = program.namespaces[0].name
    told = -1
    while told != (told := _lost(program, namespace)):
        program.calm_down()
    return told


def _lost(program: Anetcon, namespace: str) -> int:
    gaps = json.loads(program.daemon.ask("gaps", "--netns", namespace, "--format", "json").stdout)["gaps"]
    return sum(gap["lost"] or 0 for gap in gaps if gap["cause"] == "overrun")


def _row(outcome: Outcome) -> dict[str, object]:
    return {
        "program": outcome.program,
        "made": outcome.made,
        "recorded": outcome.recorded,
        "%": 100 * outcome.recorded / outcome.made,
        "counted lost": outcome.lost,
        "unknown": outcome.made - outcome.recorded - (outcome.lost or 0),
    }
