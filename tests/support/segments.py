"""Journal segments of the small table `gaps`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from anetcon.capture import batch
from anetcon.journal.write import Writer


def gaps(*lost: int) -> pa.RecordBatch:
    """Rows of the small table `gaps`, told apart by `lost`."""
    return batch.rows(
        "gaps", [{"node": "n", "netns": None, "from": 1, "to": 2, "cause": "overrun", "lost": n} for n in lost]
    )


def written(folder: Path, *flushes: tuple[int, ...]) -> None:
    """A journal of one closed segment."""
    with Writer(folder, "gaps") as writer:
        for number, lost in enumerate(flushes):
            writer.append(gaps(*lost), number * 10, number * 10 + 10)
