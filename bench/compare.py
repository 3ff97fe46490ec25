"""Each program under the same load, one after the other: what it recorded and what that cost.

Every program has routers and connections of its own, made the same way. With several rounds each program's CPU time
is its lowest (what others do on the machine only adds to it), its record its worst.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anetcon.testbed.bed import Testbed
from bench import measure
from bench.judge import Found
from bench.loads import Load
from bench.programs import PROGRAMS, Anetcon, Capture, Floor, Program, running
from bench.report import Report
from tests.load import kernel

WHOLE, ALONE, SLOW = 2.5, 1.6, 0.01
"""At most so many times the floor's CPU an event: everything; capture and journal. Less than this is decoded slowly."""


@dataclass(frozen=True)
class Outcome:
    """One program under one load."""

    program: type[Program]
    made: int
    rate: float
    cpu: float
    by_process: dict[str, float]
    """CPU seconds until the end of the load, by process; the program's own end is not in it."""
    found: Found

    @property
    def per_event(self) -> float:
        """Nanoseconds of CPU for each event recorded."""
        return self.cpu * 1e9 / max(self.found.events, 1)


def once(kind: type[Program], load_name: str, connections: int) -> Outcome:
    """One program, one load, from start to judgement."""
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the followers have no privileges
        load = Load(load_name, bed, connections)
        with running(kind, load, folder) as program:
            program.calm_down()
            before, by_process = program.cpu(), measure.cpu_by_name(program.pids())
            made = load.make()
            kernel.wait_empty(program.namespaces)
            program.settle()
            after = measure.cpu_by_name(program.pids())
            used = program.stop() - before
        by_process = {name: round(after[name] - by_process.get(name, 0.0), 3) for name in after}
        return Outcome(kind, made.count, made.count / made.seconds, used, by_process, program.found(made))


def compare(report: Report, load: str, connections: int, rounds: int, chosen: Sequence[type[Program]]) -> None:
    """Every chosen program under one load: the table and the promises."""
    outcomes: dict[type[Program], list[Outcome]] = {}
    for turn in range(rounds):
        for kind in chosen:
            if missing := kind.missing():
                report.say(f"left out: {kind.name} needs {', '.join(missing)}")
                continue
            outcome = once(kind, load, connections)
            outcomes.setdefault(kind, []).append(outcome)
            report.say(
                f"{load} {turn + 1}/{rounds}: {kind.name}: {outcome.found.connections:,} of {outcome.made:,} recorded "
                f"at {outcome.rate:,.0f}/s, {outcome.per_event:,.0f} ns an event; "
                f"seconds by process: {outcome.by_process}, all {outcome.cpu:.3f}"
            )
    best = {kind: min(each, key=lambda o: o.per_event) for kind, each in outcomes.items()}
    worst = {kind: min(each, key=lambda o: o.found.connections / o.made) for kind, each in outcomes.items()}
    floor = best[Floor].per_event if Floor in best else None
    report.table(load, [_row(best[kind], worst[kind], floor) for kind in best])
    report.results[f"{load} rounds"] = [
        {
            "program": o.program.name,
            "made": o.made,
            "rate": o.rate,
            "cpu": o.cpu,
            "by process": o.by_process,
            **asdict(o.found),
        }
        for each in outcomes.values()
        for o in each
    ]
    _promises(report, load, outcomes, best)


def _row(best: Outcome, worst: Outcome, floor: float | None) -> dict[str, Any]:
    found = worst.found
    return {
        "program": best.program.name,
        "made/s": round(best.rate),
        "made": worst.made,
        "recorded": found.connections,
        "%": 100 * found.connections / worst.made,
        "with end": found.ended,
        "doubles": found.doubles,
        "strangers": found.strangers,
        "wrong NAT": found.mistranslated,
        "log lines": found.lines,
        "ns/event": round(best.per_event),
        "x floor": best.per_event / floor if floor else None,
        "bytes/conn": ", ".join(f"{name} {size:.0f}" for name, size in found.size.items()) or "-",
        "slow %": None if found.slow is None else 100 * found.slow,
    }


def _promises(
    report: Report, load: str, outcomes: dict[type[Program], list[Outcome]], best: dict[type[Program], Outcome]
) -> None:
    if Anetcon in outcomes:
        each = outcomes[Anetcon]
        report.promise(
            all(o.found.connections == o.made and o.found.ended == o.made for o in each),
            f"{load}: every connection is recorded, with its end",
        )
        report.promise(all(o.found.doubles == o.found.strangers == 0 for o in each), f"{load}: each is recorded once")
        report.promise(all(not o.found.mistranslated for o in each), f"{load}: each translation is right")
        report.promise(all(o.found.lines == o.made for o in each), f"{load}: each is in the text logs once")
    for kind, limit in ((Anetcon, WHOLE), (Capture, ALONE)):
        if kind in best and Floor in best:
            ratio = best[kind].per_event / best[Floor].per_event
            report.promise(ratio <= limit, f"{load}: {kind.name} costs {ratio:.2f} times the floor, at most {limit}")
    for kind in (Anetcon, Capture):
        for outcome in outcomes.get(kind, []):
            slow = outcome.found.slow or 0.0
            report.promise(slow < SLOW, f"{load}: {kind.name}: {100 * slow:.2f} % of events decoded slowly, under 1 %")


EVERY = PROGRAMS
