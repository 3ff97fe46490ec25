"""`anetcon verify`: whether anything that was sealed has been changed, removed or added since."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon.cli.export import verify_bundle
from anetcon.cli.options import StoreOption, bad, with_options
from anetcon.cli.output import VERSION, Format, FormatOption, print_rows
from anetcon.cli.people import print_json, say
from anetcon.cli.progress import progress
from anetcon.errors import InputError
from anetcon.proof.anchors import anchors
from anetcon.proof.attested import Attested, Seal, attested
from anetcon.proof.note import PublicKey, read_keys
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
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Evidence bundle to check, in place of a store.")
    ] = None,
    known: Annotated[
        str | None,
        typer.Option("--known", metavar="SHA256", help="Head that an earlier run printed: it must be in the chain."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Public root keys of the node, from elsewhere, newest last."),
    ] = None,
    noted: Annotated[
        Path | None,
        typer.Option("--anchors", metavar="FILE", help="Log from elsewhere with lines of `anetcon sign` in it."),
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
    With --known it also finds a store that was rewritten, or rolled back to before that head. Where the store is
    signed, it checks every signature and what was signed; --key says whose signatures count. With --anchors it also
    finds a signed store that was rolled back. It changes nothing, and
    the daemon may run. With FILE it checks a bundle of `anetcon export`, on any machine.

    Exit status 0: whole, and --known or --anchors proves all of it. 1: something is wrong. 3: nothing is wrong, but not
    all of it is proven. 8: the store cannot be read.
    """
    if known is not None and not _DIGEST.fullmatch(known):
        raise bad("known", f"{known!r} is no SHA-256: 64 hexadecimal digits")
    keys = [] if key is None else _public_keys(key)
    trusted = keys[-1] if keys else None
    if bundle is not None:
        _unused(known=known, anchors=noted, resume=resume, since=span.since, until=span.until)
        verify_bundle(bundle, trusted, form)
    scope = Scope(*span.bounds())
    checked = Checked(resume)
    verifier = Verifier(store, scope, checked)
    with progress("verifying", verifier.bytes()) as more:
        result = verifier.run(known, more)
    signed = attested(store, trusted, anchors(noted) if noted else (), keys[:-1])
    result.notes.extend(signed.notes)
    if form is Format.JSON:
        print_json(_plain(result, signed, store, {"query": span.given() | {"known": known}}))
    elif form is Format.TABLE:
        _print(result, signed, store, known)
        say(*span.notes())
    else:
        print_rows(form, [each._asdict() for each in (*result.findings, *signed.flaws)])
    raise typer.Exit(1 if result.findings or signed.flaws else 0 if _is_proven(result, signed) else 3)


def _unused(**given: object) -> None:
    """Refuse what would not be looked at for a bundle: who gave it would believe that it was."""
    for name, value in given.items():
        if value is not None:
            raise bad(name, "it is for a store; with a bundle only --key and --format go")


def _is_proven(result: Result, signed: Attested) -> bool:
    """Whether all there is is as somebody noted it elsewhere."""
    lines = min(signed.anchored, signed.size)
    anchored = lines and lines >= result.lines and not result.unsealed and not result.partly
    return not result.findings and not signed.flaws and bool(result.proven or anchored)


