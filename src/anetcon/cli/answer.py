"""An answer in words: who it was, what window was searched, what the record may claim; and its exit status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import typer

from anetcon.cli import output
from anetcon.cli.output import Format, Records, endpoint
from anetcon.cli.people import say, warn
from anetcon.errors import NOT_FOUND, NOT_FOUND_WITH_GAPS
from anetcon.gaps import IMPORTED, LIMITS, ONE_SIDED, Cause
from anetcon.query import as_text as text
from anetcon.query import one_sided as lines
from anetcon.query import times, who
from anetcon.query.who import SHOWN_INSIDES, Asked, Found, known_macs
from anetcon.record import UNKNOWN_NETNS, Origin, Reply, family_of, label
from anetcon.store import sql
from anetcon.store.coverage import Coverage
from anetcon.store.reader import Store

_LINES_ALONE = "kernel lines tell no translated address or port"
HANDSHAKE = "handshake completed, unless conntrack picked it up in its middle"
"""What the kernel calls assured may be of a connection that was there before it was tracked."""
_AHEAD = "the window has not begun: that time is in the future by this machine's clock"
_MORE_WITH_TO = (
    "connections of that time are on record as kernel lines, without the public side: "
    "name the other end with --to IP[:PORT] to see which of them it may have been"
)

_UNPLACED = (
    f"connections whose namespace is unknown fit, too (kernel lines without a hash tell none): --netns {UNKNOWN_NETNS} "
    "shows them"
)

_SOURCES = ("src", "nat_src")
_MICROSECONDS = pa.schema([("start", pa.int64()), ("end", pa.int64())])


def coverage_json(coverage: Coverage) -> dict[str, Any]:
    """Coverage as every JSON answer has it."""
    return {
        "complete": coverage.complete,
        "from": None if coverage.since is None else times.rfc3339(coverage.since),
        "to": None if coverage.until is None else times.rfc3339(coverage.until),
        "gaps": output.plain("gaps", coverage.gaps),
        "notes": output.plain("gaps", coverage.notes),
        "namespaces": coverage.namespaces,
    }


def say_beside(form: Format, coverage: Coverage, *, found: bool) -> None:
    """Say on stderr, in one line, what rows alone do not tell: whether the record is whole for what was asked."""
    if form in (Format.CSV, Format.JSONL):
        first, *others = (line.strip() for line in window(coverage, found=found))
        warn(" ".join([first, *(["; ".join(others)] if others else [])]))


def leave(found: bool, coverage: Coverage) -> None:
    """End the program with the status of an answer."""
    if not found:
        raise typer.Exit(NOT_FOUND if coverage.complete else NOT_FOUND_WITH_GAPS)


def unplaced(
    view: Store, covered: Coverage, netns: Sequence[str], asked: tuple[str, str], since: int | None, until: int | None
) -> list[str]:
    """What to say on stderr to who named namespaces, when connections of which no namespace is known fit as well.
    `asked` are the conditions, of rows and of whole connections, without a namespace."""
    if not netns or _names_unknown(netns) or ONE_SIDED.isdisjoint(covered.gaps["cause"].to_pylist()):
        return []
    condition, result = asked
    others = sql.every([condition, sql.text_in("netns", [UNKNOWN_NETNS])])
    return [_UNPLACED] if len(view.connections(others, since, until, result, 1).read_all()) else []


def _names_unknown(netns: Sequence[str]) -> bool:
    """Whether any of these patterns, which are RE2's, fits connections without a namespace."""
    return any(pc.match_substring_regex(pa.scalar(UNKNOWN_NETNS), text).as_py() for text in netns)


def window(coverage: Coverage, *, found: bool = False) -> list[str]:
    """What was searched, and whether the record is whole there; behind its holes what it never tells, and notes. Where
    nothing was found, and nothing accounts for the address, also what to do."""
    notes = output.plain("gaps", coverage.notes)
    unknown = not found and Cause.NOT_AUDITED in coverage.gaps["cause"].to_pylist()
    advice = [_AHEAD] if coverage.ahead else []
    advice += [": ".join((Cause.NOT_AUDITED, Cause.NOT_AUDITED.meaning, Cause.NOT_AUDITED.todo))] if unknown else []
    return [*_window(coverage), *advice, *(f"note: {gap_words(gap)}: {Cause(gap['cause']).meaning}" for gap in notes)]


