"""`anetcon import`: old text logs into the store. The work is `anetcon.history`; here are its options and report."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon import bash
from anetcon.cli.options import bad
from anetcon.cli.output import VERSION, Format
from anetcon.cli.people import print_json, say, warn
from anetcon.cli.progress import progress
from anetcon.config.load import Given, Loaded, load
from anetcon.errors import NOT_FOUND, InputError, PermissionMissingError, StoreError
from anetcon.link.settings import DEFAULT
from anetcon.query import times
from anetcon.record import UNKNOWN_NETNS
from anetcon.store.limits import Limits

if bash.has("history"):  # else the command is left away
    from anetcon.history.import_report import Counts, Report
    from anetcon.history.importing import Import, Settings
    from anetcon.history.names import NamespaceCodes, Nodes, listed
    from anetcon.history.source import Source
    from anetcon.history.years import NETFILTER

LOCAL = "local"
INTERRUPTED = 128 + 2

MOST_NAMED = 5
"""Files that one sentence names."""

_UNTIMED = (
    "{} events of conntrack tell no time, so they are no connection on record: only what `conntrack -E -o timestamp` "
    "prints does"
)

_FOLDED = "the order of lines tells most of them apart; the others may be an hour later than they are shown"

_BACK = (
    "its days go back {} times without a new year: either a clock was wrong, or nothing was written for so long that "
    "years are missing (then say --until)"
)

FORMATS = (Format.TABLE, Format.JSON)

# What cannot be read is said by who reads it, with a status of its own: it is no wrong usage.
FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", readable=False, help="Text logs, compressed or not; - is standard input."),
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", readable=False, help="Folder of the journal and the store.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", readable=False, help="Configuration file, if not /etc/anetcon/anetcon.toml."
    ),
]
HashFileOption = Annotated[
    Path | None,
    typer.Option("--hash-file", metavar="FILE", readable=False, help="Hash file, if not the one of the configuration."),
]
RejectsOption = Annotated[
    Path | None, typer.Option("--rejects", metavar="FILE", readable=False, help="File for lines that cannot be read.")
]


def import_(
    files: FilesArgument,
    store: StoreOption = None,
    config: ConfigOption = None,
    tz: Annotated[
        str,
        typer.Option(
            "--tz", metavar="ZONE", help="Time zone for stamps that don't include one; local: this machine's."
        ),
    ] = LOCAL,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DAY", help="Latest day of any line, if the dates of files are wrong."),
    ] = None,
    netns: Annotated[
        str | None, typer.Option("--netns", metavar="NAME", help="Namespace of lines and events that name none.")
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NAME", help="Machine of all lines, if not the one they name.")
    ] = None,
    hash_file: HashFileOption = None,
    rejects: RejectsOption = None,
    form: Annotated[
        Format, typer.Option("--format", "-f", help="Format of the report: table or json.", show_default=True)
    ] = Format.TABLE,
) -> None:
    """Add old text logs to the store.

    Reads lines of LOG rules as rsyslog wrote them, our own text logs, and text of `conntrack -E -o timestamp`. Files
    may be plain or compressed by gzip, zstd, xz or bzip2. Lines that the store has already add nothing, in whatever
    file they come. The daemon may run meanwhile.
    """
    if form not in FORMATS:
        raise bad("format", "the report is a table or json")
    for name, given in (("netns", netns), ("node", node), ("until", until)):
        if given == "":
            raise bad(name, "it is empty: leave it out, or say which")
    loaded = load(config, {"store.path": Given(str(store), "--store")} if store else {})
    zone, zone_name = _zone(tz)
    settings = _settings(loaded, zone, until, netns, node, hash_file, rejects)
    sources = [_source(path) for path in files]
    _require_writable(settings.store)
    _say_retention(settings, loaded)
    try:
        with progress("importing", _total(sources)) as more:
            report = Import(settings, more).run(sources)
    except KeyboardInterrupt:
        warn("anetcon: interrupted; what was imported so far is whole: run it again for the rest")
        raise typer.Exit(INTERRUPTED) from None
    except PermissionError as error:
        why = "run the import as its owner, or as root"
        raise PermissionMissingError(f"cannot write {error.filename or settings.store}: {why}") from error
    except OSError as error:
        raise StoreError(f"cannot write {error.filename}: {error.strerror}; put that right and run it again") from error
    if form is Format.JSON:
        _print_json(report, settings, zone_name)
    else:
        _print(report, settings, zone_name)
    _judge(report)


def _judge(report: Report) -> None:
    """End with a status of its own where something could not be read, or nothing was there."""
    if damaged := [f"{counts.name} is {counts.damage}" for counts in report.files if counts.damage]:
        raise InputError(f"{_few(damaged)}: what was before that is imported; if there is a whole copy, import it too")
    if unreadable := [counts.name for counts in report.files if counts.unreadable and not counts.found]:
        raise InputError(
            f"no line of ours can be read in {_few(unreadable)}: the lines are in {report.rejects}; if they have "
            "another prefix, name the configuration that sets it by --config"
        )
    total = report.total()
    if report.untimed and total.found == total.events:
        raise InputError(_UNTIMED.format(report.untimed))
    if total.lines and not total.found:
        warn(
            "anetcon: these files have no line of ANetCon: compare what their lines begin with to logs.prefix and its "
            "parts, or name an old configuration with their LOG_PREFIX by --config",
        )
        raise typer.Exit(NOT_FOUND)


def _few(named: list[str]) -> str:
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return "; ".join(named[:MOST_NAMED]) + more


def _settings(
    loaded: Loaded,
    zone: tzinfo,
    until: str | None,
    netns: str | None,
    node: str | None,
    hash_file: Path | None,
    rejects: Path | None,
) -> Settings:
    from anetcon.decode.logline import Prefix

    resolved = loaded.resolved()
    logs = resolved["logs"]
    file = hash_file or (Path(logs["namespace_hash_file"]) if logs["namespace_hash_file"] else None)
    unhashed = netns or (DEFAULT if logs["namespace_hash"] else UNKNOWN_NETNS)
    return Settings(
        store=Path(resolved["store"]["path"]),
        nodes=Nodes(resolved["node"], node),
        namespaces=NamespaceCodes(listed(file, asked=hash_file is not None), unhashed, given=netns is not None),
        zone=zone,
        prefix=Prefix(logs["prefix"], logs["prefix_dnat"], logs["prefix_other"], hashed=True),
        limits=Limits.of(resolved["store"]),
        events_netns=netns or DEFAULT,
        until=_day(until),
        rejects=rejects,
    )


def _zone(name: str) -> tuple[tzinfo, str]:
    """The zone of --tz and how it is called. This machine's is what its syslog daemon wrote stamps in."""
    try:
        if name != LOCAL:
            return times.zone_named(name), name
        set_here = os.environ.get("TZ", "").removeprefix(":")
        if set_here:
            return times.zone_named(set_here), f"{set_here} (this machine's)"
        from zoneinfo import ZoneInfo

        here = Path("/etc/localtime")
        if not here.exists():
            return UTC, "UTC (this machine's)"
        known = str(here.resolve()).rpartition("/zoneinfo/")[2]
        with here.open("rb") as file:
            return ZoneInfo.from_file(file, known), f"{known} (this machine's)"
    except ValueError as error:
        raise bad("tz", str(error)) from None


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        raise bad("until", f"{text!r} is not a day: write it like 2024-12-31") from None
    if day is not None and day.year < NETFILTER:
        raise bad("until", f"no line is from before {NETFILTER}: {text!r} cannot be right")
    return day


