"""The sum of rows: the same in any order and form, another for any other rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon import formats
from anetcon.record import CONNECTIONS, Field
from anetcon.store import parquet
from anetcon.store.content import Content
from tests.support.records import T0, batch, logged_float, lone, start, whole

ROWS = [*whole(10, src_port=1), *whole(7200, src="[2001:db8::1]:7"), lone(src_port=3), logged_float(src_port=4)]
"""Rows of every kind, with and without what may be null."""


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """In the journal's schema."""
    return pa.Table.from_batches([batch("connections", rows)])


@given(st.permutations(ROWS), st.integers(1, 3))
def test_order_and_pieces_do_not_matter(rows: list[dict[str, Any]], pieces: int) -> None:
    """Sums of parts, each with its own dictionaries, add up to that of all."""
    parts = [Content.of(table(rows[at : at + pieces])) for at in range(0, len(rows), pieces)]
    assert Content.sum(parts) == Content.of(table(ROWS)) == Content.read(str(Content.of(table(ROWS))))


def test_it_is_the_same_for_ever() -> None:
    """On every machine and in every version: manifests have it."""
    assert str(Content.of(table(ROWS))) == "31e174ca45b8c95eade58454a48aa4d5"
    assert str(Content()) == "0" * 32


def _other(field: Field, value: Any) -> Any:
    """Another value of a field."""
    if field.kind == "enum":
        return next(text for text in field.values if text != value)
    if field.kind == "address":
        return "192.0.2.77"
    return f"{value}x" if field.kind == "text" else (value or 0) + 1


@pytest.mark.parametrize("field", [field for field in CONNECTIONS if field.sealed], ids=lambda field: field.name)
def test_every_field_counts(field: Field) -> None:
    """Whatever is changed, made null, or moved to another row makes another sum."""
    first, second = whole(10)[1], whole(20, src_port=9)[1]
    changed = {**first, field.name: _other(field, first[field.name])}
    sums = [Content.of(table([row, second])) for row in (first, changed)]
    swapped = [{**second, field.name: changed[field.name]}, {**changed, field.name: second[field.name]}]
    sums.append(Content.of(table(swapped)))
    if field.nullable:
        sums.append(Content.of(table([{**first, field.name: None}, second])))
    if field.nullable and field.kind != "enum":
        zero = "::" if field.kind == "address" else 0
        sums.append(Content.of(table([{**first, field.name: zero}, second])))
    assert len(set(sums)) == len(sums)


def test_the_conntrack_id_does_not() -> None:
    """Files of connections that ended do not have it."""
    assert Content.of(table([start(ct_id=1)])) == Content.of(table([start(ct_id=2)]))


def test_a_file_has_the_sum_of_what_was_written(tmp_path: Path) -> None:
    """Also of the largest number there is, which no column of a file holds."""
    rows = table([*ROWS, whole(5, bytes_in=(1 << 64) - 1)[1], start(start=T0 - 1)])
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet.encode("connections", rows, [np.arange(len(rows))]))
    back = formats.as_now(pq.read_table(path), path)
    assert Content.of(back) == Content.of(rows)
