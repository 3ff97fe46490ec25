"""Every connection once, wherever its rows are: journal, open snapshot, closed files, or between two of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.record import CONNECTIONS, TABLES, arrow_schema
from anetcon.store import layout, manifest, parquet, parts, sql
from anetcon.store.entry import Entry
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.store.state import State
from tests.support.examples import examples
from tests.support.records import DAY, INODE, ROUTER, SECOND, T0, Making, end, logged, logged_float, start, whole

HOUR = 3600 * SECOND

UNSEEN = ("dst_ip", "dst_port", "nat_src_ip", "nat_src_port")
"""What rows of origin log may not know."""


def seal(making: Making) -> Making:
    """Close the segments and seal them, at a time soon after the rows' own."""
    making.rotate()
    Sealer(making.path, clock=lambda: T0 + 60 * SECOND).seal()
    return making


def found(store: Store, *arguments: Any, **named: Any) -> list[tuple[int, float | None]]:
    """Source port and length in seconds of the connections found; None for open ones."""
    rows = store.connections(*arguments, **named).read_all().to_pylist()
    return [(row["src_port"], row["end"] and (row["end"] - row["start"]).total_seconds()) for row in rows]


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """A store in the making."""
    return Making(tmp_path / "store")


def test_from_the_journal_alone(making: Making) -> None:
    """START and END are one connection, a START alone an open one, in the order of their starts."""
    making.add(start(src_port=2, start=T0 + SECOND)).add(*whole(src_port=1))
    assert found(Store(making.close())) == [(1, 10.0), (2, None)]


def test_across_seals(making: Making) -> None:
    """A connection is one row whether its rows are sealed, open at the seal, or still in the journal."""
    making.add(*whole(1, src_port=1), start(src_port=2), start(src_port=3), start(src_port=4))
    seal(making).add(end(20, src_port=2), start(src_port=5))
    seal(making).add(end(30, src_port=3))
    expected = [(1, 1.0), (2, 20.0), (3, 30.0), (4, None), (5, None)]
    assert sorted(found(Store(making.close()))) == expected


def test_repeats_behind_a_seal(making: Making) -> None:
    """An END or a DUMP of a connection that was sealed as ended a moment ago shows it neither twice nor as open."""
    making.add(*whole(10, src_port=1), *whole(10, src_port=2))
    seal(making).add(end(10, src_port=1), start(src_port=2, origin="dump", start=T0 + SECOND))
    assert found(Store(making.close())) == [(1, 10.0), (2, 10.0)]


def test_the_same_tuple_again(making: Making) -> None:
    """A tuple used again is a second connection, before and behind a seal."""
    making.add(*whole(1), *whole(1, start=T0 + 2 * SECOND))
    seal(making).add(*whole(1, start=T0 + 4 * SECOND))
    assert found(Store(making.close())) == [(40000, 1.0)] * 3


def test_bounds_in_time(making: Making) -> None:
    """Found is what was open at some time between the bounds, sealed or not, long ago begun or not."""
    making.add(*whole(src_port=1), *whole(5 * 3600, src_port=2, start=T0 - 3 * HOUR))
    making.add(start(src_port=3, start=T0 - 4 * DAY), *whole(src_port=4, start=T0 - 2 * DAY))
    seal(making).add(*whole(src_port=5, start=T0 + HOUR))
    store = Store(making.close())
    assert found(store, since=T0, until=T0) == [(3, None), (2, 18000.0), (1, 10.0)]
    assert found(store, since=T0 + 11 * SECOND, until=T0 + 30 * 60 * SECOND) == [(3, None), (2, 18000.0)]
    assert found(store, until=T0 - 2 * DAY) == [(3, None), (4, 10.0)]
    assert found(store, since=T0 + 3 * HOUR) == [(3, None)]
    assert found(store, limit=2) == [(3, None), (4, 10.0)]


