"""`anetcon status`: what the keeper wrote last, whether it still does, and what is wrong."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon.cli.options import StoreOption
from anetcon.cli.output import Format, FormatOption, plain, print_rows
from anetcon.cli.people import print_json, say, warn
from anetcon.errors import StoreError
from anetcon.gaps import LIMITS, WHOLE, Cause, Mark
from anetcon.journal.read import last_flush
from anetcon.link import counters
from anetcon.proof.told import told
from anetcon.query.times import moment, spoken
from anetcon.store.coverage import SECOND, STALE, Question, coverage, running, unwritten
from anetcon.store.layout import follower_path, journal_folder, sign_folder, status_path
from anetcon.store.reader import Store

SINCE = "since (UTC)"
COLUMNS = ("netns", "state", SINCE, "events", "starts", "ends", "drops", "undecodable", "slow", "filtered", "message")
CHECKED, REPAIRED = "rules checked (UTC)", "rules repaired (UTC)"
"""Columns there are for the LOG engines alone."""
NOT_WELL = 1
CHILDREN = ("capture", "follow", "kmsg")
LATELY = 600 * SECOND
"""So long a process that ended by itself is told of: what ends again and again has not yet come to rest."""
UNSIGNED = 300 * SECOND
"""Whoever signs says once a minute that it lives."""
HARMLESS = WHOLE | LIMITS | Cause.having(Mark.TOLD)
"""Causes of gaps that may last though all is well, or of which more is said."""
SHOWN = 3
LONGEST = 500
"""Characters of a follower's complaint."""


def status(
    store: StoreOption,
    form: FormatOption = Format.TABLE,
    gone: Annotated[bool, typer.Option("--gone", help="Also list the namespaces that are gone (table).")] = False,
) -> None:
    """Show how the daemon is doing, namespace by namespace.

    Exit status 0: all is well. 1: something is wrong. Each line that begins with `wrong:` says what.
    """
    said, slower = read(store)
    if form is Format.JSON:
        print_json(said)
    elif form is Format.TABLE:
        _table(said, gone)
    else:
        print_rows(form, said["namespaces"])
    warn(*filter(None, [slower]))
    if said["wrong"]:
        raise typer.Exit(NOT_WELL)


def read(store: Path) -> tuple[dict[str, Any], str]:
    """status.json, with `running` (the daemon lives), `recording` (capture wrote the journal lately), `wrong`, gaps;
    and why questions take longer than they need, if they do."""
    path = status_path(store)
    said: dict[str, Any] = {"version": 1, "namespaces": [], "totals": {}}
    try:
        said = _checked(json.loads(path.read_bytes()))
        owner = running(store)
    except FileNotFoundError:
        owner = running(store)
    except PermissionError:
        raise StoreError(f"cannot read {path}: be root or a member of group adm") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"cannot read {path}: no daemon wrote it so; it is written anew every few seconds") from error
    lately = owner is not None and _records(store, said)
    capture = {"unwritten": None} | said.get("capture", {})
    if owner is None:
        capture["unwritten"] = None
    elif not lately:
        capture["unwritten"] = unwritten(store)
    recording = lately and capture["unwritten"] is None
    gaps, slower = _gaps(store, said["started"]) if "started" in said else ([], "")
    told = {"running": owner is not None, "recording": recording} | said | {"capture": capture}
    wrong = list(_wrong(store, told, gaps))
    return told | {"wrong": wrong, "gaps": _by_cause(gaps, said.get("started", ""))}, slower


def _checked(said: Any) -> dict[str, Any]:
    """What a keeper may have written. Raises ValueError or TypeError."""
    found = {name: type(said[name]) for name in ("namespaces", "totals") if name in said}
    if found != {"namespaces": list, "totals": dict} or any(
        type(entry["netns"]) is not str for entry in said["namespaces"]
    ):
        raise ValueError
    if "started" in said:
        moment(said["started"])
    if any(type(said.get(name, {})) is not dict for name in ("capture", "follow", "kmsg")):
        raise ValueError
    return dict(said)


def _gaps(store: Path, started: str) -> tuple[list[dict[str, Any]], str]:
    """Since the daemon's start, also those that make no answer incomplete; and why that took longer than it need."""
    view = Store(store)
    return plain("gaps", coverage(view, Question(moment(started).us, everything=True)).gaps), view.slower


