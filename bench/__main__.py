"""`python -m bench [WHAT ...] [options]`: run the benchmarks named, or all."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anetcon.testbed.bed import sweep
from bench.at_rest import at_rest
from bench.attaching import attaching
from bench.compaction import compaction
from bench.compare import compare
from bench.covered import covered
from bench.doctor import doctor
from bench.frozen import frozen
from bench.idle import idle
from bench.lines import lines
from bench.old_text import old_text
from bench.opening import opening
from bench.overfull import overfull
from bench.programs import PROGRAMS
from bench.query import query
from bench.repaired import repaired
from bench.report import Report
from bench.together import together

Options = argparse.Namespace
BUSY = 0.5
"""Load a processor above which a machine is not quiet."""

BENCHES: dict[str, Callable[[Report, Options], None]] = {
    "flood": lambda report, o: compare(report, "flood", o.connections, o.rounds, o.programs),
    "mixed": lambda report, o: compare(report, "mixed", o.connections, o.rounds, o.programs),
    "lines": lambda report, o: lines(report, o.connections, o.rounds),
    "together": lambda report, o: together(report, o.connections),
    "frozen": lambda report, _: frozen(report),
    "overfull": lambda report, o: overfull(report, o.connections),
    "covered": lambda report, o: covered(report, o.namespaces),
    "attaching": lambda report, o: attaching(report, o.namespaces),
    "idle": lambda report, o: idle(report, o.namespaces),
    "doctor": lambda report, o: doctor(report, o.namespaces),
    "repaired": lambda report, o: repaired(report, o.namespaces),
    "query": lambda report, o: query(report, o.rows, o.store),
    "bytes": lambda report, _: at_rest(report),
    "compaction": lambda report, _: compaction(report),
    "opening": lambda report, _: opening(report),
    "import": lambda report, o: old_text(report, o.connections, o.rounds),
}


def main() -> int:
    """Parse, run, report; the exit status: 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(BENCHES))
    parser.add_argument("--connections", type=int, default=500_000, help="connections of a load (500000)")
    parser.add_argument("--rounds", type=int, default=2, help="how often each program runs; the best counts (2)")
    parser.add_argument("--programs", type=_programs, default=PROGRAMS, help="words in the names of those to run")
    parser.add_argument("--namespaces", type=_numbers, default=[1, 500], help="with how many namespaces (1,500)")
    parser.add_argument("--rows", type=int, default=10_000_000, help="connections in the store (10000000)")
    parser.add_argument("--store", type=Path, help="a store made before, instead of a new one")
    options = parser.parse_args()
    if unknown := set(options.what) - set(BENCHES):
        parser.error(f"no benchmark is called {', '.join(unknown)}: there are {', '.join(BENCHES)}")
    if os.geteuid():
        parser.error("it makes network namespaces: run it as root")
    sweep()
    report = Report()
    with alone(report):
        for name in options.what or BENCHES:
            BENCHES[name](report, options)
    return report.finish()


@contextmanager
def alone(report: Report) -> Iterator[None]:
    """Two benchmarks at once measure each other: wait until no other runs on this machine."""
    with (Path(tempfile.gettempdir()) / "anetcon-bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say("another benchmark runs on this machine: waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (load := os.getloadavg()[0]) > BUSY * (os.cpu_count() or 1):
            report.say(f"the machine is busy (load {load:.2f}): times will be higher than they need be")
        yield


def _programs(words: str) -> list[type]:
    return [kind for kind in PROGRAMS if any(word in kind.name for word in words.split(","))]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
