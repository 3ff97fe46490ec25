"""What an answer may claim: whether the record is whole for exactly what was asked, and if not, when and why not.

The window ends at the last flush, since what is not yet written is no gap while the daemon runs; when it does not, or
has not written for long, everything since its last flush is one. Of a window that begins behind the last flush, or in
the future, nothing is known, and that is a gap too. What text was imported of a time takes the place of
the gap it was. Refuses to say "complete" of a store without a journal.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from anetcon.errors import StoreError
from anetcon.gaps import HEALING, IMPORTED, NAMED, NOTES, REPLACED, UNTRANSLATED, WHOLE, Cause, Gap
from anetcon.record import arrow_schema
from anetcon.store import accounted, imported, layout, sql
from anetcon.store.accounted import FAR, Place, Span, Spans, left
from anetcon.store.damage import unexplained
from anetcon.store.reader import Store

SECOND = 1_000_000
STALE = 30 * SECOND
"""A running daemon writes at least every 10 s (its longest `flush_seconds`); after so long it is stuck."""


@dataclass(frozen=True)
class Question:
    """A stretch of time (microseconds; None: no bound), for namespaces matching any pattern and nodes, or for all."""

    since: int | None = None
    until: int | None = None
    netns: Sequence[str] = ()
    node: Sequence[str] = ()
    address: sql.Network | None = None
    """Only about who had this address: whatever cannot have had it does not matter, and something has to account for
    it (`store.accounted`)."""
    everything: bool = False
    """Also what is no gap in the connections (`gaps.WHOLE`): for a list of what happened, not for a claim."""

    def condition(self) -> str:
        """The rows of gaps that concern it."""
        silent = WHOLE - NOTES
        beside = silent if self.netns or self.address else silent | NAMED
        parts = [] if self.everything else [f"NOT {sql.text_in('cause', sorted(beside))}"]
        return sql.every([*parts, *self._place("netns IS NULL")])

    def scope(self) -> str:
        """The namespaces that it is about."""
        return sql.every(self._place())

    def _place(self, *others: str) -> list[str]:
        netns = [sql.either([*others, *(sql.matches("netns", pattern) for pattern in self.netns)])]
        return [*(netns if self.netns else ()), *([sql.text_in("node", self.node)] if self.node else ())]


@dataclass(frozen=True)
class Coverage:
    """The window that was looked at, and the gaps in it, as rows of the table `gaps`; `notes` are those that make the
    answer not incomplete, and of which it tells all the same."""

    since: int | None
    until: int | None
    gaps: pa.Table
    notes: pa.Table = field(default_factory=lambda: _gaps([]))
    addresses: pa.Table = field(default_factory=lambda: arrow_schema("addresses").empty_table())
    """Where and when the address that was asked about stood on an interface: rows of the table `addresses`."""
    namespaces: int = 0
    """How many namespaces this is about: those that can have had the address, or all that were attached."""
    first: int | None = None
    """The time of the first record, where the window has no beginning of its own."""
    ahead: bool = False
    """Whether the window has not begun, by this machine's clock."""

    @property
    def complete(self) -> bool:
        """Whether no connection is missing."""
        return all(cause in WHOLE for cause in self.gaps["cause"].to_pylist())


def coverage(store: Store, question: Question, now: int | None = None) -> Coverage:
    """What an answer to this question may claim."""
    return store.whole(lambda: _claim(store, question, now))


def _claim(store: Store, question: Question, now: int | None) -> Coverage:
    covered = _covered(store, question, now)
    window = (covered.since or covered.first or 0, max(covered.until or 0, covered.first or 0))
    attached = store.intervals("addresses", question.scope(), *window)
    places = accounted.places_of(attached)
    if question.address is None:
        missing = left(window, _holes(covered.gaps, ())) if not places else []
        return replace(_noted(covered, question, missing), namespaces=len(places))
    found = accounted.account(
        store, question.address, window, attached, question.scope(), partial(_holes, covered.gaps)
    )
    gaps = covered.gaps.filter(_concerns(covered.gaps, found.places, named=bool(question.netns)))
    noted = _noted(replace(covered, gaps=gaps), question, found.missing, translated=found.translated)
    own = accounted.rows_of(question.address, attached)
    return replace(noted, addresses=own, namespaces=len(places if found.places is None else found.places))


