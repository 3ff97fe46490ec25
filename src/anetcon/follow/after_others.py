"""A sink that begins where somebody else ends: the text logs, which rsyslog wrote until then (`rsyslog_handover`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from anetcon.follow import rsyslog_handover
from anetcon.follow.position import Places
from anetcon.follow.reader import Sink
from anetcon.identity import Verdict
from anetcon.identity.tuples import Array, numbers


class AfterOthers:
    """A sink that begins when the others are done: what began before is to it a repeat, and nothing is taken back of
    what is written while it waits: that is theirs."""

    def __init__(self, sink: Sink, store: Path) -> None:
        rsyslog_handover.take_back(store)
        self._sink, self._store = sink, store
        self.columns = sink.columns
        self.open, self.sync, self.close = sink.open, sink.sync, sink.close

    def ready(self) -> bool:
        """Whether it is known when it begins."""
        return not rsyslog_handover.waits(self._store) and self._sink.ready()

    def take(self, rows: pa.RecordBatch, verdicts: Array) -> int:
        """Have the sink write what began since then."""
        if since := rsyslog_handover.since(self._store):
            verdicts = np.where(numbers(rows["start"]) < since, np.int8(Verdict.REPEAT), verdicts)
        return self._sink.take(rows, verdicts)

    def where(self) -> Places:
        """How far the sink is; while it waits nowhere."""
        return {} if rsyslog_handover.waits(self._store) else self._sink.where()
