"""`anetcon follow`: connections as they become known, from the journal."""

from __future__ import annotations

import signal
import threading
import time
from typing import Annotated

import typer

from anetcon.cli import answer, output
from anetcon.cli.options import LimitOption, StoreOption, with_options
from anetcon.cli.output import Format, FormatOption, Records
from anetcon.cli.people import warn
from anetcon.gaps import Cause
from anetcon.query.filters import Filters, strangers
from anetcon.store.coverage import Coverage, Question, coverage, running
from anetcon.store.live import Live
from anetcon.store.reader import Store
from anetcon.store.sql import every

POLL_SECONDS = 0.2
GAP_SECONDS = 2.0
"""How often gaps are looked for."""


@with_options(Filters)
def follow(
    filters: Filters,
    ends: Annotated[bool, typer.Option("--ends", help="Print each connection again when it has ended.")] = False,
    limit: LimitOption = 0,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """Print connections as they become known.

    Prints one line a connection, at its start. If the end is the first that is known of it, prints the line at its
    end. Prints each gap on standard error as it becomes known: `gap: ...`. Ends at Ctrl-C or SIGTERM.
    """
    stop = threading.Event()
    gaps = _Gaps(Store(store), filters)
    for option, sentence in strangers(Store(store), filters.netns, filters.node):
        warn(f"--{option}: {sentence}; waiting for one")
    live = Live(Store(store), every([filters.condition(), filters.result()]), ends)
    if running(store) is None:
        warn(f"the daemon is not running with the store {store}: nothing new will come until it does")
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    records = Records("connections", form, live=True)
    left = limit
    try:
        while not stop.is_set():
            for rows in live.poll():
                records.rows(rows.slice(0, left) if limit else rows)
                left -= len(rows)
                if stop.is_set() or (limit and left <= 0):
                    return
            gaps.look()
            stop.wait(POLL_SECONDS)
    finally:
        if form is Format.JSON:
            records.tail = {"coverage": answer.coverage_json(gaps.coverage())}
        records.close()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Gaps:
    """Gaps in what is followed, from now on: each is said when it is known, and again when it is over."""

    def __init__(self, store: Store, filters: Filters) -> None:
        self._store = store
        self._question = Question(time.time_ns() // 1000, None, filters.netns or (), filters.node or ())
        self._said: set[tuple[object, ...]] = set()
        self._next = 0.0

    def coverage(self) -> Coverage:
        """What the stream so far may claim."""
        return coverage(self._store, self._question)

    def look(self) -> None:
        """Say what is new, if it is time to look."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + GAP_SECONDS
        for gap in output.plain("gaps", self.coverage().gaps):
            # What is not yet written is every stream at its beginning: no gap to be told of.
            known = (gap["node"], gap["netns"], gap["from"], gap["cause"], gap["to"] is None)
            if gap["cause"] != Cause.NOT_YET_WRITTEN and known not in self._said:
                self._said.add(known)
                warn(f"gap: {answer.gap_words(gap)}")
