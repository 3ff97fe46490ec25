"""The years that the lines of a log go through: by their months, and by the kernel's clock."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from anetcon.history.turns import Turns


def line(day: str, clock: float | None = None, host: str = "gw1") -> bytes:
    """A line of the kernel; `clock` is how many days it runs."""
    shown = "" if clock is None else f"[{clock * 86_400:12.6f}] "
    return f"{day} 12:00:00 {host} kernel: {shown}x\n".encode()


def years(*lines: bytes, blocks: int = 1) -> list[int]:
    """How many new years were before each line, read in so many blocks."""
    turns, found = Turns(), list[int]()
    size = -(-len(lines) // blocks)
    for at in range(0, len(lines), size):
        for piece, turned in turns.pieces(b"".join(lines[at : at + size])):
            found += [turned] * piece.count(b"\n")
    return found


def test_by_month() -> None:
    """December is followed by January of the next year, and a late line of the old year's last days is of that; in one
    block or in several."""
    lines = [line(day) for day in ("Nov  3", "Dec 31", "Jan  1", "Dec 31", "Jan  1", "Feb  2")]
    for blocks in (1, 2, 3, 6):
        assert years(*lines, blocks=blocks) == [0, 0, 1, 0, 1, 1]


def test_lines_without_a_stamp() -> None:
    """They are of the year of the line before; zeros before a stamp do not hide it."""
    lines = [line("Dec 31"), b"\0" * 99 + line("Jan  1"), b"\n", b"2020-01-01T00:00:00Z a b: c\n", line("Jan  2")]
    assert years(*lines) == [0, 1, 1, 1, 1]
    for day in ("Foo 99", "Jan  0", "Jan 32"):
        assert years(line(day), *lines) == [0, 0, 1, 1, 1, 1]


def test_a_silence_of_over_half_a_year() -> None:
    """The kernel's clock tells how long it was, whatever the months do; of the same host, whoever else wrote."""
    assert years(line("Feb 10", 20), line("Mar  5", 409)) == [0, 1]
    assert years(line("Feb 10", 20), line("Mar  5", 774)) == [0, 2]
    assert years(line("Nov 10", 20), line("Aug  5", 288)) == [0, 1]
    assert years(line("Feb 10", 20), line("Feb 10"), line("Feb 11", 800, "gw2"), line("Mar  5", 409)) == [0, 0, 0, 1]
    assert years(line("Feb 10", 20), line("Mar  5", 43), line("Dec 31", 344), line("Jan  1", 345)) == [0, 0, 0, 1]
    assert years(line("Feb 10", 20), line("Mar  5", 409), blocks=2) == [0, 1]


def test_a_clock_that_began_anew() -> None:
    """It tells nothing: neither where it is less, nor where it is more than the days between allow."""
    assert years(line("Feb 10", 20), line("Mar  5", 3)) == [0, 0]
    assert years(line("Feb 10", 20), line("Mar  5", 200)) == [0, 0]
    assert years(line("Dec 10", 20), line("Jan  5", 3)) == [0, 1]


def test_a_clock_that_was_lost() -> None:
    """A host that starts with the first day of a year, or with the last one west of Greenwich, and is told the time
    then, makes no new year; nor does its kernel's clock, which began anew. The step is counted."""
    for lines, turned, back in (
        (
            [line("Nov 10", 9), line("Jan  1", 0), line("Jan  1"), line("Nov 11", 0.1), line("Dec  3")],
            [0, 1, 1, 0, 0],
            1,
        ),
        ([line("Nov 10"), line("Jan  1", 0), line("Dec 31", 0.1), line("Nov 11", 0.2)], [0, 1, 0, 0], 1),
        ([line("Feb 10"), line("Dec 31"), line("Feb 10"), line("Mar  1")], [0, 0, 0, 0], 1),
        ([line("Dec 20"), line("Jan  1"), line("Dec 21"), line("Jan  3")], [0, 1, 0, 1], 1),
        ([line("Nov 10"), line("Jan  1"), line("Jan  3"), line("Nov 11")], [0, 1, 1, 1], 0),
        ([line("Nov 10"), line("Jan  1"), line("Nov 30")], [0, 1, 1], 0),
        ([line("Nov 10"), line("Jan  1"), line("Nov  8")], [0, 1, 1], 0),
    ):
        for blocks in (1, len(lines)):
            assert years(*lines, blocks=blocks) == turned, lines
        turns = Turns()
        turns.pieces(b"".join(lines))
        assert turns.back == back, lines


@given(st.lists(st.integers(0, 7), min_size=2, max_size=200), st.data())
def test_whenever_a_clock_is_lost(steps: list[int], data: st.DataObject) -> None:
    """The lines of who has the time are of the years that they are of without those of who has not."""
    days = [date(2023, 3, 1) + timedelta(sum(steps[:number])) for number in range(len(steps))]
    lines = [line(f"{day:%b} {day.day:2}") for day in days]
    at = data.draw(st.integers(1, len(lines) - 1))
    stray = [line(day) for day in data.draw(st.sampled_from([["Jan  1"], ["Jan  1", "Jan  2"], ["Dec 31"]]))]
    found = years(*lines[:at], *stray, *lines[at:])
    assert found[:at] + found[at + len(stray) :] == years(*lines) == [day.year - 2023 for day in days]


def test_what_nothing_explains() -> None:
    """Steps back of more than a week that make no year are counted, for somebody to look at."""
    for lines, expected in (
        ([line("Nov 10"), line("Aug  5")], 1),
        ([line("Nov 10", 20), line("Aug  5", 288)], 0),
        ([line("Nov 10"), line("Nov  8"), line("Nov 11")], 0),
        ([line("Dec 10"), line("Jan  5")], 0),
    ):
        turns = Turns()
        turns.pieces(b"".join(lines))
        assert turns.back == expected, lines


WORDS = st.sampled_from([line("Dec 31", 1), line("Jan  1", 2), line("Jul  1"), line("Foo 99"), b"\n", b"x", b"\0"])


@given(st.lists(WORDS | st.binary(max_size=9), max_size=30), st.integers(1, 5))
def test_any_bytes(words: list[bytes], blocks: int) -> None:
    """Whatever a file holds, its pieces are all of it, in order."""
    turns = Turns()
    size = -(-max(len(words), 1) // blocks)
    for at in range(0, len(words), size):
        block = b"".join(words[at : at + size])
        pieces = turns.pieces(block)
        assert b"".join(piece for piece, _ in pieces) == block
        assert pieces[-1][1] == turns.turned
