"""Lines that wait for nobody."""

from __future__ import annotations

import os

from anetcon.keeper.report import MOST, Reporter


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
