"""What the capture before left decides where the record begins, and what is missing before that."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.capture.beginning import Beginning
from anetcon.gaps import Cause, Gap
from anetcon.journal.write import Writer
from tests.support.capture_parts import at

STARTED = 1000


def test_nothing_is_there(tmp_path: Path) -> None:
    """The first capture of a store knows nothing of the time before."""
    found = Beginning.look(tmp_path, at(STARTED), restarted=False)
    assert (found.first, found.origin, found.written) == (True, STARTED, STARTED)
    assert found.gaps() == [Gap(None, None, STARTED, Cause.NEVER_RECORDED)]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
def test_one_before_this_wrote(tmp_path: Path, whole: bool, restarted: bool) -> None:
    """Only one that ended in order, while the keeper kept the sockets, is continued; else the time since is missing."""
    writer = Writer(tmp_path, "connections")
    writer.open()
    writer.put(b"", 0, 100, 900)
    if whole:
        writer.close()
    else:
        writer.abandon()
    found = Beginning.look(tmp_path, at(STARTED), restarted=restarted)
    assert (found.first, found.before, found.written) == (False, 900, 900)
    if whole and restarted:
        assert (found.origin, found.gaps()) == (900, [])
    else:
        cause = Cause.CAPTURE_DOWN if restarted else Cause.DAEMON_DOWN
        assert (found.origin, found.gaps()) == (STARTED, [Gap(None, 900, STARTED, cause)])


def test_the_clock_was_set_back_meanwhile() -> None:
    """What comes twice is a gap as well."""
    found = Beginning(at(STARTED), 5000, restarted=True, continues=False, first=False)
    assert found.written == STARTED
    assert found.gaps() == [
        Gap(None, STARTED, STARTED, Cause.CAPTURE_DOWN),
        Gap(None, STARTED, 5000, Cause.CLOCK_STEP),
    ]