def _concerns(gaps: pa.Table, places: Collection[Place] | None, *, named: bool) -> pa.Array:
    """Which gaps can hide an address that these namespaces can have had: without them, all; but one that is selected no
    more is meant only by who names it, or where it can have had the address."""
    if places is None:
        return pc.or_(pc.invert(_of(gaps, NAMED)), named)
    names = zip(gaps["node"].to_pylist(), gaps["netns"].to_pylist(), strict=True)
    return pa.array([netns is None or (node, netns) in places for node, netns in names], pa.bool_())


def _holes(gaps: pa.Table, places: Collection[Place]) -> Spans:
    """When it is said already that nothing is known of all namespaces, or of these."""
    return [
        ((gap.node or "", gap.netns or ""), (gap.start or 0, FAR if gap.end is None else gap.end))
        for gap in _plain(gaps)
        if gap.cause not in WHOLE | NOTES
        and (gap.netns is None or gap.cause in IMPORTED or (gap.node, gap.netns) in places)
    ]


def _noted(covered: Coverage, question: Question, missing: list[Span], *, translated: bool = False) -> Coverage:
    """With the time that nothing accounts for as gaps; those that make nothing incomplete as notes, or nowhere."""
    gaps = pa.concat_tables([covered.gaps, _gaps([Gap(None, *span, Cause.NOT_AUDITED) for span in missing])])
    if question.everything:
        return replace(covered, gaps=gaps)
    beside = _of(gaps, WHOLE | UNTRANSLATED if translated else WHOLE)
    told = pc.and_(beside, _of(gaps, NOTES))
    return replace(covered, gaps=gaps.filter(pc.invert(beside)), notes=gaps.filter(told))


def _covered(store: Store, question: Question, now: int | None) -> Coverage:
    """The window, and every gap in it that concerns the question."""
    now = time.time_ns() // 1000 if now is None else now
    snapshot = store.snapshot()
    flushed = snapshot.flushed()
    if flushed is None:
        until = max(now if question.until is None else min(question.until, now), question.since or 0)
        text = store.intervals("gaps", question.condition(), question.since, until)
        never = pa.concat_tables([text, _gaps([Gap(None, None, None, Cause.NEVER_RECORDED)])])
        first = _first(text) if question.since is None else None
        covered = Coverage(question.since, until, never, first=first, ahead=(question.since or 0) > now)
        return _cut(store, _told(store, covered, question))
    since, asked = question.since, now if question.until is None else min(question.until, now)
    until = min(asked, flushed) if since is None else max(since, min(asked, flushed))
    gaps = [_standing(store.intervals("gaps", question.condition(), since, until))]
    first = _first(gaps[0]) if since is None else None
    if since is None:
        # Asked for everything there is: the time before the first record, or before a namespace's, is not part of it;
        # before this daemon's own there may be imported text, which `_told` knows.
        gaps = [gaps[0].filter(pc.or_(pc.is_valid(gaps[0]["from"]), _of(gaps[0], REPLACED)))]
    extra = []
    if asked > flushed and (silent := _silent(store.path, flushed, now)):
        extra.append(Gap(None, flushed, None, silent))
        until = max(asked, since or 0)
    elif since is not None and since > min(flushed, now):
        extra.append(Gap(None, min(flushed, now), None, Cause.NOT_YET_WRITTEN))  # none of the window is on record yet
    extra += [
        Gap(None, lost.start, lost.end, Cause.JOURNAL_DAMAGED, lost.rows)
        for lost in (*snapshot.damaged(), *unexplained(snapshot.torn(), gaps[0]))
        if (lost.start or 0) <= until and lost.end >= (since or 0)
    ]
    told = pa.concat_tables([*gaps, _gaps(extra)])
    covered = Coverage(since, until, told, first=first, ahead=(since or 0) > now)
    return _cut(store, _told(store, covered, question))


def _first(gaps: pa.Table) -> int | None:
    """When the first record was made, or the first text that was imported is from."""
    times = [
        gap.end if gap.cause is Cause.NEVER_RECORDED else gap.start
        for gap in _plain(gaps)
        if gap.cause in IMPORTED | {Cause.NEVER_RECORDED}
    ]
    return min((time for time in times if time is not None), default=None)


def _standing(gaps: pa.Table) -> pa.Table:
    """Without those that are none any more: they have ended, and none was lost."""
    healed = pc.and_(_of(gaps, HEALING), pc.is_valid(gaps["to"]))
    return gaps.filter(pc.invert(pc.and_(healed, pc.fill_null(pc.equal(gaps["lost"], 0), fill_value=False))))