def _public_keys(path: Path) -> list[PublicKey]:
    try:
        return read_keys(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _print(result: Result, signed: Attested, store: Path, known: str | None) -> None:
    say(f"store    {store}", f"chain    {result.lines} lines, head {result.head or '-'}", "")
    print_rows(Format.TABLE, [_row(name, day, signed, known) for name, day in sorted(result.days.items())])
    lines = [f"not sealed: {_unsealed(each)}" for each in result.unsealed]
    lines += [_CHECKSUMS] if lines else []
    lines += result.notes
    if result.before:
        lines.append(f"{result.before} files were read by an earlier run, and not touched since")
    lines += [f"wrong: {each.says}" for each in (*result.findings, *signed.flaws)]
    say("", *lines, *([""] if lines else []), *_signatures(result, signed), *_verdict(result, signed, known))


def _row(name: str, day: Day, signed: Attested, known: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"day or table": name, "files": day.files, "rows": day.rows, "bytes": day.bytes}
    row |= {} if known is None else {"files proven": day.proven}
    if not signed.seals:
        return row
    seal = signed.of(day.line)
    return row | {"signed by": _by(seal), "at (UTC)": None if seal is None else spoken(seal.time)}


def _by(seal: Seal | None) -> str | None:
    """The key that signed a checkpoint."""
    if seal is None:
        return None
    return "the node's key" if seal.epoch is None else f"epoch {seal.epoch}"


def _signatures(result: Result, signed: Attested) -> Iterator[str]:
    """What the signatures prove, and to whom."""
    if not signed.seals or signed.trusted is None:
        return
    last = signed.seals[-1]
    lines = max(signed.size, result.lines)
    yield f"signed: {signed.size} of {lines} lines, the last at {spoken(last.time)} UTC ({_by(last)})"
    yield f"the keys are of {signed.trusted.origin}"
    if signed.own:
        yield f"the root key is the one that the node names: compare it with the one you noted: {signed.trusted.root}"
    if signed.trusted.made_here:
        yield "the root key was made on this node: whoever was root there then may have kept it"
    if signed.anchored:
        yield f"anchored: {signed.anchored} of {lines} lines are as they were noted elsewhere"
        return
    yield "signed, not anchored: if store and signatures were rolled back together, it can't be detected from here"


def _unsealed(each: Unsealed) -> str:
    segments = f"{each.segments} segment{'s' * (each.segments != 1)}"
    return f"{each.rows} rows of {each.table} in {segments}, {spoken(each.begin)} to {spoken(each.end)} UTC"


def _verdict(result: Result, signed: Attested, known: str | None) -> list[str]:
    if result.findings or signed.flaws:
        count = len(result.findings) + len(signed.flaws)
        what = "one thing is" if count == 1 else f"{count} things are"
        return [f"{what} wrong: keep the store as it is as evidence, and restore a copy of it from a backup"]
    if _is_proven(result, signed):
        return ["whole, and proven: the store is as it was when the head was noted"]
    whole = "whole: all that was read is as the manifest says"
    if known is None:
        return [whole, *([] if signed.seals else _UNPROVEN.splitlines())]
    if result.partly:
        return [whole, "files of other times were not read, so nothing is said of them"]
    if result.known == result.lines:
        return [whole, "proven: what is sealed; what is not sealed is not"]
    return [whole, f"proven up to line {result.known} of {result.lines}; what came behind it is not"]


def _plain(result: Result, signed: Attested, store: Path, head: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "store": str(store),
        **head,
        "chain": {"lines": result.lines, "head": result.head or None, "known": result.known},
        "days": [
            {"day": name, "files": day.files, "rows": day.rows, "bytes": day.bytes, "proven": day.proven}
            | {"signed_by": _by(seal), "signed_at": None if seal is None else seal.time}
            for name, day in sorted(result.days.items())
            for seal in [signed.of(day.line)]
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
        "findings": [
            {"wrong": each.wrong, "path": each.path, "says": each.says} for each in (*result.findings, *signed.flaws)
        ],
        "signed": _signed(signed),
        "notes": result.notes,
        "proven": _is_proven(result, signed),
    }


def _signed(signed: Attested) -> dict[str, Any]:
    """What the signatures prove."""
    last = signed.seals[-1] if signed.seals else None
    return {
        "integrity": signed.integrity,
        "lines": signed.size,
        "anchored": signed.anchored,
        "time": last and last.time,
        "epoch": last and last.epoch,
        "root": None if signed.trusted is None else str(signed.trusted.root),
        "origin": None if signed.trusted is None else signed.trusted.origin,
        "root_given": not signed.own,
    }
