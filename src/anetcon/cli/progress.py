"""How far a long command is: a bar on a terminal; else a line now and then, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

SAID_EVERY = 30.0
"""Seconds between two lines."""


@contextmanager
def progress(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """To be called with how many bytes more are done; `total`: how many there are, where that is known."""
    if not sys.stderr.isatty():
        yield _Lines(doing, total, sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda more: bar.advance(task, more)


class _Lines:
    """Says how far it is, seldom."""

    def __init__(self, doing: str, total: int | None, to: TextIO) -> None:
        self._doing, self._total, self._to = doing, total, to
        self._done, self._said = 0, time.monotonic()

    def __call__(self, more: int) -> None:
        self._done += more
        if time.monotonic() - self._said >= SAID_EVERY:
            self._said = time.monotonic()
            share = f"{100 * self._done / self._total:.0f} %" if self._total else f"{self._done / 1e6:.0f} MB"
            self._to.write(f"{self._doing}: {share} read\n")
            self._to.flush()