def _window(coverage: Coverage) -> list[str]:
    begin = "the beginning" if coverage.since is None else times.spoken(coverage.since)
    if coverage.first is not None:
        begin = f"{times.spoken(coverage.first)}, the first record,"
    end = "now" if coverage.until is None else times.spoken(coverage.until)
    searched = f"searched {begin} to {end} UTC"
    if coverage.complete:
        return [
            f"{searched}; the record is complete for {coverage.namespaces} namespace{'s' * (coverage.namespaces != 1)}"
        ]
    gaps = output.plain("gaps", coverage.gaps)
    limits = [f"  {_bounds(gap)}{_on(gap)}: {Cause(gap['cause']).meaning}" for gap in gaps if gap["cause"] in LIMITS]
    holes = [gap for gap in gaps if gap["cause"] not in LIMITS]
    if not holes:
        return [f"{searched}; the record does not tell everything there:", *limits]
    said = [f"{searched}; the record has gaps there:", *(f"  {gap_words(gap)}" for gap in holes)]
    return [*said, *(["and it does not tell everything:", *limits] if limits else [])]


def gap_words(gap: dict[str, Any]) -> str:
    """A gap, as JSON has it, in words."""
    lost = "" if gap["lost"] is None else f", {gap['lost']} lost"
    return f"{_bounds(gap)}: {gap['cause']} in {gap['netns'] or 'every namespace'}{lost}"


def _on(gap: dict[str, Any]) -> str:
    """The node, where text of several may have been imported."""
    return f" on {gap['node']}" if gap["cause"] in IMPORTED else ""


def _bounds(gap: dict[str, Any]) -> str:
    begin, end = (gap[name] and times.spoken(gap[name]) for name in ("from", "to"))
    if gap["cause"] == Cause.NEVER_RECORDED and end and not begin:
        return f"before {end}, the first record"
    return f"{begin or 'the beginning'} to {end or 'now'}"


def who_table(asked: Asked, found: Found, given: dict[str, Any]) -> None:
    """The answer to `who`: a sentence, the connections, the window."""
    print_lines([_sentence(asked, found), *_how_proven(found), *([""] if found.total else [])])
    records = Records("connections", Format.TABLE)
    records.rows(found.connections)
    records.close()
    notes = asked.at.notes(given["at_given"])
    holes = set(found.coverage.gaps["cause"].to_pylist())
    if not (found.total or found.on_node or holes - {Cause.NOT_AUDITED}):
        notes.append(f"{asked.address.text} stood on no interface of an audited namespace in that time")
    if found.more_with_to:
        notes.append(_MORE_WITH_TO)
    print_lines(["", *window(found.coverage, found=found.total > 0), *notes])


def print_lines(lines: list[str]) -> None:
    """Lines on stdout."""
    say(*lines)


def _sentence(asked: Asked, found: Found) -> str:
    public = asked.address.text if asked.address.port is None else endpoint(asked.address.text, asked.address.port)
    asked_for = f"{public} at {times.spoken(asked.at.us)} UTC"
    if not found.total:
        return f"{asked_for}: no connection found"
    what = "packet" if found.packets == found.total else "connection"
    insides = [
        _inside(asked, what, row, macs.words, *inner)
        for row, (_, macs), *inner in zip(
            output.plain("connections", found.nearest),
            known_macs(asked, found),
            *(found.nearest[name].to_pylist() for name in ("inner_ip", "inner_port", "count")),
            strict=True,
        )
    ]
    behind = _how_far(asked, found) + _how_sure(found) + _what(found)
    if found.verdict == "one":
        was = "may have been" if found.total in (found.possible, found.packets) else "was"
        return f"{asked_for} {was} {insides[0]}{behind}"
    more = f" and {found.insides - SHOWN_INSIDES} more" if found.insides > SHOWN_INSIDES else ""
    listed = "; ".join(insides)
    return f"{asked_for} could be any of {found.insides} inside hosts, the nearest first: {listed}{more}{behind}"


