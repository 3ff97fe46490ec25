"""`anetcon export`: an evidence bundle of some time, and what one shows."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from anetcon import __version__
from anetcon.cli.options import StoreOption, with_options
from anetcon.cli.output import VERSION, Format
from anetcon.cli.people import print_json, say
from anetcon.doctor import clock_sync
from anetcon.errors import InputError
from anetcon.proof import bundle
from anetcon.proof.bundle import Evidence
from anetcon.proof.note import PublicKey
from anetcon.query.filters import Span
from anetcon.query.times import rfc3339, spoken
from anetcon.store.reader import require_store
from anetcon.system import clock, ondisk


@with_options(Span)
def export(
    span: Span,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The bundle, which must not be there yet.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the chain of custody.")] = "",
    *,
    store: StoreOption,
) -> None:
    """Write an evidence bundle of some time.

    It has records, gaps, signatures and keys in one file. `anetcon verify FILE` checks it on another machine. It has
    whole files of the store, so it has connections of everybody. Its README.txt says what it shows and what not.
    """
    require_store(store)
    custody = _custody(span, reason)
    try:
        descriptor = ondisk.open_file(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            entries = bundle.export(store, span.bounds(), file, custody)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    say(f"{out}: {len(entries)} files, {sum(entry.rows for entry in entries)} rows", *span.notes())


def _custody(span: Span, reason: str) -> dict[str, Any]:
    """Who exports it, when, by what; and whether the clock is right."""
    said = clock_sync.read()
    synchronised = None if said is None else not said[0] & clock_sync.STA_UNSYNC
    return {
        "version": VERSION,
        "program": __version__,
        "exported": clock.text(clock.now_us()),
        "clock": {"synchronised": synchronised, "estimated_error_us": said and said[1]},
        "host": socket.gethostname(),
        "user": getpass.getuser(),
        "uid": os.getuid(),
        "sudo_user": os.environ.get("SUDO_USER"),
        "reason": reason,
        "query": span.given(),
    }


def verify_bundle(path: Path, key: PublicKey | None, form: Format) -> NoReturn:
    """Say what a bundle shows. Exit status as of `verify`."""
    shown = bundle.verify(path, key)
    proven = not shown.wrong and shown.is_all and shown.checkpoint is not None and key is not None
    if form is Format.JSON:
        print_json(_plain(shown, path) | {"proven": proven})
    else:
        _print(shown, path, key)
    raise typer.Exit(1 if shown.wrong else 0 if proven else 3)


def _print(shown: Evidence, path: Path, key: PublicKey | None) -> None:
    custody, checkpoint = shown.custody, shown.checkpoint
    say(f"bundle   {path}: {shown.files} files, {shown.rows} rows")
    say(f"exported {custody.get('exported')} by {custody.get('user')} on {custody.get('host')}; nobody signed that")
    since, until = (None if each is None else spoken(each) for each in (custody["since_us"], custody["until_us"]))
    say(f"time     from {since or 'the first record'} to {until or 'the last that was sealed'} (UTC)")
    if checkpoint is not None and shown.trusted is not None:
        by = "the node's key alone" if shown.epoch is None else f"epoch {shown.epoch}"
        say(f"signed   {spoken(checkpoint.time)} UTC by {by} of {checkpoint.origin}, {checkpoint.size} lines")
        if key is None:
            say(f"the root key is the one in the bundle: compare it with one from elsewhere: {shown.trusted.root}")
        if shown.trusted.made_here:
            say("the root key was made on the node: whoever was root there then may have kept it")
    elif not shown.wrong:
        say("not signed: the digests show damage, and prove nothing")
    say(*(f"wrong: {each}" for each in shown.wrong))
    if not shown.wrong:
        say(*_extent(shown))
        more = ", and none of that time was left out" if shown.is_all else "; they are not all of that time"
        say(f"whole: the files are those of the manifest{more}")


def _extent(shown: Evidence) -> Iterator[str]:
    """What of the time that was asked for is not shown."""
    until = shown.custody["until_us"]
    if shown.removed is not None:
        yield f"retention had removed records of before {spoken(shown.removed.before)} UTC"
    if shown.through is None:
        yield "no connection that was sealed is in the manifest: nothing is shown of what was recorded"
    elif until is None or until > shown.through:
        yield f"nothing is shown after {spoken(shown.through)} UTC"


def _plain(shown: Evidence, path: Path) -> dict[str, Any]:
    checkpoint = shown.checkpoint
    through, removed = shown.through, shown.removed
    return {
        "version": VERSION,
        "bundle": str(path),
        "custody": shown.custody,
        "files": shown.files,
        "rows": shown.rows,
        "shown_to": None if through is None else rfc3339(through),
        "removed_before": None if removed is None else rfc3339(removed.before),
        "signed": checkpoint
        and {"origin": checkpoint.origin, "lines": checkpoint.size, "time": checkpoint.time, "epoch": shown.epoch},
        "root": shown.trusted and str(shown.trusted.root),
        "wrong": shown.wrong,
    }
