"""The table on the screen, the JSON beside it, and the promises: what was measured against what is claimed."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass
class Report:
    """What a run of benchmarks found. `promise` notes what must hold; `finish` prints everything and tells."""

    started: float = field(default_factory=time.time)
    results: dict[str, Any] = field(default_factory=dict)
    promises: list[tuple[bool, str]] = field(default_factory=list)
    console: Console = field(default_factory=lambda: Console(width=None if os.isatty(1) else 240, soft_wrap=False))

    def table(self, title: str, rows: Sequence[dict[str, Any]]) -> None:
        """Print rows of equal keys, and keep them."""
        self.results[title] = list(rows)
        table = Table(title=title, title_justify="left")
        for name in rows[0]:
            table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
        for row in rows:
            table.add_row(*(_shown(value) for value in row.values()))
        self.console.print(table)

    def promise(self, holds: bool, what: str) -> None:
        """Something the product claims."""
        self.promises.append((holds, what))
        self.console.print(f"{'holds ' if holds else 'BROKEN'}  {what}", markup=False, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line on what is going on."""
        self.console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> int:
        """Write the JSON; the exit status: 1 when a promise is broken."""
        RESULTS.mkdir(exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.started))
        path = RESULTS / f"{'-'.join(self.results) or 'none'}-{stamp}.json".replace(" ", "_").replace("/", "_")
        machine = {"kernel": platform.release(), "processors": os.cpu_count(), "python": platform.python_version()}
        broken = [what for holds, what in self.promises if not holds]
        path.write_text(
            json.dumps(
                {
                    "started": stamp,
                    "machine": machine,
                    "results": self.results,
                    "promises": [{"holds": holds, "what": what} for holds, what in self.promises],
                },
                indent=1,
            )
        )
        self.say(f"written to {path}")
        for what in broken:
            self.console.print(f"broken: {what}", style="red", markup=False, highlight=False)
        return 1 if broken else 0


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