def _how_sure(found: Found) -> str:
    """What must be said of connections that nothing ties to the public address but their time and their other end."""
    if not found.possible:
        return ""
    if found.possible == found.total:
        return f"; the public side was not recorded ({_LINES_ALONE}), so this is possible, not proven"
    some = f"{found.possible} of these {found.total} connections"
    return f"; of {some} the public side was not recorded ({_LINES_ALONE}): they are possible, not proven"


def _what(found: Found) -> str:
    """What must be said of packets, which are no connections."""
    if not found.packets:
        return ""
    some = "all of this is" if found.packets == found.total else f"{found.packets} of these {found.total} rows are"
    return f"; {some} no connection, but a sample of packets that conntrack calls invalid, which nothing translated"


def source(found: Found) -> str | None:
    """What the reply to the nearest connection says of its source, which anybody can forge; None: nothing was recorded
    of it."""
    if not found.total:
        return None
    (row,) = output.plain("connections", found.nearest.slice(0, 1))
    reply = row["reply"]
    if row["origin"] == label(Origin.PACKET):
        return "source unproven: a packet of no connection, which anybody can forge"
    if reply is None:
        return "whether a reply came back is known when it ends" if row["end_reason"] is None else None
    if reply == label(Reply.NONE):
        return "source unproven: no reply came back"
    if reply == label(Reply.ASSURED) and row["proto"] == "tcp":
        return HANDSHAKE
    return "answered; that does not prove the source"


def _how_proven(found: Found) -> list[str]:
    words = source(found)
    if words is None:
        return []
    return [words if found.nearest["count"].to_pylist() == [1] else f"of the nearest: {words}"]


def _how_far(asked: Asked, found: Found) -> str:
    """What must be said when no connection was open at that very time, or within the second it names."""
    first = found.connections.slice(0, 1)
    nearest = first.select(["start", "end"]).cast(_MICROSECONDS).to_pylist()[0]
    later = nearest["start"] - asked.at.us
    before = 0 if nearest["end"] is None else asked.at.us - nearest["end"]
    if who.are_packets(first).all():
        far = f"{abs(later) // times.SECOND} s {'later' if later > 0 else 'before'}"
        return f"; the nearest packet left {far}" if abs(later) >= times.SECOND else ""
    if lines.endless(first).all() and -later >= times.SECOND:
        return f"; the nearest connection began {-later // times.SECOND} s before, its end is not known"
    if later >= times.SECOND and who.found(first).all():
        return f"; the nearest connection was found {later // times.SECOND} s later: it began then or before"
    if later >= times.SECOND:
        return f"; the nearest connection began {later // times.SECOND} s later"
    if before >= times.SECOND:
        return f"; the nearest connection had ended {before // times.SECOND} s before"
    return ""


def _inside(asked: Asked, what: str, row: dict[str, Any], mac: str, address: bytes, port: int, count: int) -> str:
    """An inside as its nearest connection shows it. Who did not name a port is told a host, and how much it had."""
    inner = text.address(address, family_of(row["family"]))
    named = inner if asked.address.port is None else endpoint(inner, port)
    place = f"{named} in {row['netns']}"
    if row["class"] == "local" and (row["nat_dst_ip"], row["nat_dst_port"]) == (inner, port):
        place = f"{row['netns']} itself ({named})"
    elif row["class"] != "nat" and all((row[f"{side}_ip"], row[f"{side}_port"]) == (inner, port) for side in _SOURCES):
        place = f"{named} itself, outside of {row['netns']} (no namespace on record translated it)"
    if mac:
        place += f" ({mac})"
    return place if asked.address.port is not None else f"{place}, {count} {what}{'s' * (count != 1)}"
