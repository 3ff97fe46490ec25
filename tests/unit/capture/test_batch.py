"""From columns to a batch: what is null, and that null is null and not zero."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.capture.batch import connections
from anetcon.decode.columns import NONE, Columns
from anetcon.record import Class, EndReason, Origin, Reply, label

UNSEEN = ("nat_src_ip", "nat_src_port")
UNSEEN_OF_FLOAT = ("dst_ip", "dst_port", *UNSEEN)

Row = tuple[Origin, Class, bool]
"""Origin, class, and whether it has ended."""

ROWS = st.tuples(st.sampled_from(Origin), st.sampled_from(Class), st.booleans())


def filled(rows: list[Row]) -> Columns:
    """Columns with these rows; what is not known is zero."""
    columns = Columns(max(len(rows), 1))
    columns.rows = len(rows)
    for number, (origin, kind, ended) in enumerate(rows):
        line = origin >= Origin.LOG
        columns.of["origin"][number], columns.of["class"][number] = origin, kind
        columns.of["end"][number] = 5 if ended else NONE
        columns.of["end_reason"][number] = EndReason.CLOSED if ended else EndReason.UNKNOWN if line else NONE
        for mask in columns.given.values():
            mask[number] = ended
        columns.of["reply"][number] = Reply.SEEN if ended else NONE
    return columns


def nulls(row: dict[str, Any]) -> set[str]:
    """Which fields of a row are null."""
    return {name for name, value in row.items() if value is None}


@pytest.mark.parametrize(("origin", "kind"), [*product(Origin, (Class.NAT, Class.FLOAT))], ids=label)
def test_what_a_line_does_not_tell_is_null(origin: Origin, kind: Class) -> None:
    """A LOG line knows neither end nor counters nor the public side; an event of the kernel knows both sides."""
    (row,) = connections(filled([(origin, kind, False)]), "n", ["default"]).to_pylist()
    counters = {"packets_out", "bytes_out", "packets_in", "bytes_in", "reply"}
    if origin < Origin.LOG:
        assert nulls(row) == counters | {"end", "end_reason"}
    else:
        assert nulls(row) == counters | {"end"} | set(UNSEEN_OF_FLOAT if kind == Class.FLOAT else UNSEEN)
        assert row["end_reason"] == "unknown"


@given(st.lists(ROWS, max_size=40))
def test_rows_of_every_origin_side_by_side(rows: list[Row]) -> None:
    """What is null in a row depends on that row alone."""
    together = connections(filled(rows), "n", ["default"])
    alone = [connections(filled([row]), "n", ["default"]).to_pylist()[0] for row in rows]
    assert together.to_pylist() == alone
    together.validate(full=True)


def test_nothing_is_spent_where_there_are_no_lines() -> None:
    """Without rows of those origins the sides have no bitmap at all."""
    batch = connections(filled([(Origin.EVENT, Class.FLOAT, True)] * 3), "n", ["default"])
    assert all(batch[name].buffers()[0] is None for name in UNSEEN_OF_FLOAT)
    assert np.count_nonzero(batch["end"].is_valid()) == 3
