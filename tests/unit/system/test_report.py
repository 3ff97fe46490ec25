"""Lines that wait for nobody."""

from __future__ import annotations

import os
import socket

import pytest

from anetcon.system.report import ERROR, MOST, WARNING, Reporter


def test_lines_and_debug() -> None:
    """A line begins with the name; debug lines come only when they are wanted."""
    read, write = os.pipe()
    reporter = Reporter("x", write)
    reporter.debug("not %s", "wanted")
    reporter.report("said")
    reporter.introduce("y", debugging=True)
    reporter.debug("wanted %d %%", 1)
    reporter.debug("100 %")
    os.close(write)
    assert os.read(read, 1000) == b"x: said\ny: debug: wanted 1 %\ny: debug: 100 %\n"
    os.close(read)


def test_nobody_reads() -> None:
    """What is not taken is dropped and counted, whether the pipe blocks or not; what is longer than a pipe takes at
    once comes whole."""
    read, write = os.pipe2(os.O_NONBLOCK)
    reporter = Reporter("x", write)
    reporter.report("y" * MOST)
    assert len(os.read(read, 2 * MOST)) == MOST + len("x: \n")
    for blocking in (False, True):
        os.set_blocking(write, blocking)
        while not reporter.dropped:
            reporter.report("filling")
        reporter.report("dropped")
        assert reporter.dropped == 2
        while True:
            try:
                os.read(read, 1 << 16)
            except BlockingIOError:
                break
        reporter.report("after")
        assert os.read(read, 1000) == b"x: after (2 lines before this one were dropped: nobody took them)\n"
        assert reporter.dropped == 0
    os.close(write)
    os.close(read)


@pytest.mark.parametrize(
    ("line", "journal"),
    [
        (f"{ERROR}broken", "<3>x: broken"),
        (f"{WARNING}odd", "<4>x: odd"),
        ("well", "<6>x: well"),
        (f"{WARNING}<0>named\n<0>and \x1b[31m", r"<4>x: <0>named\x0a<0>and \x1b[31m"),
    ],
)
def test_the_journal_gets_levels(line: str, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd has named as its journal is given each line's level; a terminal, a pipe and a file are given the
    words alone. Each is one line, whatever is in it."""
    ours, theirs = socket.socketpair()
    reporter = Reporter("x", ours.fileno())
    for named in ("", "8:1", "no numbers"):
        monkeypatch.setenv("JOURNAL_STREAM", named)
        reporter.report(line)
        assert theirs.recv(1000).decode() == journal.replace(journal[:3], "", 1) + "\n"
    status = os.fstat(ours.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    reporter.report(line)
    assert theirs.recv(1000).decode() == journal + "\n"
    reporter.debugging = True
    reporter.debug("how %s", "so")
    assert theirs.recv(1000) == b"<7>x: debug: how so\n"
    for each in (ours, theirs):
        each.close()
