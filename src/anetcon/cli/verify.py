"""`anetcon verify`: whether anything that was sealed has been changed, removed or added since."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon.cli.options import StoreOption, bad, with_options
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.people import print_json, say
from anetcon.cli.progress import progress
from anetcon.query.filters import Span
from anetcon.query.times import rfc3339, spoken
from anetcon.store.checked import Checked
from anetcon.store.verify import Day, Result, Scope, Unsealed, Verifier

_DIGEST = re.compile("[0-9a-f]{64}")
_CHECKSUMS = "what is not sealed has checksums, which show damage and prove nothing"
_UNPROVEN = """\
nothing is proven against somebody who can write the whole store: no head was given
note this head elsewhere, and give it with --known next time"""


@with_options(Span)
def verify(
    span: Span,
    known: Annotated[
        str | None,
        typer.Option("--known", metavar="SHA256", help="Head that an earlier run printed: it must be in the chain."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Note in FILE what was read, and go on from what it has."),
    ] = None,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """Read the whole store again and compare it with its manifest.

    Finds a byte that was changed, a file that is missing, added or replaced, and a manifest that was changed or cut.
    With --known it also finds a store that was rewritten, or rolled back to before that head. It changes nothing, and
    the daemon may run.

    Exit status 0: whole, and --known proves all of it. 1: something is wrong. 3: nothing is wrong, but not all of it is
    proven.
    """
    if known is not None and not _DIGEST.fullmatch(known):
        raise bad("known", f"{known!r} is no SHA-256: 64 hexadecimal digits")
    scope = Scope(*span.bounds())
    checked = Checked(resume)
    verifier = Verifier(store, scope, checked)
    with progress("verifying", verifier.bytes()) as more:
        result = verifier.run(known, more)
    if form is Format.JSON:
        print_json(_plain(result, store, {"query": span.given() | {"known": known}}))
    elif form is Format.TABLE:
        _print(result, store, known)
        say(*span.notes())
    else:
        print_rows(form, [each._asdict() for each in result.findings])
    raise typer.Exit(1 if result.findings else 0 if result.proven else 3)


def _print(result: Result, store: Path, known: str | None) -> None:
    say(f"store    {store}", f"chain    {result.lines} lines, head {result.head or '-'}", "")
    print_rows(Format.TABLE, [_row(name, day, known) for name, day in sorted(result.days.items())])
    lines = [f"not sealed: {_unsealed(each)}" for each in result.unsealed]
    lines += [_CHECKSUMS] if lines else []
    lines += result.notes
    if result.before:
        lines.append(f"{result.before} files were read by an earlier run, and not touched since")
    lines += [f"wrong: {each.says}" for each in result.findings]
    say("", *lines, *([""] if lines else []), *_verdict(result, known))


def _row(name: str, day: Day, known: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"day or table": name, "files": day.files, "rows": day.rows, "bytes": day.bytes}
    return row if known is None else row | {"files proven": day.proven}


def _unsealed(each: Unsealed) -> str:
    segments = f"{each.segments} segment{'s' * (each.segments != 1)}"
    return f"{each.rows} rows of {each.table} in {segments}, {spoken(each.begin)} to {spoken(each.end)} UTC"


def _verdict(result: Result, known: str | None) -> list[str]:
    if result.findings:
        count = len(result.findings)
        what = "one thing is" if count == 1 else f"{count} things are"
        return [f"{what} wrong: keep the store as it is as evidence, and restore a copy of it from a backup"]
    if result.proven:
        return ["whole, and proven: the store is as it was when the head was noted"]
    whole = "whole: all that was read is as the manifest says"
    if known is None:
        return [whole, *_UNPROVEN.splitlines()]
    if result.partly:
        return [whole, "files of other times were not read, so nothing is said of them"]
    if result.known == result.lines:
        return [whole, "proven: what is sealed; what is not sealed is not"]
    return [whole, f"proven up to line {result.known} of {result.lines}; what came behind it is not"]


def _plain(result: Result, store: Path, head: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "store": str(store),
        **head,
        "chain": {"lines": result.lines, "head": result.head or None, "known": result.known},
        "days": [
            {"day": name, "files": day.files, "rows": day.rows, "bytes": day.bytes, "proven": day.proven}
            for name, day in sorted(result.days.items())
        ],
        "unsealed": [
            {
                "table": each.table,
                "segments": each.segments,
                "rows": each.rows,
                "from": rfc3339(each.begin),
                "to": rfc3339(each.end),
            }
            for each in result.unsealed
        ],
        "findings": [{"wrong": each.wrong, "path": each.path, "says": each.says} for each in result.findings],
        "notes": result.notes,
        "proven": result.proven and not result.findings,
    }
