"""`anetcon follow`: connections as they become known, from the journal."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from anetcon.cli.filters import STORE, Filters, LimitOption, StoreOption, with_options
from anetcon.cli.output import Format, FormatOption, Records
from anetcon.store.coverage import running
from anetcon.store.live import Live
from anetcon.store.view import Store
from anetcon.store.where import every

POLL_SECONDS = 0.2


@with_options(Filters)
def follow(
    filters: Filters,
    ends: Annotated[bool, typer.Option("--ends", help="Also print each connection again when it has ended.")] = False,
    limit: LimitOption = 0,
    store: StoreOption = STORE,
    form: FormatOption = Format.TABLE,
) -> None:
    """Print connections as they become known.

    One line each: at its start, or at its end if that is the first that is known of it. Ends at Ctrl-C or SIGTERM.
    """
    stop = threading.Event()
    live = Live(Store(store), every([filters.condition(), filters.result()]), ends)
    if running(store) is None:
        typer.echo(f"the daemon is not running with the store {store}: nothing new will come until it does", err=True)
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
            stop.wait(POLL_SECONDS)
    finally:
        records.close()
        for number, handler in before.items():
            signal.signal(number, handler)
