"""`anetcon match`: a list of addresses and networks, and which of them anybody talked to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon.cli import answer
from anetcon.cli.options import StoreOption, with_options
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.people import print_json, say, warn
from anetcon.errors import InputError
from anetcon.query.filters import Span
from anetcon.query.indicators import Indicator, indicators
from anetcon.query.times import rfc3339, spoken
from anetcon.store.coverage import Coverage, Question, coverage
from anetcon.store.matching import Talked, talked
from anetcon.store.reader import Store

STDIN = Path("-")


@with_options(Span)
def match(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Addresses and networks, one a line; - is standard input.")
    ],
    span: Span,
    rows: Annotated[bool, typer.Option("--rows", help="Also print how many connections there were.")] = False,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """Find which addresses of a list anybody talked to.

    FILE has addresses and networks, one a line. Empty lines and comments (#) do not matter, and 192.0.2[.]1 is read as
    192.0.2.1. An address counts on any side of a connection. A table shows those that were seen; other formats show
    every one.

    Exit status 0: at least one was seen. 1: none was, and the record is complete. 3: none was, and the record has gaps
    there.
    """
    listed = _read(file)
    since, until = span.bounds()
    view = Store(store)

    def answered() -> tuple[Coverage, list[Talked]]:
        return coverage(view, Question(since, until)), talked(view, [each.network for each in listed], since, until)

    covered, found = view.whole(answered)
    seen = {each.number: each for each in found}
    if form is Format.TABLE:
        print_rows(form, [_told(listed[each.number], each, rows) for each in found])
        count = f"{len(found)} of {len(listed)} in the list {'was' if len(found) == 1 else 'were'} seen"
        say(*([""] if found else []), count, *answer.window(covered, found=bool(found)), *span.notes())
    else:
        every = [_row(each, seen.get(number), rows) for number, each in enumerate(listed)]
        if form is Format.JSON:
            head = {"query": span.given(), "coverage": answer.coverage_json(covered)}
            print_json({"version": VERSION, **head, "addresses": every})
        else:
            print_rows(
                form, [{**row, "sides": " ".join(row["sides"])} for row in every] if form is Format.CSV else every
            )
    answer.say_beside(form, covered, found=bool(found))
    warn(*filter(None, [view.slower]))
    answer.leave(bool(found), covered)


def _read(file: Path) -> list[Indicator]:
    name = "standard input" if file == STDIN else str(file)
    try:
        lines = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
        found = list(indicators(lines.decode().splitlines()))
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(f"{name} is no text: a list has an address or a network a line") from None
    except ValueError as error:
        raise InputError(f"{name}: {error}; put that right: what cannot be read would not be looked for") from None
    if not found:
        raise InputError(f"{name} names no address and no network")
    return found


def _row(listed: Indicator, seen: Talked | None, rows: bool) -> dict[str, Any]:
    """One line of the list, as programs get it."""
    known: dict[str, Any] = {
        "line": listed.line,
        "address": listed.text,
        "seen": seen is not None,
        "first": None if seen is None else rfc3339(seen.first),
        "last": None if seen is None or seen.open else rfc3339(seen.last),
        "sides": [] if seen is None else list(seen.sides),
        "days": 0 if seen is None else seen.days,
    }
    return known | ({"connections": 0 if seen is None else seen.connections} if rows else {})


def _told(listed: Indicator, seen: Talked, rows: bool) -> dict[str, Any]:
    """The same for people."""
    told = {
        "address": listed.text,
        "first": spoken(seen.first),
        "last": "still open" if seen.open else spoken(seen.last),
        "sides": " ".join(seen.sides),
        "days": seen.days,
    }
    return told | ({"connections": seen.connections} if rows else {})
