"""When the text logs begin."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from anetcon.follow import rsyslog_handover

NOW = 1_795_000_000_000_000


def test_nobody_else_ever_wrote_them(tmp_path: Path) -> None:
    """Without a word of it there is nothing to wait for, and ending what was not begun leaves no file."""
    rsyslog_handover.end(tmp_path)
    assert (rsyslog_handover.waits(tmp_path), rsyslog_handover.since(tmp_path), list(tmp_path.iterdir())) == (
        False,
        0,
        [],
    )


def test_it_is_waited_for_and_then_known(tmp_path: Path) -> None:
    """Until it is said."""
    rsyslog_handover.begin(tmp_path)
    assert rsyslog_handover.waits(tmp_path)
    rsyslog_handover.end(tmp_path, NOW)
    assert (rsyslog_handover.waits(tmp_path), rsyslog_handover.since(tmp_path)) == (False, NOW)


def test_it_is_not_waited_for_longer_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was to say it may have died."""
    rsyslog_handover.begin(tmp_path)
    later = time.time_ns() + rsyslog_handover.LONGEST * 1000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert not rsyslog_handover.waits(tmp_path)
    assert rsyslog_handover.since(tmp_path) <= later // 1000


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"since": "x"}', b'{"since": null}', b"\xff"])
def test_what_cannot_be_read_is_no_reason_to_wait(tmp_path: Path, said: bytes) -> None:
    """A damaged file is as good as none."""
    rsyslog_handover.begin(tmp_path)
    next(tmp_path.rglob("*.quiet")).write_bytes(said)
    assert (rsyslog_handover.waits(tmp_path), rsyslog_handover.since(tmp_path)) == (False, 0)
