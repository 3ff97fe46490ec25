"""Kernel lines at full speed: what anetcon's LOG engine loses and costs, and rsyslog that reads the same rules, each by
itself and both in the same run; and how wrong the times of lines are, against the kernel's own of the same connections.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed
from anetcon.testbed.daemon import Daemon, wait_for
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from bench import measure
from bench.judge import Found
from bench.loads import Load, Made
from bench.programs import Anetcon, Program, Rsyslog, add_rules
from bench.report import Report
from tests.load import kernel

ENGINE = "iptables-log"
CONNECTIONS = 200
"""Whose times are compared."""

DEAR = 5.0
"""Times rsyslog's CPU that the whole daemon may use: it also decodes, keeps a journal, a store and the text logs."""

WRONG = 5.0
"""Milliseconds that the time of a line may be wrong by, in the median."""


class Lines(Anetcon):
    """The whole daemon under a LOG engine."""

    name = "anetcon, iptables-log"
    audit = MappingProxyType({"engine": ENGINE, "protocols": "tcp"})

    def settle(self) -> None:
        """The queues of events are empty from the beginning: until nothing is counted any more."""
        seen = -1
        while seen != (seen := self.daemon.status()["totals"]["events"]):
            wait_for(lambda: self.daemon.status()["updated"] != self._updated(), "status is written again", every=0.1)

    def _updated(self) -> str:
        if not hasattr(self, "_last"):
            self._last = ""
        self._last, before = self.daemon.status()["updated"], self._last
        return before

    def found(self, made: Made) -> Found:
        found = super().found(made)
        found.events, found.ended = found.connections, None
        return found

    def lost(self) -> int:
        """Messages counted as lost, by all gaps."""
        gaps: list[dict[str, Any]] = json.loads(self.daemon.ask("gaps", "--format", "json").stdout)["gaps"]
        return sum(gap["lost"] or 0 for gap in gaps)


@dataclass(frozen=True)
class Outcome:
    """One listener in one run."""

    beside: str
    program: Program
    made: int
    rate: float
    cpu: float
    found: Found
    lost: int | None
    by_process: dict[str, float]
    """CPU seconds by process, of the whole life until the end of the load."""

    def row(self) -> dict[str, Any]:
        """A line of the table."""
        missing = self.made - self.found.connections
        return {
            "program": self.program.name,
            "in the same run": self.beside,
            "made/s": round(self.rate),
            "made": self.made,
            "recorded": self.found.connections,
            "lost": missing,
            "% lost": 100 * missing / self.made,
            "counted as lost": self.lost,
            "ns/line": round(self.cpu * 1e9 / max(self.found.connections, 1)),
        }


def lines(report: Report, connections: int, rounds: int) -> None:
    """Each alone, then both together; `rounds` times."""
    if missing := [name for kind in (Lines, Rsyslog) for name in kind.missing()]:
        report.say(f"left out: lines needs {', '.join(missing)}")
        return
    rows, together = [], []
    with kernel.log_all_netns():
        for _ in range(rounds):
            for kinds in ((Lines,), (Rsyslog,), (Lines, Rsyslog)):
                outcomes = _run(kinds, connections)
                rows += [outcome.row() for outcome in outcomes]
                for outcome in outcomes:
                    report.say(f"{outcome.program.name}: seconds by process {outcome.by_process}")
                if len(outcomes) > 1:
                    together.append(outcomes)
        wrong = _clock_errors()
    report.table("lines", rows)
    report.table(
        "lines: time", [{"connections": len(wrong), "median ms": wrong[len(wrong) // 2], "worst ms": wrong[-1]}]
    )
    for row in rows:
        if row["program"] == Lines.name:
            whole = row["recorded"] + row["counted as lost"] == row["made"]
            report.promise(whole, f"lines: {row['recorded']:,} recorded + {row['counted as lost']:,} counted as lost")
    ours, theirs = (sum(pair[who].row()["lost"] for pair in together) for who in (0, 1))
    report.promise(ours <= theirs, f"lines: in the same runs anetcon lost {ours:,}, rsyslog {theirs:,}")
    dear = max(pair[0].row()["ns/line"] / pair[1].row()["ns/line"] for pair in together)
    report.promise(dear <= DEAR, f"lines: anetcon costs {dear:.1f} times rsyslog's CPU a line, at most {DEAR:.0f}")
    median = statistics.median(wrong)
    report.promise(median < WRONG, f"lines: times are wrong by {median:.2f} ms (median), under {WRONG:.0f}")


def _run(kinds: Sequence[type[Program]], connections: int) -> list[Outcome]:
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        load = Load("flood", bed, connections)
        if Lines not in kinds:  # else they are the daemon's own, which are the same
            add_rules(load.routers[0].namespace)
        programs: list[Program] = []
        try:
            for kind in kinds:
                folder = Path(name, kind.__name__)
                folder.mkdir(mode=0o755)
                programs.append(kind(load, folder))
                programs[-1].start()
            Path(name).chmod(0o755)
            for program in programs:
                program.calm_down()
            before = [program.cpu() for program in programs]
            made = load.make()
            for program in programs:
                program.settle()
            by_process = [measure.cpu_by_name(program.pids()) for program in programs]
            used = [program.stop() - start for program, start in zip(programs, before, strict=True)]
        finally:
            for program in programs:
                if any(child.returncode is None and child.poll() is None for child in program.children):
                    program.stop()
        return [
            Outcome(
                ", ".join(other.name for other in programs if other is not program) or "-",
                program,
                made.count,
                made.count / made.seconds,
                cpu,
                program.found(made),
                program.lost() if isinstance(program, Lines) else None,
                {name: round(seconds, 3) for name, seconds in processes.items()},
            )
            for program, cpu, processes in zip(programs, used, by_process, strict=True)
        ]


def _clock_errors() -> list[float]:
    """Milliseconds between a connection's start as its line has it and as the kernel's event has it, sorted."""
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        Path(name).chmod(0o755)
        world = World(bed)
        router = Router(world, instances=1)
        starts: list[dict[int, float]] = []
        daemons = []
        for engine in ("conntrack", ENGINE):
            folder = Path(name, engine)
            folder.mkdir(mode=0o755)
            daemons.append(Daemon(folder, [router.name], {"audit": {"engine": engine}}))
        with daemons[0], daemons[1], Server(world.namespace, SERVER, 8080) as server:
            for daemon in daemons:
                daemon.wait_attached([router.name])
            inside = router.instances[0]
            for _ in range(CONNECTIONS):
                traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
        for daemon in daemons:
            found = daemon.ask("search", "--limit", "0", "--format", "jsonl").stdout.splitlines()
            records = [json.loads(line) for line in found]
            starts.append({r["src_port"]: datetime.fromisoformat(r["start"]).timestamp() for r in records})
        return sorted(abs(starts[1][port] - start) * 1e3 for port, start in starts[0].items())
