"""The order of connections in a file."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pyarrow as pa
import pytest

from anetcon.record import CLASSES, END_REASONS
from anetcon.store import draft, parquet
from anetcon.store.draft import Draft
from bench.realistic import events, generate


def made(rows: int = 3_000) -> pa.Table:
    """Some connections in many chunks, by their end."""
    table = generate(np.random.default_rng(2), rows)
    return pa.Table.from_batches(table.to_batches(max_chunksize=999))


def test_rows_of_a_row_group_are_in_order() -> None:
    """By class, protocol, port, reason, namespace, destination, source, end; IPv6 is only together."""
    table = made()
    rows = Draft.of(table)
    (group,) = rows.groups(rows.every())
    assert sorted(group.tolist()) == list(range(len(table)))
    netns = rows.table["netns"].chunk(0).dictionary.to_pylist()
    keys = [
        (CLASSES.index(row["class"]), row["proto"], row["dst_port"], END_REASONS.index(row["end_reason"]),
         netns.index(row["netns"]),
         row["dst_ip"], row["src_ip"], row["end"], row["family"])
        for row in table.take(pa.array(group)).to_pylist()
    ]  # fmt: skip
    four = [key for key in keys if key[-1] == "ipv4"]
    assert four == sorted(four)
    six = [key[:6] for key in keys if key[-1] == "ipv6"]
    assert 1 < len({*six}) == len([*groupby(six)])


def test_row_groups_follow_the_end_and_slow_ones_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of more than one row group has those that lasted long behind the others; a small one does not."""
    table = made()
    rows = Draft.of(table)
    lasted = rows.times[1] - rows.times[0]
    assert len(rows.groups(rows.every())) == 1
    monkeypatch.setattr(draft, "ROW_GROUP", 1_000)
    groups = rows.groups(rows.every())
    slow = [(lasted[group] > draft.SLOW).all() for group in groups]
    quick = [(lasted[group] <= draft.SLOW).all() for group in groups]
    assert sorted(quick, reverse=True) == quick
    assert [not each for each in quick] == slow
    assert 1 <= sum(slow) < len(groups)
    first, second = (rows.times[1][group] for group in groups[:2])
    assert first.max() <= second.min()
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(table)))


def test_open_ones_and_lines_are_ordered_too() -> None:
    """What has no reason, no end, or no destination keeps its row."""
    table = events(made(100)).slice(0, 120)
    rows = Draft.of(table)
    (group,) = rows.groups(rows.every())
    assert sorted(group.tolist()) == list(range(120))
    assert rows.groups(np.empty(0, np.int64)) == []


def test_a_connection_takes_few_bytes() -> None:
    """Under 20 bytes in row groups of full size: 31 without any tuning, 25 in the format before."""
    table = generate(np.random.default_rng(1), 250_000, seconds=500)
    rows = Draft.of(table)
    assert parquet.encode("connections", rows.table, rows.groups(rows.every())).size / len(table) < 20