def test_only_files_that_can_answer_are_read(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about a moment reads the files of its time and those of long connections, not every later one."""
    for day in range(4):
        making.add(*whole(src_port=day + 1, start=T0 - (4 - day) * DAY))
        making.add(*whole(2 * 3600, src_port=10 + day, start=T0 - (4 - day) * DAY))
        seal(making)
    store = Store(making.close())
    read: list[str] = []
    real = Store.files

    def files(self: Store, entries: list[Entry]) -> str:
        read.extend(entry.file for entry in entries)
        return real(self, entries)

    monkeypatch.setattr(Store, "files", files)
    at = T0 - 3 * DAY
    assert found(store, since=at, until=at) == [(2, 10.0), (11, 7200.0)]
    assert sorted(file.rpartition("/")[2] for file in read) == ["00000002.parquet", "long-00000002.parquet"]


@pytest.mark.parametrize("sealed", [True, False])
def test_rows_equal_to_others(making: Making, sealed: bool) -> None:
    """Whoever compares gets what is equal in the columns given, and nothing beside."""
    making.add(*whole(), *whole(ct_id=2, src_port=41000))
    making.close()
    if sealed:
        Sealer(making.path).seal()
    among = pa.table({"src_port": pa.array([41000], pa.uint16())})
    rows = Store(making.path).begun(["src_port", "dst_port"], sql.EVERYTHING, T0 - DAY, T0 + DAY, among, ())
    assert rows["src_port"].to_pylist() == [41000]


def test_a_condition_holds_everywhere(making: Making) -> None:
    """What a condition leaves out is left out of closed files, of the open snapshot and of the journal."""
    other: dict[str, Any] = {"netns": "other", "netns_inode": INODE + 1}
    making.add(*whole(src_port=1), start(src_port=2), *whole(src_port=1, **other), start(src_port=2, **other))
    seal(making).add(*whole(src_port=3), *whole(src_port=3, **other), end(20, src_port=2))
    store = Store(making.close())
    assert found(store, sql.text_in("netns", [ROUTER])) == [(1, 10.0), (2, 20.0), (3, 10.0)]
    assert found(store, sql.text_in("netns", ["other"])) == [(1, 10.0), (2, None), (3, 10.0)]
    assert found(store, result='"end" IS NULL') == [(2, None)]


def without_id(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as they are once they are sealed."""
    return [{**row, "ct_id": None} for row in table.to_pylist()]


def test_records_keep_their_values(making: Making) -> None:
    """All columns of a connection are the same sealed and unsealed, but for `ct_id`, which is not kept."""
    rows = [row for port in range(5) for row in whole(port, src_port=port, netns=f"qrouter-{port % 2}")]
    making.add(*rows)
    before = Store(making.path).connections().read_all()
    seal(making)
    store = Store(making.close())
    assert {row["ct_id"] for row in before.to_pylist()} == {7}
    assert store.connections().read_all().cast(before.schema).to_pylist() == without_id(before)
    assert manifest.replay(making.path).seal == 1


def test_lines_keep_their_values(making: Making) -> None:
    """What a line of text does not tell is null, sealed and unsealed, beside connections of which all is known."""
    rows = [
        logged(src_port=1),
        *whole(src_port=2),
        logged_float(src_port=3, origin="import"),
        logged(src_port=4, mark=9),
    ]
    before = Store(making.add(*rows).path).connections().read_all()
    assert before["dst_port"].null_count == 1
    assert before["nat_src_ip"].null_count == before["end"].null_count == 3
    assert before["end_reason"].null_count == 0
    seal(making)
    store = Store(making.close())
    assert store.connections().read_all().cast(before.schema).to_pylist() == without_id(before)


def test_a_line_counts_at_its_start(making: Making) -> None:
    """Nobody knows how long it lasted: it is found where its start is between the bounds, sealed or not."""
    making.add(logged(src_port=1), logged_float(src_port=2, start=T0 + HOUR), start(src_port=3, start=T0 - DAY))
    expected = {
        (T0, T0): [1, 3],
        (T0 + 1, T0 + HOUR - 1): [3],
        (T0 - 1, T0 + HOUR): [1, 2, 3],
        (T0 + 1, None): [2, 3],
        (None, T0 - 1): [3],
    }
    for _ in range(2):
        store = Store(making.path)
        for (since, until), ports in expected.items():
            assert sorted(port for port, _ in found(store, since=since, until=until)) == ports, (since, until)
        seal(making)


def gap(**values: Any) -> dict[str, Any]:
    """A row of the table gaps."""
    return {"node": "gw1", "netns": None, "from": T0, "to": None, "cause": "daemon-down", "lost": None} | values


def address(**values: Any) -> dict[str, Any]:
    """A row of the table addresses."""
    row = {"node": "gw1", "netns": ROUTER, "netns_inode": INODE, "interface": "qg-1", "address": "203.0.113.7"}
    return row | {"from": T0, "to": None} | values


def test_intervals(making: Making) -> None:
    """A row written again with its end is one interval, across seals too; only those that touch the time are found."""
    making.add(gap(), gap(cause="overrun", lost=3, to=T0), table="gaps")
    making.add(address(), table="addresses")
    seal(making).add(gap(to=T0 + HOUR), gap(**{"from": T0 + DAY}), table="gaps")
    store = Store(making.close())
    rows = store.intervals("gaps").to_pylist()
    lasted = {(row["cause"], row["from"]): row["to"] and (row["to"] - row["from"]).total_seconds() for row in rows}
    assert list(lasted.values()) in ([0, 3600, None], [3600, 0, None])
    assert len(rows) == 3
    assert len(store.intervals("gaps", since=T0 + 2 * HOUR)) == 1
    assert len(store.intervals("gaps", until=T0 - 1)) == 0
    assert len(store.intervals("addresses", sql.address_in("address", sql.network("203.0.113.7")))) == 1
    assert len(store.intervals("addresses", sql.address_in("address", sql.network("203.0.113.8")))) == 0


def test_an_end_learnt_in_a_later_month(making: Making) -> None:
    """An interval that ended in a later month has ended, for every question about later times."""
    clock = T0
    making.add(gap(), table="gaps").rotate()
    Sealer(making.path, clock=lambda: clock).seal()
    making.add(gap(to=T0 + 20 * DAY), table="gaps").rotate()
    Sealer(making.path, clock=lambda: T0 + 20 * DAY).seal()
    store = Store(making.close())
    assert len(list((making.path / "gaps").iterdir())) == 2
    assert len(store.intervals("gaps", since=T0 + 21 * DAY)) == 0
    assert len(store.intervals("gaps", since=T0 + 19 * DAY)) == 1


def test_a_seal_in_between(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal committed between reading the manifest and reading what it names changes nothing in the answer."""
    making.add(*whole(src_port=1), start(src_port=2)).rotate()
    making.add(*whole(src_port=3)).rotate()
    store = Store(making.path)
    sealer = Sealer(making.path, clock=lambda: T0 + 60 * SECOND)
    real, ports, sealing = manifest.opened, [4, 5], [False]

    def opened(path: Path) -> tuple[State, str]:
        """Read the manifest, and let a seal come before the reader goes on; twice."""
        state = real(path)
        if ports and not sealing[0]:
            sealing[0] = True
            making.add(*whole(src_port=ports.pop())).rotate()
            sealer.seal()
            sealing[0] = False
        return state

    monkeypatch.setattr(manifest, "opened", opened)
    assert sorted(found(store)) == [(1, 10.0), (2, None), (3, 10.0), (4, 10.0), (5, 10.0)]


def test_no_store(tmp_path: Path) -> None:
    """A folder without a store, and none at all, are a StoreError that says what to do."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing", Path("/dev/null")):
        with pytest.raises(StoreError, match="--store"):
            Store(path)


def test_ctrl_c_in_the_middle_of_a_query(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Ctrl-C, as what DuckDB raises for it is not."""
    store = Store(seal(making.add(*whole())).close())
    for words, expected in (("Query interrupted", KeyboardInterrupt), ("a defect", RuntimeError)):
        monkeypatch.setattr(store, "_live", Mock(side_effect=RuntimeError(words)))
        with pytest.raises(expected):
            store.connections()


def test_damage_is_said(making: Making) -> None:
    """A file of the store that is gone or not what it was is a StoreError, not an answer without it."""
    making.add(*whole())
    store = seal(making).close()
    (file,) = store.glob("node=*/date=*/*.parquet")
    content = file.read_bytes()
    for damaged in (b"", content[:-100], b"\0" * len(content)):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match="cannot read"):
            Store(store).connections().read_all()
    file.unlink()
    with pytest.raises(StoreError, match="cannot read"):
        Store(store).connections().read_all()


def test_a_newer_format_is_refused(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a later version are not guessed at."""
    making.add(*whole())
    store = seal(making).close()
    monkeypatch.setattr("anetcon.formats.FORMAT", 2)
    with pytest.raises(StoreError, match=f"{store} was written by a newer version of anetcon: use that one to read it"):
        Store(store).connections()


EVENTS = st.lists(
    st.tuples(st.sampled_from(["start", "end", "whole", "line", "seal"]), st.integers(1, 3), st.integers(0, 2)),
    max_size=12,
)


@examples(0.25)
@given(EVENTS)
def test_sealing_changes_no_answer(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, int]]
) -> None:
    """However connections and seals follow one another, the answer is the one without any seal."""
    sealed, plain = (Making(tmp_path_factory.mktemp("seals") / "store") for _ in range(2))
    sealer = Sealer(sealed.path, clock=lambda: T0 + 60 * SECOND)
    for what, port, again in events:
        at = T0 + again * 100 * SECOND
        rows = {
            "start": [start(src_port=port, start=at)],
            "end": [end(10, src_port=port, start=at)],
            "whole": whole(10, src_port=port, start=at),
            "line": [logged(src_port=port, start=at), logged_float(src_port=port, start=at)],
            "seal": [],
        }[what]
        if rows:
            sealed.add(*rows)
            plain.add(*rows)
        else:
            sealed.alive(sealed.clock + SECOND).rotate()
            sealer.seal()
    sealed.alive(T0)
    plain.alive(T0)
    # Of the same start there may be an event and lines of text: they come in any order.
    assert sorted(found(Store(sealed.close())), key=str) == sorted(found(Store(plain.close())), key=str)


