"""Which rows of a batch a sink is to take."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from anetcon.identity.tuples import Array, numbers


def are(batch: pa.RecordBatch, name: str, texts: Iterable[str]) -> Array:
    """Which rows have one of these texts in a column."""
    wanted = {*texts}
    known = np.array([text in wanted for text in batch[name].dictionary.to_pylist()], np.bool_)
    found: Array = known[numbers(batch[name].indices)]
    return found