def _source(path: Path) -> Source:
    try:
        return Source(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; nothing was imported") from error


def _require_writable(store: Path) -> None:
    there = next(folder for folder in (store, *store.parents) if os.path.exists(folder))  # noqa: PTH110 - it never raises
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionMissingError(f"cannot write in the store {store}: run the import as its owner, or as root")


def _say_retention(settings: Settings, loaded: Loaded) -> None:
    days = loaded.config.store.retention_days
    if days is not None:
        warn(
            f"connections that ended before {times.spoken(settings.oldest)} UTC are left out: "
            f"store.retention_days = {days:g} ({loaded.source('store.retention_days')}) would delete them at once",
        )


def _total(sources: list[Source]) -> int | None:
    """How many bytes will be read, for the progress: each twice; None where that is not known."""
    sizes = [source.size for source in sources]
    return None if None in sizes else 2 * sum(source.weight for source in sources)


_OF_ONE = ("file", "year", "bytes", "sha256", "damage")
"""What there is of each file alone."""


def _print_json(report: Report, settings: Settings, zone: str) -> None:
    total = report.total()
    said: dict[str, Any] = {
        "version": VERSION,
        "store": str(settings.store),
        "tz": zone,
        "total": {key: value for key, value in total.plain().items() if key not in _OF_ONE},
        "unknown_namespaces": report.strangers,
        "events_without_time": report.untimed,
        "unreadable_in": report.rejects and str(report.rejects),
        "seconds": round(report.seconds, 3),
        "files": [counts.plain() for counts in report.files],
    }
    print_json(said)


def _print(report: Report, settings: Settings, zone: str) -> None:
    lines = [_sentence(counts) for counts in report.files]
    total = report.total()
    if len(lines) > 1:
        lines.append(_sentence(replace(total, name=f"{len(lines)} files")))
    if total.zoneless:
        lines.append(f"stamps without a zone were read as {zone}: another one by --tz")
    if total.folded:
        lines.append(f"{total.folded} stamps are of an hour that was twice there: {_FOLDED}")
    if total.events and not settings.namespaces.unhashed_given:
        lines.append(
            f"events of conntrack were taken for those of namespace {settings.events_netns}: --netns names another"
        )
    if report.untimed:
        lines.append(_UNTIMED.format(report.untimed))
    if report.strangers:
        named = ", ".join(f"{name} ({count} lines)" for name, count in report.strangers.items())
        lines.append(
            f"namespaces kept by their hash, for which the file of hashes has no name or several: {named}; "
            "--hash-file names another file"
        )
    if report.rejects:
        lines.append(f"{total.unreadable} unreadable lines are in {report.rejects}, each with its file and number")
    rate = total.lines / report.seconds if report.seconds else 0
    lines.append(f"{total.added} connections are new in {settings.store}; {report.seconds:.1f} s, {rate:,.0f} lines/s")
    say(*lines)


def _sentence(counts: Counts) -> str:
    words = {
        "connections added": counts.added,
        "now known better": counts.completed,
        "already there": counts.already,
        "of them by repetition": counts.repeated,
        "events of conntrack": counts.events,
        "unreadable": counts.unreadable,
        "of others": counts.others,
        "too old to be kept": counts.too_old,
    }
    shown = [f"{count} {what}" for what, count in words.items() if count or what == "connections added"]
    span = ""
    if counts.first is not None and counts.last is not None:
        span = f", {times.spoken(counts.first)} to {times.spoken(counts.last)} UTC"
    year = f"; year {counts.years}" if counts.years else ""
    year += f"; {_BACK.format(counts.back)}" if counts.back and counts.years else ""
    damage = f"; {counts.damage}" if counts.damage else ""
    digest = f"; {counts.bytes} bytes, SHA-256 {counts.sha256}" if counts.sha256 else ""
    return f"{counts.name}: {counts.lines} lines: {', '.join(shown)}{span}{year}{damage}{digest}"
