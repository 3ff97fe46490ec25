"""`anetcon who`: the inside behind a public address at a time. `query.who` finds and ranks; `answer` says it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

import typer

from anetcon.cli import answer, output
from anetcon.cli.options import LimitOption, NetnsOption, NodeOption, StoreOption, TzOption, bad, with_options
from anetcon.cli.output import Format, FormatOption, Records
from anetcon.cli.people import warn
from anetcon.query import as_text as text
from anetcon.query import times
from anetcon.query.filters import LARGEST_PORT, moment, pattern, require_known
from anetcon.query.macs import Macs
from anetcon.query.who import Asked, Endpoint, Found, ask, known_macs
from anetcon.record import family_of
from anetcon.store import sql
from anetcon.store.reader import Store
from anetcon.store.sql import network


@with_options()
def who(
    address: Annotated[str, typer.Argument(metavar="IP[:PORT]", help="The public address, as the far side saw it.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Time of the report: 2026-11-20T13:05:09Z.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="IP[:PORT]", help="The other end of the same connection.")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", metavar="TIME", help="How long before and after that time to look.")
    ] = "60s",
    netns: NetnsOption = None,
    node: NodeOption = None,
    tz: TzOption = "UTC",
    limit: LimitOption = 100,
    *,
    store: StoreOption,
    form: FormatOption = Format.TABLE,
) -> None:
    """Find who was behind a public address at a given time.

    Finds connections whose translated source was that address. Also finds connections that somebody outside opened to
    it, if it is a floating address. With --to it also finds connections that a LOG engine or an import recorded. Of
    those only the other end is known: the answer calls them possible, not proven.

    Exit status 0: something is found. 1: nothing is found, and the record is complete. 3: nothing is found, and the
    record has gaps there.
    """
    try:
        length = times.duration(within)
    except ValueError as error:
        raise bad("within", str(error)) from None
    asked = Asked(
        address=_endpoint("address", address),
        at=_past(moment("at", at, tz)),
        within=length,
        to=_endpoint("to", to) if to else None,
        netns=tuple(pattern(text) for text in netns or ()),
        node=tuple(node or ()),
    )
    view = Store(store)

    def answered() -> tuple[Found, list[str]]:
        require_known(view, asked.netns, asked.node)
        found = ask(view, asked, limit)
        anywhere = replace(asked, netns=()).condition(), sql.EVERYTHING
        return found, answer.unplaced(view, found.coverage, asked.netns, anywhere, asked.since, asked.until)

    found, beside = view.whole(answered)
    given = {"at_given": at, "tz": tz, "limit": limit}
    if form is Format.TABLE:
        answer.who_table(asked, found, given)
    else:
        _records(asked, found, form, given)
    answer.say_beside(form, found.coverage, found=found.total > 0)
    if found.total > len(found.connections):
        warn(f"{found.total} connections match; the nearest {limit} are shown (--limit 0 shows all)")
    warn(*beside, *filter(None, [view.slower]))
    answer.leave(found.total > 0, found.coverage)


def _past(at: times.AskedTime) -> times.AskedTime:
    """The time, and that nobody can know of it yet: a year mistyped, or read in another zone."""
    if at.us <= time.time_ns() // 1000:
        return at
    return replace(at, note="; ".join([*([at.note] if at.note else []), "that time is still to come"]))


def _endpoint(name: str, text: str) -> Endpoint:
    """`203.0.113.7`, `203.0.113.7:40213`, `2001:db8::7` or `[2001:db8::7]:40213`."""
    address, port = text, ""
    if text.startswith("[") or text.count(":") == 1:
        address, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
        if colon and not (port.isascii() and port.isdigit() and int(port) <= LARGEST_PORT):
            raise _unreadable(name, text)
    try:
        first, last, family = network(address)
    except ValueError:
        raise _unreadable(name, text) from None
    if first != last:
        raise _unreadable(name, text)
    return Endpoint(first, int(port) if port else None, family)


def _unreadable(name: str, text: str) -> typer.BadParameter:
    message = f"{text!r} is not an address, nor one with a port like 203.0.113.7:40213 or [2001:db8::7]:40213"
    return bad(name, message) if name == "to" else typer.BadParameter(message, param_hint="IP[:PORT]")


def _records(asked: Asked, found: Found, form: Format, given: dict[str, Any]) -> None:
    covered = answer.coverage_json(found.coverage)
    records = Records(
        "connections",
        form,
        {
            "query": _query(asked) | given,
            "verdict": found.verdict,
            "possible": found.possible,
            "packets": found.packets,
            "more_with_to": found.more_with_to,
            "coverage": covered,
        },
    )
    records.rows(found.connections)
    records.tail = {
        "address": {"on_node": found.on_node, "intervals": output.plain("addresses", found.coverage.addresses)},
        "neighbours": output.plain("neighbours", found.neighbours),
        "macs": [_macs(inside, macs) for inside, macs in known_macs(asked, found)],
        "source": answer.source(found),
        "same_connection": found.together,
    }
    records.close()


def _macs(inside: dict[str, Any], macs: Macs) -> dict[str, Any]:
    address = text.address(inside["address"], family_of(inside["family"]))
    said = {"node": inside["node"], "netns": inside["netns"], "address": address}
    return {**said, "at_start": macs.at_start, "others": macs.others}


def _query(asked: Asked) -> dict[str, Any]:
    return {
        "address": asked.address.text,
        "port": asked.address.port,
        "to": asked.to and {"address": asked.to.text, "port": asked.to.port},
        "at": str(asked.at),
        "note": asked.at.note or None,
        "within_seconds": asked.within / times.SECOND,
        "from": times.rfc3339(asked.since),
        "until": times.rfc3339(asked.until),
        "netns": list(asked.netns),
        "node": list(asked.node),
    }
