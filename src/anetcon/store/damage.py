"""Which stretches of the journal are missing without a gap that says so."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from anetcon.journal.segment import Lost

_TIME = pa.timestamp("us", tz="UTC")


def unexplained(torn: Iterable[Lost], gaps: pa.Table) -> list[Lost]:
    """Those that lie inside no gap of all namespaces: after a crash the daemon says itself when it was down."""
    return [lost for lost in torn if not _inside(lost, gaps)]


def _inside(lost: Lost, gaps: pa.Table) -> bool:
    """A gap without a bound has none that could be too narrow."""
    begin, end = (pc.fill_null(gaps[name], pa.scalar(value, _TIME)) for name, value in (("from", 0), ("to", 1 << 62)))
    covering = pc.and_(
        pc.less_equal(begin, pa.scalar(lost.start or 0, _TIME)), pc.greater_equal(end, pa.scalar(lost.end, _TIME))
    )
    return bool(pc.any(pc.and_(covering, pc.is_null(gaps["netns"]))).as_py())
