"""What an answer may claim is exactly what was recorded."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anetcon.errors import StoreError
from anetcon.keeper import status
from anetcon.store import sql
from anetcon.store.coverage import STALE, Coverage, Question, coverage, running
from anetcon.store.reader import Store
from tests.support.records import DAY, ROUTER, SECOND, T0, Making, standing, whole

SINCE = T0 - 60 * SECOND
ASKED = Question(SINCE, T0 + 60 * SECOND)
LONG_AFTER = T0 + 100 * DAY


def gap(**values: Any) -> dict[str, Any]:
    """A row of the table gaps: one hour of nothing in one namespace, long before T0."""
    row = {"node": "gw1", "netns": ROUTER, "from": T0 - DAY, "to": T0 - DAY + 3600 * SECOND, "cause": "not-attached"}
    return row | {name.rstrip("_"): value for name, value in values.items()}


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store in which recording began two days before T0."""
    making = Making(tmp_path / "store").add(*whole()).audited()
    return making.add(gap(netns=None, from_=None, to=T0 - 2 * DAY, cause="never-recorded"), table="gaps")


@pytest.fixture
def daemon(making: Making) -> Iterator[int]:
    """A daemon owns the store."""
    descriptor = os.open(making.path / "lock", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"4711\n")
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield 4711
    os.close(descriptor)


def said(making: Making, question: Question = ASKED, now: int = LONG_AFTER) -> Coverage:
    """What is said of a store as it is now."""
    return coverage(Store(making.path), question, now)


def causes(covered: Coverage) -> list[str]:
    """Why something is missing."""
    assert covered.complete == (len(covered.gaps) == 0)
    return list(covered.gaps["cause"].to_pylist())


def test_complete(making: Making) -> None:
    """The record is complete for a window without gaps that was written to its end."""
    covered = said(making.alive(T0 + DAY))
    assert covered.complete
    assert (covered.since, covered.until) == (ASKED.since, ASKED.until)


@pytest.mark.parametrize(
    ("row", "touches"),
    [
        (gap(), False),
        (gap(to=None), True),
        (gap(to=T0 - 61 * SECOND), False),
        (gap(to=T0 - 60 * SECOND), True),
        (gap(from_=T0 + 60 * SECOND, to=None), True),
        (gap(from_=T0 + 61 * SECOND, to=None), False),
        (gap(from_=T0, to=T0, cause="overrun", lost=3), True),
        (gap(from_=None, to=T0), True),
    ],
)
def test_gaps_that_touch_the_window(making: Making, row: dict[str, Any], touches: bool) -> None:
    """A gap counts when any moment of it lies in the window."""
    making.add(row, table="gaps").alive(T0 + DAY)
    assert causes(said(making)) == ([row["cause"]] if touches else [])


def test_a_gap_that_ended(making: Making) -> None:
    """A gap that was open and then got its end is one, and over when that says so."""
    making.add(gap(to=None), table="gaps").add(gap(), table="gaps").alive(T0 + DAY)
    assert causes(said(making)) == []


@pytest.mark.parametrize(("end", "counts"), [({}, True), ({"to": T0}, True), ({"to": T0, "lost": 0}, False)])
def test_starts_that_were_off(making: Making, end: dict[str, Any], counts: bool) -> None:
    """While they are, and where nobody can tell what was missing, that is a gap; once it has ended with none lost
    whatever was open is on record, and it is none, also in the list of gaps."""
    row = gap(cause="starts-off", to=None, lost=None)
    making.add(row, table="gaps").add(*([row | end] if end else []), table="gaps").alive(T0 + DAY)
    assert causes(said(making)) == ["starts-off"] * counts
    assert causes(said(making, Question(ASKED.since, ASKED.until, everything=True))) == ["starts-off"] * counts


def test_before_anything_was_recorded(making: Making) -> None:
    """The time before this node ever recorded is a gap for whoever asks about it, not for who asks for everything."""
    making.alive(T0 + DAY)
    assert causes(said(making, Question(T0 - 3 * DAY, T0))) == ["never-recorded"]
    assert causes(said(making, Question(None, T0))) == []


