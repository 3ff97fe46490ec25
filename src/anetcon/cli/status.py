"""`anetcon status`: what the keeper wrote last, and whether it still does."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import typer

from anetcon.cli.filters import StoreOption
from anetcon.cli.output import Format, FormatOption, plain, print_rows
from anetcon.cli.times import moment
from anetcon.errors import StoreError
from anetcon.gaps import WHOLE
from anetcon.journal.read import last_flush
from anetcon.store.coverage import STALE, Question, coverage, running, unwritten
from anetcon.store.layout import journal_folder
from anetcon.store.view import Store

COLUMNS = ("netns", "state", "since", "events", "starts", "ends", "drops", "undecodable", "slow", "filtered", "message")
CHECKED, REPAIRED = "rules checked", "rules repaired"
"""Columns there are for the LOG engines alone."""
NOT_WELL = 1


def status(store: StoreOption, form: FormatOption = Format.TABLE) -> None:
    """How the daemon is doing, namespace by namespace.

    Exit status: 0 if it runs and records, 1 if it does not.
    """
    said = read(store)
    if form is Format.JSON:
        json.dump(said, sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif form is Format.TABLE:
        _table(store, said)
    else:
        print_rows(form, said["namespaces"])
    if not (said["running"] and said["recording"]):
        raise typer.Exit(NOT_WELL)


def read(store: Path) -> dict[str, Any]:
    """status.json with `running` (the daemon lives) and `recording` (capture wrote the journal lately) added."""
    path = store / "status.json"
    said: dict[str, Any] = {"version": 1, "namespaces": [], "totals": {}}
    try:
        said = json.loads(path.read_bytes())
        owner = running(store)
    except FileNotFoundError:
        owner = running(store)
    except PermissionError:
        raise StoreError(f"cannot read {path}: be root or a member of group adm") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    lately = owner is not None and _records(store, said)
    capture = {"unwritten": None} | said.get("capture", {})
    if owner is None:
        capture["unwritten"] = None
    elif not lately:
        capture["unwritten"] = unwritten(store)
    recording = lately and capture["unwritten"] is None
    gaps = _gaps(store, said["started"]) if "started" in said else []
    return {"running": owner is not None, "recording": recording} | said | {"capture": capture, "gaps": gaps}


def _gaps(store: Path, started: str) -> list[dict[str, Any]]:
    """By cause: the gaps that began since the daemon's start, and how much was `lost` in them, None where any of them
    does not tell; what was `counted`; also those that make no answer incomplete (`whole`), as a sink that is behind."""
    found: dict[str, dict[str, Any]] = {}
    for gap in plain("gaps", coverage(Store(store), Question(moment(started).us, everything=True)).gaps):
        if (gap["from"] or "") < started:
            continue
        known = {"cause": gap["cause"], "gaps": 0, "lost": 0, "counted": 0, "whole": gap["cause"] in WHOLE}
        cause = found.setdefault(gap["cause"], known)
        cause["gaps"] += 1
        cause["counted"] += gap["lost"] or 0
        cause["lost"] = None if None in (cause["lost"], gap["lost"]) else cause["counted"]
    return [found[cause] for cause in sorted(found)]


def _lost(gap: dict[str, Any]) -> str:
    if gap["whole"]:
        return "no connection is missing"
    if gap["lost"] is not None:
        return f"{gap['lost']} counted lost"
    return f"{gap['counted']} counted lost, and an unknown number" if gap["counted"] else "unknown how many were lost"


def _not_recording(said: dict[str, Any]) -> str:
    flushed, why = said["capture"].get("flushed") or "no time at all", said["capture"]["unwritten"]
    if why is None:
        return f"CAPTURE DOES NOT MOVE: it last wrote the journal at {flushed}; see the daemon's log"
    waits = "" if why["waiting_rows"] is None else f"; {why['waiting_rows']} records wait in memory"
    return f"THE JOURNAL CANNOT BE WRITTEN since {why['since'] or flushed}: {why['reason']}{waits}. Make room for it"


def _records(store: Path, said: dict[str, Any]) -> bool:
    """Whether the journal was written lately; the journal itself says so, status.json a little later."""
    started = moment(said["started"]).us if "started" in said else 0
    flushed = last_flush(journal_folder(store, "connections")) or 0
    return time.time_ns() // 1000 - max(started, flushed) <= STALE


def _table(store: Path, said: dict[str, Any]) -> None:
    names = [entry["netns"] for entry in said["namespaces"]]
    if said["running"] and "updated" not in said:
        _line(f"a daemon runs with the store {store}, and has not written its status yet: is that disk full?")
        return
    if not said["running"]:
        last = f"; it last wrote its status at {said['updated']}" if "updated" in said else ""
        _line(f"the daemon is not running with the store {store}{last}")
    else:
        who = f"node {said.get('node')}" + (f", version {said['program']}" if "program" in said else "")
        _line(f"the daemon runs as process {said.get('pid')} since {said.get('started')}, {who}")
        if not said["recording"]:
            _line(_not_recording(said))
    if "follow" in said:
        restarts = f"{said['capture'].get('restarts', 0)} of capture, {said['follow'].get('restarts', 0)} of follow"
        if "kmsg" in said:
            restarts += f", {said['kmsg'].get('restarts', 0)} of kmsg"
        engine = f"engine: {said['engine']}; " if "engine" in said else ""
        _line(f"{engine}restarts: {restarts}; configuration: {said.get('settings_file') or 'the defaults'}")
        if said["running"] and said.get("refused"):
            _line("THE CONFIGURATION IS REFUSED as it is now, and the one before holds; the daemon's log says why")
        _line("totals: " + ", ".join(f"{name} {value}" for name, value in said["totals"].items()))
    if "started" in said:
        listed = [f"{gap['cause']} {gap['gaps']} ({_lost(gap)})" for gap in said["gaps"]]
        _line("gaps since the start: " + (", ".join(listed) or "none") + (" (see anetcon gaps)" if listed else ""))
    if said["running"] and not names:
        _line("no namespace is audited: none has a name that audit.namespaces selects (anetcon config show)")
    if names:
        _line("")
        print_rows(Format.TABLE, _rows(said["namespaces"]))


def _rows(namespaces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the table shows of each namespace; of its LOG rules, where one has any, when they were found right last and
    when they had to be put right last."""
    rows = [{name: entry.get(name) for name in COLUMNS} for entry in namespaces]
    if any("rules" in entry for entry in namespaces):
        for row, entry in zip(rows, namespaces, strict=True):
            rules, message = entry.get("rules", {}), row.pop("message")
            row |= {CHECKED: rules.get("checked"), REPAIRED: rules.get("repaired"), "message": message}
    return rows


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
