"""Connections as they become known, until told to stop."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anetcon.cli import follow as command
from anetcon.store.live import Live
from tests.support.asking import Answer
from tests.support.records import SECOND, Making, end, start, whole


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store with one connection open."""
    return Making(tmp_path / "store").add(start(src_port=1))


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen between the first look at the journal and the second."""

    def arrange(happens: Callable[[], Any]) -> None:
        real, done = Live.poll, threading.Event()

        def poll(self: Live) -> Any:
            if not done.is_set():
                done.set()
                happens()
            return real(self)

        monkeypatch.setattr(Live, "poll", poll)
        monkeypatch.setattr(command, "POLL_SECONDS", 0.0)

    return arrange


Meanwhile = Callable[[Callable[[], Any]], None]


def test_new_connections(making: Making, meanwhile: Meanwhile) -> None:
    """What becomes known is one line each; a limit ends it."""
    meanwhile(lambda: making.add(end(5, src_port=1), *whole(src_port=2), start(src_port=3), start(src_port=4)))
    answer = Answer("follow", "--store", making.path, "--format", "jsonl", "--limit", "2")
    assert [row["src_port"] for row in answer.lines] == [2, 3]
    assert answer.status == 0
    assert "not running" in answer.err


def test_ends_and_filters(making: Making, meanwhile: Meanwhile) -> None:
    """Ends are printed when asked for, and only what the filters say."""
    meanwhile(lambda: making.add(end(5, src_port=1), *whole(src_port=2), *whole(src_port=2, netns="other")))
    answer = Answer("follow", "--store", making.path, "--format", "json", "--limit", "3", "--ends", "--netns", "^qr")
    rows = [(row["src_port"], row["end"] is None) for row in answer.json["connections"]]
    assert rows == [(1, False), (2, True), (2, False)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_in_order(making: Making, meanwhile: Meanwhile, number: signal.Signals) -> None:
    """Told to stop, it finishes its output and ends with status 0; the handlers before are put back."""
    before = signal.getsignal(number)

    def happens() -> None:
        making.add(start(src_port=2))
        signal.raise_signal(number)

    meanwhile(happens)
    answer = Answer("follow", "--store", making.path, "--format", "json")
    assert (answer.status, [row["src_port"] for row in answer.json["connections"]]) == (0, [2])
    assert signal.getsignal(number) is before


def test_gaps_are_said_as_they_come(making: Making, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap is one line on stderr, beside the records and once however often it is looked for; JSON ends with all."""
    monkeypatch.setattr(command, "GAP_SECONDS", 0.0)
    looks, real = itertools.count(), command._Gaps.look

    def look(gaps: command._Gaps) -> None:
        real(gaps)
        if any("overrun" in known for known in gaps._said) and next(looks) == 3:
            signal.raise_signal(signal.SIGTERM)

    def happens() -> None:
        now = time.time_ns() // 1000  # not before it began to follow, however late that was
        lost = {"node": "gw1", "netns": None, "from": now, "to": now + SECOND, "cause": "overrun", "lost": 7}
        making.add(lost, table="gaps").alive(now + 2 * SECOND)

    monkeypatch.setattr(command._Gaps, "look", look)
    meanwhile(happens)
    answer = Answer("follow", "--store", making.path, "--format", "json")
    (line,) = [line for line in answer.err.splitlines() if "overrun" in line]
    assert line.startswith("gap: ")
    assert line.endswith("overrun in every namespace, 7 lost")
    assert ("overrun", 7) in [(each["cause"], each["lost"]) for each in answer.json["coverage"]["gaps"]]
    assert answer.json["coverage"]["complete"] is False