def test_only_what_was_asked(making: Making) -> None:
    """A gap of another namespace or node does not count; one of every namespace does."""
    making.add(gap(to=None), gap(netns="other", to=None, cause="overrun"), table="gaps").alive(T0 + DAY)
    making.add(gap(netns=None, from_=T0, to=T0, cause="capture-down"), table="gaps").audited(netns="other")

    def of(*patterns: str) -> list[str]:
        return causes(said(making, Question(ASKED.since, ASKED.until, patterns, ["gw1"])))

    assert of() == ["overrun", "not-attached", "capture-down"]
    assert of("^qrouter-") == ["not-attached", "capture-down"]
    assert of("^other$") == ["overrun", "capture-down"]


def test_what_leaves_the_connections_whole(making: Making) -> None:
    """A finding for which no connection is missing makes no answer incomplete; a list of what happened has it."""
    making.add(gap(to=None, cause="timestamps-off"), table="gaps").alive(T0 + DAY)
    assert causes(said(making)) == []
    covered = said(making, Question(ASKED.since, ASKED.until, everything=True))
    assert (covered.gaps["cause"].to_pylist(), covered.complete) == (["timestamps-off"], True)


def test_what_nothing_translated(making: Making) -> None:
    """Packets outside of connections make a question incomplete, unless it is about what is translated: that is told of
    them; of dropped ones everybody is told, and nobody's answer is incomplete."""
    making.add(gap(to=None, cause="untracked", lost=7), gap(to=None, cause="untracked-dropped"), table="gaps")
    making.alive(T0 + DAY)
    covered = said(making)
    assert (causes(covered), covered.complete) == (["untracked"], False)
    assert covered.notes["cause"].to_pylist() == ["untracked-dropped"]
    making.add(standing("203.0.113.7"), table="addresses")
    covered = said(making, replace(ASKED, address=sql.network("203.0.113.7")))
    assert (causes(covered), covered.complete) == ([], True)
    assert covered.notes["cause"].to_pylist() == ["untracked", "untracked-dropped"]
    listed = said(making, Question(ASKED.since, ASKED.until, everything=True))
    assert (listed.gaps["cause"].to_pylist(), len(listed.notes)) == (["untracked", "untracked-dropped"], 0)


def test_no_journal(making: Making) -> None:
    """A store without a journal is never complete."""
    for file in (making.path / "journal" / "connections").iterdir():
        file.unlink()
    assert causes(said(making)) == ["never-recorded"]


def test_what_is_not_written_yet(making: Making, daemon: int) -> None:
    """While the daemon writes, a window that has begun ends at its last flush, also where it goes on in the future."""
    making.alive(T0)
    assert running(making.path) == daemon
    covered = said(making, now=T0 + SECOND)
    assert (covered.complete, covered.until) == (True, T0)
    begun = said(making, Question(T0 - SECOND, T0 + 2 * DAY), now=T0 + SECOND)
    assert (begun.complete, begun.until, begun.ahead) == (True, T0, False)


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("flushed", [T0, T0 + 2 * DAY])
def test_a_window_that_has_not_begun(making: Making, flushed: int) -> None:
    """It is never complete, not even where the clock was set back and the record goes on beyond it."""
    making.alive(flushed)
    later = said(making, Question(T0 + DAY, T0 + 2 * DAY), now=T0 + SECOND)
    assert causes(later) == ["not-yet-written"]
    assert (later.since, later.until, later.ahead) == (T0 + DAY, T0 + DAY, True)


