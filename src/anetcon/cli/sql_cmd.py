"""`anetcon sql`: questions in SQL about what is sealed, by DuckDB, read only."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anetcon.cli.options import StoreOption
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.people import print_json, say, warn
from anetcon.query.times import rfc3339, spoken
from anetcon.store import macros
from anetcon.store.views import Missing, Views, WrongQueryError

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sql(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="A SELECT; without one they are read from standard input.")
    ] = None,
    macro_file: Annotated[
        bool, typer.Option("--macros", help="Print macros for another DuckDB, and ask nothing.")
    ] = False,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """Ask in SQL about what is sealed, read only.

    Views: connections, by_address (a row for each side of a connection), gaps. Macros: ip('10.1.0.12'),
    in_net(src_ip, '10.0.0.0/8'). What is missing is said on stderr: no answer here proves that nothing else happened.

    Exit status 0: it was answered, with rows or without.
    """
    if macro_file:
        say(*macros.text().splitlines())
        return
    views = Views(store)
    warn(*filter(None, [views.slower, _told(views.missing)]))
    if query is not None:
        try:
            _answer(views, query, form)
        except WrongQueryError as error:
            raise typer.BadParameter(str(error), param_hint="QUERY") from None
        return
    for statement in _statements():
        try:
            _answer(views, statement, form)
        except WrongQueryError as error:
            warn(f"anetcon: {error}")
            if not sys.stdin.isatty():
                raise typer.Exit(2) from None


def _told(missing: Missing) -> str:
    """What the answer lacks, in one line."""
    parts = ["no gap of the record hides a connection" if missing.complete else f"the record has gaps: {missing.gaps}"]
    if missing.rows and missing.since is not None:
        parts.append(f"{missing.rows} rows since {spoken(missing.since)} UTC are not sealed and not in it")
    return "; ".join([*parts, "rows alone don't prove that nothing else happened: ask `anetcon search`"])


def _statements() -> Iterator[str]:
    """What standard input has, up to each semicolon at the end of a line."""
    prompts = ("anetcon> ", "    ...> ") if sys.stdin.isatty() and sys.stdout.isatty() else ("", "")
    lines: list[str] = []
    while True:
        try:
            line = input(prompts[bool(lines)]) + "\n"
        except EOFError:
            line = ""
        lines.append(line)
        if (not line or line.rstrip().endswith(";")) and "".join(lines).strip(" \t\n;"):
            yield "".join(lines)
            lines = []
        if not line:
            return


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch by the names of its columns."""
    names = batch.schema.names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise WrongQueryError(f"two columns are called {twice}: give one of them another name with AS")
    return [_plain(row) for row in batch.to_pylist()]


def _answer(views: Views, query: str, form: Format) -> None:
    batches = map(_rows, views.ask(query))
    if form in (Format.CSV, Format.JSONL):
        for number, rows in enumerate(batches):
            print_rows(form, rows, head=not number)
        return
    rows = [row for batch in batches for row in batch]
    if form is Format.JSON:
        missing = views.missing
        since = None if missing.since is None else rfc3339(missing.since)
        lacks = {"gaps": missing.gaps, "complete": missing.complete, "unsealed": {"rows": missing.rows, "from": since}}
        print_json({"version": VERSION, "query": query, "missing": lacks, "rows": rows})
    elif rows:
        print_rows(form, rows)
    else:
        say("no rows")


def _plain(value: Any) -> Any:
    """A value as JSON has it: times as records have them, bytes as hexadecimal."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        whole = value if value.tzinfo else value.replace(tzinfo=UTC)
        return rfc3339((whole - _EPOCH) // timedelta(microseconds=1))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
