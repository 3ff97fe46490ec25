"""Everything at once: a flood, sealing every few seconds, and questions without a pause. Nothing may be lost."""

from __future__ import annotations

import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from anetcon.errors import NOT_FOUND, NOT_FOUND_WITH_GAPS
from anetcon.testbed.bed import Testbed
from anetcon.testbed.daemon import Daemon
from bench.judge import Found, log_lines, match, stored
from bench.loads import Load
from bench.programs import Anetcon, running
from bench.report import Report
from tests.load import kernel

ANSWERS = {0, NOT_FOUND, NOT_FOUND_WITH_GAPS}


class Sealing(Anetcon):
    """Seals every three seconds."""

    seal_minutes = 0.05


class Asking:
    """`anetcon who` in a loop, in a thread."""

    def __init__(self, daemon: Daemon, question: list[str]) -> None:
        self.statuses: list[int] = []
        self._daemon, self._question = daemon, question
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._over.is_set():
            self.statuses.append(self._daemon.ask("who", *self._question).returncode)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def together(report: Report, connections: int) -> None:
    """Run it and judge it."""
    with Testbed() as bed, tempfile.TemporaryDirectory(prefix="anetcon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        load = Load("flood", bed, connections)
        with running(Sealing, load, folder) as program:
            assert isinstance(program, Anetcon)
            daemon = program.daemon
            now = datetime.now(UTC).isoformat()
            with Asking(daemon, [f"{load.routers[0].snat}:40000", "--at", now, "--within", "1h"]) as asking:
                made = load.make()
                kernel.wait_empty(program.namespaces)
                program.settle()
            seals = len(list(daemon.store.glob("node=*/date=*/*.parquet")))
            program.stop()
        found = Found(0)
        match(made, stored(daemon.store), found)
        lines, distinct = log_lines(sorted(daemon.logs.glob("anetcon.*.log")))
    row = {
        "made": made.count,
        "made/s": round(made.count / made.seconds),
        "recorded": found.connections,
        "with end": found.ended,
        "doubles": found.doubles,
        "log lines": lines,
        "questions": len(asking.statuses),
        "files sealed meanwhile": seals,
    }
    report.table("together", [row])
    whole = found.connections == found.ended == distinct == lines == made.count and not found.doubles
    report.promise(whole, "together: all recorded once, with their ends, and in the text log once")
    answered = bool(asking.statuses) and set(asking.statuses) <= ANSWERS
    report.promise(answered, f"together: every question was answered; exit statuses {sorted(set(asking.statuses))}")
    report.promise(seals > 0, "together: sealing ran meanwhile")