def _told(store: Store, covered: Coverage, question: Question) -> Coverage:
    """The same, with what text was imported of that time."""
    if not pc.any(_of(covered.gaps, IMPORTED | REPLACED)).as_py():
        return covered
    stretches = _plain(
        store.intervals("gaps", sql.every([sql.text_in("cause", sorted(IMPORTED)), question.condition()]))
    )
    told = _plain(covered.gaps)
    if stretches:
        replaced = sql.every([sql.text_in("cause", sorted(REPLACED)), question.condition()])
        others = [gap for gap in told if gap.cause not in IMPORTED]
        known = [*_plain(store.intervals("gaps", replaced)), *(gap for gap in others if gap.cause in REPLACED)]
        told = imported.told(others, stretches, known, named=bool(question.netns))
    if question.since is None:
        told = imported.begun(told, stretches)
    since, until = covered.since or 0, covered.until
    inside = [
        gap for gap in told if (gap.end is None or gap.end >= since) and (until is None or (gap.start or 0) <= until)
    ]
    return replace(covered, gaps=_gaps(inside))


def _cut(store: Store, covered: Coverage) -> Coverage:
    """The same, with what retention has removed."""
    removed = store.removed()
    if removed is None or removed.before <= (covered.since or 0):
        return covered
    if covered.until is not None and covered.until < removed.start:
        return covered
    gap = Gap(None, removed.start, removed.before, Cause.RETENTION, removed.rows)
    return replace(covered, gaps=pa.concat_tables([covered.gaps, _gaps([gap])]))


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _silent(store: Path, flushed: int, now: int) -> Cause | None:
    """Why nothing has been written since the last flush; None while the daemon does."""
    if running(store) is None:
        return Cause.DAEMON_DOWN
    if now - flushed <= STALE:
        return None
    return Cause.DISK_FULL if unwritten(store) else Cause.CAPTURE_DOWN


def unwritten(store: Path) -> dict[str, Any] | None:
    """Since when, and why, a running daemon cannot write the journal, as it says itself; None when it can. On a disk
    that has no room for its word either, that is seen from here."""
    try:
        said: dict[str, Any] | None = json.loads(layout.status_path(store).read_bytes())["capture"]["unwritten"]
    except (OSError, ValueError, KeyError, TypeError):
        said = None
    if said is None and shutil.disk_usage(store).free < layout.NO_ROOM:
        said = {"since": None, "reason": os.strerror(errno.ENOSPC), "waiting_rows": None}
    return said


def running(store: Path) -> int | None:
    """The process id of the daemon that owns a store; None when none does. 0: one does, unknown which."""
    try:
        descriptor = os.open(layout.lock_path(store), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:  # who may only read the records cannot ask for the lock
        return _by_its_word(store)
    except OSError as error:
        raise _untold(error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def _by_its_word(store: Path) -> int | None:
    """The same, by what the daemon wrote of itself: it runs while there is that process, started then, in this boot."""
    try:
        said = json.loads(layout.status_path(store).read_bytes())
        pid, ticks, boot = int(said["pid"]), int(said["start_ticks"]), str(said["boot_id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # it never ran, or is older than this program
        return None
    except OSError as error:
        raise _untold(error) from error
    if boot != BOOT_ID.read_text().strip():
        return None
    with contextlib.suppress(OSError):
        return pid if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) == ticks else None
    return pid if _is_hidden(pid) else None


def _is_hidden(pid: int) -> bool:
    """Whether there is a process that /proc does not show to everybody (its mount option hidepid)."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _untold(error: OSError) -> StoreError:
    return StoreError(f"cannot tell whether the daemon runs: {error.filename}: {error.strerror}")


def _plain(gaps: pa.Table) -> list[Gap]:
    times = [gaps[name].cast(pa.int64()).to_pylist() for name in ("from", "to")]
    rows = zip(gaps.to_pylist(), *times, strict=True)
    return [Gap.of(row | {"from": begin, "to": end}) for row, begin, end in rows]


def _of(gaps: pa.Table, causes: frozenset[Cause]) -> pa.Array:
    """Which rows have one of these causes."""
    return pc.is_in(gaps["cause"], pa.array(sorted(causes), pa.string()))


_TIME = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [("node", pa.string()), ("netns", pa.string()), ("from", _TIME), ("to", _TIME), ("cause", pa.string())]
).append(pa.field("lost", pa.uint64()))


def _gaps(gaps: list[Gap]) -> pa.Table:
    return pa.Table.from_pylist([gap.row() for gap in gaps], _SCHEMA)