def test_a_condition_with_many_values(making: Making) -> None:
    """Which rows of the journal it holds for does not depend on what the database makes of it, nor on its threads."""
    for number in range(8):
        making.add(start(src_port=number, node="gw1" if number % 2 else "other"))
    condition = sql.every([sql.text_in("node", ["gw1", *"abcde"]), sql.matches("netns", "^qrouter")])
    path = making.close()
    for _ in range(20):
        assert found(Store(path), condition) == [(port, None) for port in (1, 3, 5, 7)]


def test_a_store_of_a_time_when_nothing_was_null(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments and files whose schema says that both sides are always known are read, sealed and merged with others."""
    before = tuple(replace(field, nullable=False) if field.name in UNSEEN else field for field in CONNECTIONS)
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "connections", before)
        arrow_schema.cache_clear()
        making.add(*whole(1, src_port=1), start(src_port=2), start(src_port=3))
        seal(making).add(*whole(2, src_port=4), end(20, src_port=2))
        assert not arrow_schema("connections").field("dst_ip").nullable
    arrow_schema.cache_clear()
    assert sorted(found(Store(making.path))) == [(1, 1.0), (2, 20.0), (3, None), (4, 2.0)]
    making = Making(making.close()).add(end(30, src_port=3), start(src_port=5))
    expected = [(1, 1.0), (2, 20.0), (3, 30.0), (4, 2.0), (5, None)]
    assert sorted(found(Store(making.path))) == expected
    seal(making)
    assert sorted(found(Store(making.close()))) == expected


def rewritten(path: Path, kind: str, pad: bool) -> None:
    """The file without its last row; with `pad` as large as it was."""
    data = path.read_bytes()
    rows = pq.read_table(path, partitioning=None)
    short = bytes(parquet.encode(kind, rows, [np.arange(len(rows) - 1)]))
    at = len(short) - 8 - int.from_bytes(short[-8:-4], "little")
    path.write_bytes(short[:at] + bytes(max(0, len(data) - len(short)) if pad else 0) + short[at:])
    assert path.stat().st_size == len(data) or not pad


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("table", ["connections", "gaps", "addresses", "open"])
def test_a_sealed_file_that_was_changed(making: Making, table: str, pad: bool) -> None:
    """A file that has not the size, or not the rows, that the manifest says is an error that names it, and is used for
    no answer and no seal."""
    many = range(300)  # so that a file without its last row is smaller
    making.add(*(row for each in many for row in [*whole(src_port=each), start(src_port=1000 + each)]))
    making.audited(*(f"2001:db8::{each}" for each in many))
    gaps = ({"node": "gw1", "from": T0 + each, "to": T0 + each, "cause": "overrun"} for each in many)
    seal(making.add(*gaps, table="gaps"))
    store = Store(making.path)
    (entry,) = manifest.replay(making.path).of(table)
    rewritten(making.path / entry.file, entry.kind, pad)
    with pytest.raises(StoreError, match=f"{entry.file}: .* says; restore it from a backup"):
        store.intervals(table) if table in layout.INTERVALS else store.connections()


CHANGES = st.lists(
    st.tuples(st.sampled_from(["begin", "end", "stop", "seal", "retain"]), st.integers(1, 3), st.integers(-2, 2)),
    max_size=16,
)


@pytest.mark.slow
@examples(0.4)
@given(CHANGES, st.integers(1, 3))
def test_parts_change_no_answer(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, int]], most: int
) -> None:
    """However addresses, stops of recording, seals and days follow one another, whatever the clock of the sealer says
    and whatever is removed: of each time that is kept the answer is the one without any seal."""
    sealed, plain = (Making(tmp_path_factory.mktemp("parts") / "store") for _ in range(2))
    sealed.alive(T0)
    at, since = T0, dict[int, int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_ROWS", most)
        for what, number, days in changes:
            at += HOUR * number
            for making in (sealed, plain):
                row = address(address=f"203.0.113.{number}", **{"from": since.get(number, at)})
                if what == "begin":
                    making.add(row, table="addresses")
                elif what == "end" and number in since:
                    making.add(row | {"to": at}, table="addresses")
                elif what == "stop":
                    making.add(gap(**{"from": at, "to": at}), table="gaps")
            if what == "begin":
                since.setdefault(number, at)
            elif what == "end":
                since.pop(number, None)
            elif what == "stop":
                since.clear()
            elif what == "seal":
                sealed.rotate()
                Sealer(sealed.path, clock=partial(int, at + days * DAY)).seal()
                at += DAY * (days > 0)
            else:
                Sealer(sealed.path, clock=partial(int, at), limits=Limits(age=HOUR)).retain()
        sealed.alive(at)
        plain.alive(at)
        removed = Store(sealed.path).removed()
        first = removed.before if removed else T0
        times = [None] * (removed is None) + [first, *range(first, at + HOUR, 7 * HOUR)]
        one, other = Store(sealed.close()), Store(plain.close())
        for begin in times:
            for until in (None, begin, (begin or first) + 5 * HOUR):
                assert one.intervals("addresses", since=begin, until=until).equals(
                    other.intervals("addresses", since=begin, until=until)
                )


def test_only_parts_that_can_answer_are_read(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about today does not read the parts of all days before it."""
    for day in range(5):
        at = T0 + day * DAY
        making.add(address(address=f"203.0.113.{day}", **{"from": at, "to": at + HOUR}), table="addresses").rotate()
        Sealer(making.path, clock=partial(int, at)).seal()
    store = Store(making.close())
    files = Mock(wraps=store.files)
    monkeypatch.setattr(store, "files", files)
    assert len(store.intervals("addresses", since=T0 + 3 * DAY)) == 2
    read = {entry.file[:20] for call in files.call_args_list for entry in call.args[0]}
    assert read == {"addresses/2026-11-23", "addresses/2026-11-24"}
