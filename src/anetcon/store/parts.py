"""Rows of a table that others decide the number of, as parts of a day: which rows are in which part. Pure.

Somebody who floods a network makes rows of `neighbours` as long as he likes. So no part is written again once PART_ROWS
of its rows have ended: the next one begins with those that still last, and a seal holds one part and one piece of what
is new. How many rows last at once is bounded by the kernel's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from anetcon.identity import cut_intervals, merge_intervals

PART_ROWS = 50_000
"""Rows that have ended, in a part that gets no more."""

PIECE_ROWS = 10_000
"""New rows that are compared at once with what lasts: Arrow takes a kilobyte for each."""


def lasting(rows: pa.Table) -> pa.Table:
    """The rows that have no end yet."""
    return rows.filter(pc.is_null(rows["to"]))


def is_full(rows: pa.Table, most: int = PART_ROWS) -> bool:
    """Whether a part with these rows gets no more."""
    return bool(len(rows) - rows["to"].null_count >= most)


def divided(known: pa.Table, pieces: Iterable[pa.Table], gaps: pa.Table, most: int = PART_ROWS) -> Iterator[pa.Table]:
    """The rows of each part, when these pieces come to those of the first that are `known`; of none when no row comes.
    `gaps` tell what did not last. Takes a piece when the parts before it are written. Only what lasts is compared with
    a piece: a row whose end is told again is there twice, as in different files, and readers make one of them."""
    over, rows, is_new = [_ended(known)], lasting(known), False
    for piece in pieces:
        if not len(piece):
            continue
        merged, is_new = cut_intervals(merge_intervals(pa.concat_tables([rows, piece])), gaps), True
        rows = lasting(merged)
        over.append(_ended(merged))
        if sum(map(len, over)) >= most:
            yield pa.concat_tables([*over, rows])
            over, is_new = [], False
    if is_new:
        yield pa.concat_tables([*over, rows])


def _ended(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.is_valid(rows["to"]))