@pytest.mark.usefixtures("daemon")
def test_a_moment_too_recent_to_be_on_record(making: Making) -> None:
    """Of a window that is past but lies wholly behind the last flush nothing is claimed."""
    making.alive(T0)
    recent = Question(T0 + SECOND, T0 + 3 * SECOND)
    assert causes(said(making, recent, now=T0 + 2 * SECOND)) == ["not-yet-written"]
    assert causes(said(making, recent, now=T0 + SECOND // 2)) == ["not-yet-written"]


@pytest.mark.usefixtures("daemon")
def test_a_daemon_that_is_stuck(making: Making) -> None:
    """A daemon that has not written for long leaves a gap since then."""
    making.alive(T0)
    assert causes(said(making, now=T0 + STALE + SECOND)) == ["capture-down"]


def test_a_daemon_that_is_gone(making: Making) -> None:
    """Without a daemon everything since its last flush is a gap, up to now."""
    making.alive(T0)
    assert running(making.path) is None
    covered = said(making, now=T0 + 30 * SECOND)
    assert causes(covered) == ["daemon-down"]
    assert covered.until == T0 + 30 * SECOND
    assert causes(said(making, Question(T0 - SECOND, T0))) == []


def test_who_owns_a_store(making: Making, daemon: int) -> None:
    """The owner's process id is in the lock; a lock that nobody holds means that nobody runs."""
    assert running(making.path) == daemon
    (making.path / "lock").write_bytes(b"")
    assert running(making.path) == 0
    assert running(making.path / "journal") is None


def test_what_is_no_longer_selected(making: Making) -> None:
    """A namespace that the configuration left out is a gap for who names it alone."""
    making.add(gap(to=None, cause="deselected"), gap(netns="other", to=None), table="gaps").alive(T0 + DAY)
    assert causes(said(making)) == ["not-attached"]
    assert causes(said(making, Question(ASKED.since, ASKED.until, ["^qrouter-"]))) == ["deselected"]


def test_nothing_was_audited(tmp_path: Path, making: Making) -> None:
    """Where no namespace was attached in the window nothing is complete, whatever was before."""
    empty = Making(tmp_path / "empty").alive(T0 + DAY)
    for everything in (False, True):
        covered = said(empty, replace(ASKED, everything=everything))
        assert (causes(covered), covered.namespaces) == (["not-audited"], 0)
    assert causes(said(empty, Question(None, T0))) == ["not-audited"]
    making.add(standing(to=SINCE - 1), table="addresses").alive(T0 + DAY)
    assert causes(said(making)) == ["not-audited"]
    assert said(making, Question(SINCE - 1, ASKED.until)).complete


def test_how_many_namespaces_it_is_about(making: Making) -> None:
    """Those that were attached in the window, of those that are named; for an address those that can have had it."""
    making.audited("203.0.113.7", netns="other").audited(netns="later", from_=T0 + DAY).alive(T0 + 2 * DAY)
    assert said(making).namespaces == 2
    assert said(making, replace(ASKED, netns=["^qrouter"])).namespaces == 1
    assert said(making, replace(ASKED, address=sql.network("203.0.113.7"))).namespaces == 1
    assert said(making, replace(ASKED, address=sql.network("203.0.113.8"))).namespaces == 2


def test_gaps_of_namespaces_that_cannot_have_had_the_address(making: Making) -> None:
    """They do not concern a question about it, while what does is known for the whole window; else all do."""
    making.audited("203.0.113.7", netns="other")
    making.add(gap(to=None, cause="conntrack-inactive"), table="gaps").alive(T0 + DAY)
    asked = replace(ASKED, address=sql.network("203.0.113.7"))
    assert said(making, asked).complete
    assert causes(said(making, replace(asked, address=sql.network("203.0.113.8")))) == [
        "conntrack-inactive",
        "not-audited",
    ]
    making.add(gap(netns="other", to=None, cause="deselected"), table="gaps")
    assert causes(said(making, asked)) == ["deselected"]
    making.add(gap(netns=None, to=None, cause="overrun"), table="gaps")
    assert causes(said(making, asked)) == ["deselected", "overrun"]


def reader(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be somebody who may read the records, and not open the lock."""
    real = os.open

    def refused(path: Any, *given: Any, **named: Any) -> int:
        if str(path) == str(store / "lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *given, **named)

    monkeypatch.setattr(os, "open", refused)


def test_who_may_not_lock_is_told_by_what_the_daemon_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs while that very process does: not one with its number that started later, nor one of another machine or
    boot, from where the store was copied, nor when it says too little."""
    reader(tmp_path, monkeypatch)
    assert running(tmp_path) is None
    me = status.identity()
    for changed, expected in (
        ({}, os.getpid()),
        ({"start_ticks": me["start_ticks"] - 1}, None),
        ({"boot_id": "another"}, None),
        ({"pid": 4194305}, None),  # above any process id
        ({"start_ticks": None}, None),
        ({"pid": "x"}, None),
    ):
        (tmp_path / "status.json").write_text(json.dumps(me | changed))
        assert running(tmp_path) == expected, changed
    (tmp_path / "status.json").write_text("{")
    assert running(tmp_path) is None


def test_a_process_that_proc_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid a stranger's process is there for signals alone; that has to do."""
    reader(tmp_path, monkeypatch)
    (tmp_path / "status.json").write_text(json.dumps(status.identity() | {"pid": 4194305}))

    def theirs(_pid: int, _signal: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "kill", theirs)
    assert running(tmp_path) == 4194305


def test_who_may_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error that says of which file."""
    reader(tmp_path, monkeypatch)

    def refused(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(StoreError, match=r"cannot tell whether the daemon runs: .*status.json: Permission denied"):
        running(tmp_path)
