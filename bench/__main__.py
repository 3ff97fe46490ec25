"""`python -m bench [WHAT ...] [options]`: run the benchmarks named, or all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from anetcon.testbed.namespaces import sweep
from bench.compare import compare
from bench.programs import PROGRAMS
from bench.report import Report


def main() -> int:
    """Parse, run, report; the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="flood, mixed")
    parser.add_argument("--connections", type=int, default=500_000, help="connections of a load (500000)")
    parser.add_argument("--rounds", type=int, default=2, help="how often each program runs; the best counts (2)")
    parser.add_argument("--programs", default="", help="only programs whose name contains one of these words")
    options = parser.parse_args()
    words = options.programs.split(",")
    chosen = [kind for kind in PROGRAMS if any(word in kind.name for word in words)]

    def load(name: str) -> Callable[[Report], None]:
        return lambda report: compare(report, name, options.connections, options.rounds, chosen)

    benches: dict[str, Callable[[Report], None]] = {"flood": load("flood"), "mixed": load("mixed")}
    if unknown := set(options.what) - set(benches):
        parser.error(f"no benchmark is called {', '.join(unknown)}: there are {', '.join(benches)}")
    if os.geteuid():
        parser.error("it makes network namespaces: run it as root")
    sweep()
    report = Report()
    for name in options.what or benches:
        benches[name](report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
