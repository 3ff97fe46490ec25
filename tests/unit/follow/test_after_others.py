"""A sink that begins where somebody else ends; the text logs with it are in sinks/test_text.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anetcon.follow import rsyslog_handover
from anetcon.follow.after_others import AfterOthers
from anetcon.identity import Verdict
from tests.support.receiver import Receiver
from tests.support.records import SECOND, T0, batch, end, start


def test_it_waits_and_is_nowhere_meanwhile(tmp_path: Path) -> None:
    """What others append while it waits is not ours to take back."""
    rsyslog_handover.begin(tmp_path)
    sink = AfterOthers(Receiver([]), tmp_path)
    assert (sink.ready(), sink.where()) == (False, {})
    rsyslog_handover.end(tmp_path, T0)
    assert (sink.ready(), sink.where()) == (True, {"taken": (0, 0)})


@pytest.mark.parametrize("since", [None, T0, T0 + SECOND])
def test_what_began_before_is_a_repeat(tmp_path: Path, since: int | None) -> None:
    """And so is its end; the rest is what it is. Without a word of a time everything is."""
    if since is not None:
        rsyslog_handover.begin(tmp_path)
        rsyslog_handover.end(tmp_path, since)
    receiver = Receiver([])
    rows = batch("connections", [start(src_port=1), end(src_port=1), start(src_port=2, start=T0 + SECOND)])
    verdicts = np.array([Verdict.FIRST, Verdict.END, Verdict.FIRST], np.int8)
    AfterOthers(receiver, tmp_path).take(rows, verdicts)
    early = [Verdict.REPEAT] * 2 if since == T0 + SECOND else [Verdict.FIRST, Verdict.END]
    assert [verdict for _, verdict in receiver.taken] == [*early, Verdict.FIRST]