def _by_cause(gaps: list[dict[str, Any]], started: str) -> list[dict[str, Any]]:
    """By cause: the gaps that began since the daemon's start, and how much was `lost` in them, None where any of them
    does not tell; what was `counted`; also those that make no answer incomplete (`whole`), as a sink that is behind."""
    found: dict[str, dict[str, Any]] = {}
    for gap in gaps:
        if (gap["from"] or "") < started:
            continue
        known = {"cause": gap["cause"], "gaps": 0, "lost": 0, "counted": 0, "whole": gap["cause"] in WHOLE}
        cause = found.setdefault(gap["cause"], known)
        cause["gaps"] += 1
        cause["counted"] += gap["lost"] or 0
        cause["lost"] = None if None in (cause["lost"], gap["lost"]) else cause["counted"]
    return [found[cause] for cause in sorted(found)]


def _wrong(store: Path, said: dict[str, Any], gaps: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong now, a sentence each; the page `how-to/check-a-host.md` lists all of it."""
    if not said["running"]:
        last = f"; it last wrote its status at {_clock(said['updated'])}" if "updated" in said else ""
        yield f"the daemon is not running with the store {store}: nothing is recorded{last}"
        return
    if "updated" not in said:
        yield f"a daemon runs with the store {store}, and has not written its status yet: is that disk full?"
        return
    if not said["recording"]:
        yield _not_recording(said)
    if (old := _age(said["updated"])) > STALE:
        yield f"the keeper does not move: it last wrote its status {old / SECOND:.0f} s ago; see the daemon's log"
    for name in CHILDREN:
        child = said.get(name, {"pid": 0})
        if child.get("pid") is None:
            yield f"{name} does not run; it is started again by itself, and the daemon's log says why it ended"
        elif child.get("failed") and _age(child["failed"]) < LATELY:
            when = _clock(child["failed"])
            yield f"{name} ended by itself at {when} and was started again; the daemon's log says why"
    if said.get("refused"):
        yield "the configuration is refused, and the one before holds; the daemon's log says why"
    yield from _failed(store)
    yield from _wrong_namespaces(said["namespaces"])
    yield from _lasting(said, gaps)
    yield from _unsigned(store)


def _failed(store: Path) -> Iterator[str]:
    """Text logs and sinks that do not work now: what follow wrote of each."""
    for path in sorted(follower_path(store, "any").parent.glob("*.failed")):
        with contextlib.suppress(OSError):
            yield f"{path.read_text(errors='replace')[:LONGEST]}; it is tried again, and nothing is lost"


def _wrong_namespaces(namespaces: list[dict[str, Any]]) -> Iterator[str]:
    """Those that are not audited, or of which the kernel tracks nothing any more."""
    there = [each for each in namespaces if each["state"] != "gone"]
    if not there:
        yield "no namespace is audited: none has a name that audit.namespaces selects (see `anetcon config show`)"
    retrying = [each for each in there if each["state"] == "retrying"]
    if retrying:
        why = f": {retrying[0].get('message') or 'no reason given'}"
        yield f"{len(retrying)} of {len(there)} namespaces cannot be audited ({_some(retrying)}){why}"
    inactive = [each for each in there if each["state"] == counters.INACTIVE]
    ended = [each for each in inactive if each.get("starts") or len(inactive) == len(there)]
    if ended:
        yield f"no rule uses connection tracking in {_some(ended)}: nothing is recorded there"


def _lasting(said: dict[str, Any], gaps: list[dict[str, Any]]) -> Iterator[str]:
    """Gaps that last now: what could be recorded, and is not."""
    retrying = {each["netns"] for each in said["namespaces"] if each["state"] == "retrying"}
    found: dict[str, list[dict[str, Any]]] = {}
    for gap in gaps:
        ours = gap["node"] in (None, said.get("node")) and gap["netns"] not in retrying
        if gap["to"] is None and ours and gap["from"] is not None and gap["cause"] not in HARMLESS:
            found.setdefault(gap["cause"], []).append(gap)
    for cause, each in sorted(found.items()):
        where = _some([gap for gap in each if gap["netns"]]) or "every namespace"
        yield f"a gap lasts ({cause}) in {where} since {_clock(min(gap['from'] for gap in each))}: see `anetcon gaps`"


def _unsigned(store: Path) -> Iterator[str]:
    """Where the store was signed once, and is not any more."""
    now = told(sign_folder(store))
    if now is None:
        return
    if now.refused:
        yield f"what is sealed is not signed: {now.refused}; see `anetcon verify`"
    elif _age(now.time) > UNSIGNED:
        yield f"what is sealed is not signed since {_clock(now.time)}: `anetcon sign` does not run"


def _some(rows: list[dict[str, Any]]) -> str:
    """The names of a few namespaces, and how many more there are."""
    names = [row["netns"] for row in rows]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _clock(text: Any) -> str:
    """A time that the daemon wrote, for people."""
    return f"{spoken(text)} UTC" if isinstance(text, str) else "a time that it did not write"


def _age(text: str) -> int:
    """Microseconds since a time."""
    return time.time_ns() // 1000 - moment(text).us


def _lost(gap: dict[str, Any]) -> str:
    if gap["whole"]:
        return "no connection is missing"
    if gap["lost"] is not None:
        return f"{gap['lost']} counted lost"
    return f"{gap['counted']} counted lost, and an unknown number" if gap["counted"] else "unknown how many were lost"


def _not_recording(said: dict[str, Any]) -> str:
    flushed, why = said["capture"].get("flushed"), said["capture"]["unwritten"]
    last = _clock(flushed) if flushed else "no time at all"
    if why is None:
        return f"capture does not move: it last wrote the journal at {last}; see the daemon's log"
    waits = "" if why["waiting_rows"] is None else f"; {why['waiting_rows']} records wait in memory"
    since = _clock(why["since"]) if why["since"] else last
    return f"the journal cannot be written since {since}: {why['reason']}{waits}; make room for it"


def _records(store: Path, said: dict[str, Any]) -> bool:
    """Whether the journal was written lately; the journal itself says so, status.json a little later."""
    started = moment(said["started"]).us if "started" in said else 0
    flushed = last_flush(journal_folder(store, "connections")) or 0
    return time.time_ns() // 1000 - max(started, flushed) <= STALE


def _table(said: dict[str, Any], gone: bool) -> None:
    if said["running"] and "updated" in said:
        who = f"node {said.get('node')}" + (f", version {said['program']}" if "program" in said else "")
        say(f"the daemon runs as process {said.get('pid')} since {_clock(said.get('started'))}, {who}")
        for each in said["wrong"]:
            say(f"wrong: {each}")
    else:
        say(said["wrong"][0])
    if "updated" not in said:
        return
    seen = "" if said["running"] else f"as last seen at {_clock(said['updated'])}: "
    if "follow" in said:
        restarts = f"{said['capture'].get('restarts', 0)} of capture, {said['follow'].get('restarts', 0)} of follow"
        if "kmsg" in said:
            restarts += f", {said['kmsg'].get('restarts', 0)} of kmsg"
        engine = f"engine: {said['engine']}; " if "engine" in said else ""
        say(f"{seen}{engine}restarts: {restarts}; configuration: {said.get('settings_file') or 'the defaults'}")
        say(f"{seen}totals: " + ", ".join(f"{name} {value}" for name, value in said["totals"].items()))
    if "started" in said:
        listed = [f"{gap['cause']} {gap['gaps']} ({_lost(gap)})" for gap in said["gaps"]]
        say("gaps since the start: " + (", ".join(listed) or "none") + (" (see anetcon gaps)" if listed else ""))
    past = [entry for entry in said["namespaces"] if entry["state"] == "gone"]
    if past and not gone:
        say(f"{seen}gone within the hour: {len(past)} ({_some(past[::-1])}); --gone lists them")
    shown = [entry for entry in said["namespaces"] if gone or entry["state"] != "gone"]
    if shown:
        say("", *([seen.rstrip()] if seen else []))
        print_rows(Format.TABLE, _rows(shown))


def _rows(namespaces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the table shows of each namespace; of its LOG rules, where one has any, when they were found right last and
    when they had to be put right last."""
    rows = [{name: entry.get(name) for name in COLUMNS} | {SINCE: _time(entry, "since")} for entry in namespaces]
    if any("rules" in entry for entry in namespaces):
        for row, entry in zip(rows, namespaces, strict=True):
            rules, message = entry.get("rules", {}), row.pop("message")
            row |= {CHECKED: _time(rules, "checked"), REPAIRED: _time(rules, "repaired"), "message": message}
    return rows


def _time(said: dict[str, Any], name: str) -> str | None:
    return spoken(said[name]) if isinstance(said.get(name), str) else None
