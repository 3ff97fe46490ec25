"""The keyed hash, and columns out of tables."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anetcon.identity import flow_hash
from anetcon.identity.tuples import (
    DUMP,
    OPEN,
    PLAIN,
    SINGLE,
    blocks,
    by_hash,
    columns_of,
    new_key,
    node_number,
    one_piece,
)
from anetcon.record import arrow_schema
from bench.realistic import generate
from tests.support.rows import Row, table

FIELDS = ("netns_inode", "proto", "zone", "src_port", "dst_port", "node")


def test_equal_tuples_hash_equal_whatever_else_is_in_the_table() -> None:
    """A row has the same hash alone, where every column is constant, as among others; another under another key."""
    columns = columns_of(generate(np.random.default_rng(1), 3_000))
    key = new_key()
    together = flow_hash(columns, key)
    for row in (0, 1, 2999):
        alone = {name: column[row : row + 1] for name, column in columns.items()}
        assert flow_hash(alone, key)[0] == together[row]
    assert not (flow_hash(columns, new_key()) == together).any()


def test_each_part_of_the_tuple_matters() -> None:
    """Changing any one field, or any one byte of an address, changes the hash."""
    columns = columns_of(table([Row(0)]))
    key = new_key()
    before = flow_hash(columns, key)[0]
    for name in FIELDS:
        changed = dict(columns, **{name: columns[name] + columns[name].dtype.type(1)})
        assert flow_hash(changed, key)[0] != before, name
    for name in ("src_ip", "dst_ip"):
        for byte in range(16):
            address = columns[name].copy()
            address[0, byte] ^= 1
            assert flow_hash(dict(columns, **{name: address}), key)[0] != before, (name, byte)


def test_the_hash_spreads_realistic_tuples() -> None:
    """The upper 16 bits of a hundred thousand different ports alone are spread evenly."""
    columns = columns_of(table([Row(0)]))
    many = {name: np.repeat(column, 65_536, axis=0) for name, column in columns.items()}
    many["src_port"] = np.arange(65_536, dtype=np.uint16)
    hashes = flow_hash(many, new_key())
    assert len(set(hashes.tolist())) == 65_536
    counts = np.bincount((hashes >> np.uint64(56)).astype(np.int64), minlength=256)
    assert counts.max() < 2 * 256


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_sorting_by_hash_keeps_runs_and_rows(hashes: list[int]) -> None:
    """Every row comes once; equal hashes are in one run, in the order of their rows."""
    values = np.array(hashes, np.uint64)
    order, heads = by_hash(values)
    assert sorted(order.tolist()) == list(range(len(hashes)))
    runs = np.split(order, heads[1:]) if len(heads) else []
    assert all((np.diff(run) > 0).all() for run in runs)
    run_of = {row: number for number, run in enumerate(runs) for row in run.tolist()}
    places: dict[int, int] = {}
    for row, value in enumerate(hashes):
        assert run_of[row] == places.setdefault(value, run_of[row])


def test_columns_come_from_many_chunks_with_their_own_dictionaries() -> None:
    """Nulls, origins and nodes are read chunk by chunk."""
    columns = columns_of(table([Row(1), Row(2, 3, True, node="m"), Row(4, 5)], 3))
    assert columns["end"].tolist() == [OPEN, 3, 5]
    assert columns["kind"].tolist() == [PLAIN, DUMP, PLAIN]
    assert columns["node"].tolist() == [node_number("n"), node_number("m"), node_number("n")]
    assert columns["src_ip"].shape == (3, 16)


def test_what_a_line_does_not_tell_is_never_read() -> None:
    """A line of text is a kind of its own: over at its start, its ports numbers also where they are null."""
    lines = [Row(1, line="log", tuple=1), Row(2), Row(3, line="import"), Row(4, 9, line="import")]
    columns = columns_of(table(lines, 2))
    assert columns["kind"].tolist() == [SINGLE, PLAIN, SINGLE, SINGLE]
    assert columns["end"].tolist() == [1, OPEN, 3, 9]
    assert columns["dst_port"].tolist() == [0, 443, 443, 443]
    assert columns["dst_port"].dtype == np.uint16


def test_blocks_cover_all_rows_once() -> None:
    """Pieces follow one another, the last one shorter; of nothing there is one, empty."""
    assert blocks(5, 2) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert blocks(0) == [slice(0, 0)]


def test_small_batches_become_one() -> None:
    """Batches with different dictionaries become one chunk with the same rows; none becomes an empty table."""
    batches = table([Row(1), Row(2, node="m")], 2).to_batches()
    whole = one_piece(batches, batches[0].schema)
    assert whole["node"].num_chunks == 1
    assert whole["node"].to_pylist() == ["n", "m"]
    assert one_piece([], arrow_schema("gaps")).num_rows == 0
