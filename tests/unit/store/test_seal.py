"""Sealing: what ends up in the store, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.journal.read import last_flush
from anetcon.journal.write import Writer, segments
from anetcon.record import arrow_schema
from anetcon.store import layout, manifest, parquet, parts, seal
from anetcon.store.coverage import Question, coverage
from anetcon.store.entry import Entry, microseconds
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from bench.realistic import events, generate
from tests.support.crashing import CrashError, crash_at
from tests.support.examples import examples
from tests.support.records import DAY, SECOND, T0, Making, end, logged, logged_float, start, whole

HOUR = 3600 * SECOND


def rows(store: Path, kind: str = "connections") -> list[dict[str, Any]]:
    """Every row that counts, of one kind."""
    tables = [parquet.read(store, entry.file) for entry in manifest.replay(store).of(kind)]
    return [row for table in tables for row in table.to_pylist()]


def of(store: Path, entry: Entry) -> list[dict[str, Any]]:
    """The rows of one file."""
    return list(parquet.read(store, entry.file).to_pylist())


def ids(store: Path, kind: str = "connections") -> list[int]:
    """The marks of the rows that count: tests number their connections with them."""
    return sorted(row["mark"] for row in rows(store, kind))


def told(table: pa.Table) -> list[tuple[int, ...]]:
    """What tells generated connections apart."""
    return sorted(
        zip(*(table[name].to_pylist() for name in ("end", "src_port", "nat_src_port", "bytes_in")), strict=True)
    )


def files(store: Path) -> set[str]:
    """Every file in the store, besides the journal."""
    found = (path for path in store.rglob("*") if path.is_file())
    return {str(p.relative_to(store)) for p in found if p.relative_to(store).parts[0] != "journal"}


def seal_all(store: Path, clock: int = T0) -> Sealer:
    """Seal until there is nothing left."""
    sealer = Sealer(store, lambda: clock)
    while sealer.seal():
        pass
    return sealer


def test_what_ended_and_what_is_open(tmp_path: Path) -> None:
    """Starts and ends become one row a connection; what has no end yet is in the snapshot; the journal is dropped when
    something was written behind it."""
    making = Making(tmp_path).add(*whole(10, mark=1), start(mark=2, src_port=1)).rotate()
    sealer = seal_all(tmp_path)
    assert ids(tmp_path) == [1]
    assert ids(tmp_path, "open") == [2]
    assert rows(tmp_path)[0]["packets_out"] == 6
    making.alive(T0 + DAY)
    sealer.drop()
    assert segments(layout.journal_folder(tmp_path, "connections")) == [2]
    assert not sealer.seal()
    assert (sealer.statistics.seals, sealer.statistics.events, sealer.statistics.connections) == (1, 3, 1)
    assert {entry.file for kind in ("connections", "open") for entry in manifest.replay(tmp_path).of(kind)} == {
        "node=gw1/date=2026-11-20/00000001.parquet",
        "open/00000001.parquet",
    }
    making.close()


def test_the_manifest_tells_the_times_of_each_file(tmp_path: Path) -> None:
    """From the earliest start to the latest end; a file with open rows has no end."""
    Making(tmp_path).add(*whole(10, mark=1), *whole(5, mark=2, src_port=1, start=T0 + 1), start(src_port=2)).close()
    state = seal_all(tmp_path)._state()
    (closed,), (still_open,) = state.of("connections"), state.of("open")
    assert (closed.start, closed.end) == ("2026-11-20T13:05:09.000000Z", "2026-11-20T13:05:19.000000Z")
    assert (still_open.start, still_open.end) == ("2026-11-20T13:05:09.000000Z", None)
    assert (closed.rows, closed.format, state.through) == (2, 3, {"connections": 1})


def test_only_closed_segments_are_sealed(tmp_path: Path) -> None:
    """What capture still writes to is left alone."""
    making = Making(tmp_path).add(*whole(mark=1))
    assert not Sealer(tmp_path).pending()
    assert not Sealer(tmp_path).seal()
    making.rotate().add(*whole(mark=2, src_port=1))
    seal_all(tmp_path)
    assert ids(tmp_path) == [1]
    making.close()


def test_open_connections_are_carried_until_they_end(tmp_path: Path) -> None:
    """A connection that stays open over several seals is in each snapshot, and in the end one row with both times."""
    making = Making(tmp_path).add(start(mark=1)).rotate()
    sealer = seal_all(tmp_path)
    for number in range(2, 5):
        making.add(*whole(mark=number, src_port=number)).rotate()
        assert sealer.seal()
        assert ids(tmp_path, "open") == [1]
    making.add(end(mark=1)).close()
    assert sealer.seal()
    assert ids(tmp_path) == [1, 2, 3, 4]
    assert ids(tmp_path, "open") == []
    assert not (tmp_path / "open/00000004.parquet").exists()


def test_days_and_long_ones_have_their_own_files(tmp_path: Path) -> None:
    """A connection is in the folder of the UTC day it ended; one of over an hour in a file of its own."""
    midnight = T0 - T0 % DAY + DAY
    Making(tmp_path).add(
        *whole(1, mark=1, start=midnight - SECOND - 1),
        *whole(1, mark=2, start=midnight - SECOND, src_port=2),
        *whole(3600, mark=3, start=midnight - HOUR, src_port=3),
        *whole(3600.1, mark=4, start=midnight - HOUR, src_port=4),
    ).close()
    seal_all(tmp_path)
    by_file = {
        entry.file: sorted(row["mark"] for row in parquet.read(tmp_path, entry.file).to_pylist())
        for entry in manifest.replay(tmp_path).of("connections")
    }
    assert by_file == {
        "node=gw1/date=2026-11-20/00000001.parquet": [1],
        "node=gw1/date=2026-11-21/00000001.parquet": [2, 3],
        "node=gw1/date=2026-11-21/long-00000001.parquet": [4],
    }


def test_lines_of_text_are_filed_by_their_start(tmp_path: Path) -> None:
    """Never open, never in a file of long ones, each written once, in the folder of the day it began; its start is the
    time the manifest has of its end, so that no other day's question reads it."""
    midnight = T0 - T0 % DAY + DAY
    making = Making(tmp_path).add(
        logged(mark=1, start=midnight - 1), logged(mark=2, start=midnight - 1), logged_float(mark=3, start=midnight)
    )
    making.rotate().add(logged(mark=4, start=midnight - 1, origin="import"), *whole(mark=5))
    making.add(start(mark=6, src_port=6)).close()
    seal_all(tmp_path)
    entries = manifest.replay(tmp_path).of("connections")
    assert {entry.file: sorted(row["mark"] for row in of(tmp_path, entry)) for entry in entries} == {
        "node=gw1/date=2026-11-20/00000001.parquet": [1, 2, 4, 5],
        "node=gw1/date=2026-11-21/00000001.parquet": [3],
    }
    assert [entry.end for entry in entries] == ["2026-11-20T23:59:59.999999Z", "2026-11-21T00:00:00.000000Z"]
    assert ids(tmp_path, "open") == [6]
    assert {row["end"] for row in rows(tmp_path) if row["origin"] == "log"} == {None}


def test_lines_of_text_are_not_remembered(tmp_path: Path) -> None:
    """They are compared with nothing: what is remembered of a seal are its ends, in the next process too."""
    making = Making(tmp_path).add(*whole(mark=1), *(logged(mark=n, start=T0 + HOUR) for n in range(2, 9))).rotate()
    assert seal_all(tmp_path)._remembered["src_port"].tolist() == [40000]
    making.add(logged(mark=9), end(mark=1)).rotate()
    again = seal_all(tmp_path)
    assert again._remembered["src_port"].tolist() == [40000]
    assert ids(tmp_path) == [1, *range(2, 10)]
    making.add(logged(mark=10), *whole(mark=11, src_port=1)).close()
    assert again.seal()
    assert ids(tmp_path) == [1, *range(2, 12)]


def test_nodes_have_their_own_folders(tmp_path: Path) -> None:
    """A journal that was written under two host names is sealed into two partitions."""
    Making(tmp_path).add(*whole(mark=1)).add(*whole(mark=2, node="gw 2")).close()
    seal_all(tmp_path)
    assert {entry.file.split("/")[0] for entry in manifest.replay(tmp_path).of("connections")} == {
        "node=gw1",
        "node=gw%202",
    }


@pytest.mark.parametrize("again", ["the same sealer", "another process"])
def test_copies_that_come_after_the_seal_are_not_written_again(tmp_path: Path, again: str) -> None:
    """An END repeated in a later segment, or a START read late, makes neither a second row nor an open one."""
    making = Making(tmp_path).add(*whole(mark=1)).rotate()
    sealer = seal_all(tmp_path)
    making.add(end(mark=1), end(mark=1), start(mark=1), *whole(mark=2, src_port=1)).close()
    (sealer if again == "the same sealer" else Sealer(tmp_path, lambda: T0)).seal()
    assert ids(tmp_path) == [1, 2]
    assert ids(tmp_path, "open") == []


def test_what_ended_is_remembered_over_a_seal_without_connections(tmp_path: Path) -> None:
    """A process that starts after a seal of gaps alone knows the ends of the seal before, and opens nothing again."""
    making = Making(tmp_path).add(*whole(mark=1)).rotate()
    sealer = seal_all(tmp_path)
    gap = {"node": "gw1", "netns": None, "from": T0, "to": T0 + 1, "cause": "overrun", "lost": None}
    making.add(gap, table="gaps").rotate()
    assert sealer.seal()
    making.add(start(mark=1)).close()
    seal_all(tmp_path)
    assert ids(tmp_path) == [1]
    assert ids(tmp_path, "open") == []


def test_a_tuple_used_again_after_the_seal_is_a_second_connection(tmp_path: Path) -> None:
    """What is remembered of sealed ends swallows nothing new."""
    making = Making(tmp_path).add(*whole(0.1, mark=1)).rotate()
    sealer = seal_all(tmp_path)
    making.add(*whole(mark=2, start=T0 + SECOND // 2)).close()
    sealer.seal()
    assert ids(tmp_path) == [1, 2]


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest ends are remembered, and only so many."""
    monkeypatch.setattr(seal, "REMEMBERED_ROWS", 3)
    making = Making(tmp_path)
    for number in range(10):
        making.add(*whole(mark=number, src_port=number, start=T0 + number * SECOND))
    making.close()
    assert sorted(seal_all(tmp_path)._remembered["src_port"].tolist()) == [7, 8, 9]


def test_intervals_have_one_file_a_month(tmp_path: Path) -> None:
    """A gap that closes is one row; a new month begins with what still lasts, the old month's file stays."""
    gap = {"node": "gw1", "netns": None, "from": T0, "to": None, "cause": "overrun", "lost": None}
    lasting = {**gap, "cause": "conntrack-inactive", "netns": "a"}
    making = Making(tmp_path).add(gap, lasting, table="gaps").rotate()
    seal_all(tmp_path)
    making.add({**gap, "to": T0 + 5}, table="gaps").rotate()
    seal_all(tmp_path)
    assert sorted((row["cause"], row["to"] is None) for row in rows(tmp_path, "gaps")) == [
        ("conntrack-inactive", True),
        ("overrun", False),
    ]
    assert "gaps/2026-11.00000001.parquet" not in files(tmp_path)
    making.add({**gap, "cause": "table-full"}, table="gaps").close()
    seal_all(tmp_path, T0 + 20 * DAY)
    entries = manifest.replay(tmp_path).of("gaps")
    assert [entry.file for entry in entries] == ["gaps/2026-11.00000002.parquet", "gaps/2026-12.00000003.parquet"]
    assert [entry.end for entry in entries] == [None, None]
    december = parquet.read(tmp_path, entries[1].file)
    assert sorted(december["cause"].to_pylist()) == ["conntrack-inactive", "table-full"]
    assert december.schema == arrow_schema("gaps")


def test_addresses_and_neighbours_are_sealed_too(tmp_path: Path) -> None:
    """Every table of the journal has its place in the store, and its segments are dropped."""
    row = {"node": "gw1", "netns": "a", "netns_inode": 7, "interface": "qr", "address": "10.0.0.1", "from": T0}
    making = Making(tmp_path).add(row, table="addresses").add({**row, "mac": bytes(6)}, table="neighbours").rotate()
    seal_all(tmp_path)
    assert [len(rows(tmp_path, table)) for table in ("addresses", "neighbours")] == [1, 1]
    assert manifest.replay(tmp_path).through == {"addresses": 1, "neighbours": 1}
    assert segments(layout.journal_folder(tmp_path, "neighbours")) == [2]
    making.close()


def neighbours(number: int, *, since: int = T0, to: int | None = None) -> dict[str, Any]:
    """A neighbour, told from others by its address."""
    row = {"node": "gw1", "netns": "a", "netns_inode": 7, "interface": "qr", "mac": bytes(6)}
    return row | {"address": f"10.0.{number >> 8}.{number & 255}", "from": since, "to": to}


def test_neighbours_have_parts_of_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is full is written no more, whether it became so in this seal or before; the next one and the next
    day's begin with what still lasts. A clock that was set back writes over nothing."""
    monkeypatch.setattr(parts, "PART_ROWS", 3)
    monkeypatch.setattr(parts, "PIECE_ROWS", 2)
    making = Making(tmp_path).add(neighbours(0), table="neighbours")
    for number in range(1, 9, 2):
        making.add(*(neighbours(n, to=T0 + n) for n in (number, number + 1)), table="neighbours")
    making.rotate()
    seal_all(tmp_path)
    day = "neighbours/2026-11-20"

    def found() -> dict[str, list[int]]:
        """The addresses in each part."""
        entries = manifest.replay(tmp_path).of("neighbours")
        return {e.file.partition(".")[0]: sorted(row["address"][-1] for row in of(tmp_path, e)) for e in entries}

    first, second = {day: [0, 1, 2, 3, 4]}, {f"{day}-2": [0, 5, 6, 7, 8]}
    assert found() == first | second
    seal_all(tmp_path)
    assert found() == first | second
    making.add(neighbours(9, to=T0 + 9), table="neighbours").rotate()
    seal_all(tmp_path)
    making.add(neighbours(10, to=T0 + 10), table="neighbours").rotate()
    seal_all(tmp_path)
    third = {f"{day}-3": [0, 9, 10]}
    assert found() == first | second | third
    making.add(neighbours(11, since=T0 + DAY, to=T0 + DAY), table="neighbours").rotate()
    seal_all(tmp_path, T0 + DAY)
    fourth = {"neighbours/2026-11-21": [0, 11]}
    assert found() == first | second | third | fourth
    making.add(neighbours(12, since=T0 + DAY), table="neighbours").close()
    seal_all(tmp_path)
    assert found() == first | second | third | fourth | {f"{day}-4": [0, 12]}
    latest = [microseconds(e.latest or "") for e in manifest.replay(tmp_path).of("neighbours")]
    assert latest == [T0 + 4, T0 + 8, T0 + 10, T0 + DAY, T0 + DAY]
    assert len(Store(tmp_path).intervals("neighbours")) == 13


def test_a_month_that_comes_again(tmp_path: Path) -> None:
    """A clock that was a month ahead and is set right costs no gap of this month."""
    making = Making(tmp_path)
    gap = {"node": "gw1", "netns": None, "to": T0 + 5, "cause": "overrun", "lost": 1}
    for number, clock in enumerate((T0, T0 + 20 * DAY, T0)):
        making.add(gap | {"from": T0 + number}, table="gaps").rotate()
        seal_all(tmp_path, clock)
    assert [row["from"].microsecond for row in Store(making.close()).intervals("gaps").to_pylist()] == [0, 1, 2]


def test_less_memory_takes_fewer_rows(tmp_path: Path) -> None:
    """Told to take less it does, down to an end, and the store has the same rows."""
    making = Making(tmp_path).add(neighbours(0), table="neighbours")
    for at in range(0, 20_000, 4_000):
        making.add(*(neighbours(n, to=T0 + n) for n in range(at + 1, at + 4_001)), table="neighbours").rotate()
    sealer = Sealer(tmp_path, lambda: T0)
    assert [sealer.take_less() for _ in range(5)] == [125_000, 31_250, 7_812, 1_953, None]
    while sealer.seal():
        pass
    assert sealer.statistics.seals == 5
    assert all(entry.rows <= 2 * 1_953 + 1 for entry in manifest.replay(tmp_path).of("neighbours"))
    assert len(Store(making.close()).intervals("neighbours")) == 20_001


@pytest.mark.parametrize(
    ("saved", "left"),
    [('{"keep": 2}', [2, 3, 4]), ('{"keep": 9}', [4]), ("rubbish", [1, 2, 3, 4]), ("[1]", [1, 2, 3, 4])],
)
def test_what_a_follower_needs_is_kept(tmp_path: Path, saved: str, left: list[int]) -> None:
    """Sealed segments stay until every follower has passed them; one whose position cannot be read needs them all."""
    path = layout.follower_path(tmp_path, "text")
    layout.make_folder(path.parent)
    path.write_text(saved)
    making = Making(tmp_path)
    for number in range(3):
        making.add(*whole(mark=number, src_port=number)).rotate()
    making.alive(T0)
    sealer = seal_all(tmp_path)
    folder = layout.journal_folder(tmp_path, "connections")
    assert segments(folder) == left
    path.unlink()
    sealer.drop()
    assert segments(folder) == [4]
    assert sorted(p.name for p in folder.iterdir()) == ["0000000004.arrows", "0000000004.index"]
    making.close()


def test_a_seal_takes_whole_segments_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog is sealed in pieces, in order."""
    monkeypatch.setattr(seal, "ENOUGH_ROWS", 4)
    making = Making(tmp_path)
    for number in range(5):
        making.add(*whole(mark=number, src_port=number)).rotate()
    sealer = seal_all(tmp_path)
    assert [entry.rows for entry in manifest.replay(tmp_path).of("connections")] == [2, 2, 1]
    assert sealer.statistics.seals == 3
    making.close()


def test_small_flushes_make_no_difference(tmp_path: Path) -> None:
    """Hundreds of flushes of one row, each with its own dictionaries, are sealed as one."""
    made = generate(np.random.default_rng(4), 300)
    journal(tmp_path, events(made), 1, 600)
    seal_all(tmp_path)
    assert told(pa.Table.from_pylist(rows(tmp_path))) == told(made)


def journal(store: Path, rows_: pa.Table, flush: int, segment: int) -> None:
    """Write rows as capture would, in flushes and segments of these sizes."""
    with Writer(layout.journal_folder(store, "connections"), "connections") as writer:
        for at in range(0, rows_.num_rows, flush):
            batch = pa.Table.from_pylist(rows_.slice(at, flush).to_pylist(), rows_.schema).combine_chunks()
            writer.append(batch.to_batches()[0], T0, T0)
            if writer.rows >= segment:
                writer.rotate()


@examples(0.2)
@given(st.integers(1, 60), st.integers(20, 120), st.integers(0, 9))
def test_cut_anywhere_it_is_the_same_store(
    tmp_path_factory: pytest.TempPathFactory, flush: int, segment: int, seed: int
) -> None:
    """However events fall into flushes, segments and seals, each connection is in the store once, none is left open."""
    store = tmp_path_factory.mktemp("store")
    made = generate(np.random.default_rng(seed), 60)
    journal(store, events(made), flush, segment)
    seal_all(store)
    assert told(pa.Table.from_pylist(rows(store))) == told(made)
    assert ids(store, "open") == []
    shutil.rmtree(store)


def prepared(store: Path) -> None:
    """A store with one seal behind it and another to come, with something of every kind, over midnight."""
    midnight = T0 - T0 % DAY + DAY
    gap = {"node": "gw1", "netns": None, "from": T0, "to": None, "cause": "overrun", "lost": None}
    making = Making(store).add(*whole(mark=1), start(mark=2, src_port=2)).add(gap, table="gaps").rotate()
    seal_all(store)
    making.add(end(mark=2, src_port=2), end(mark=1), start(mark=3, src_port=3))
    making.add(*whole(7200, mark=4, src_port=4, start=midnight - HOUR), {**start(mark=5, src_port=5), "end": None})
    making.add({**gap, "to": T0 + 9}, table="gaps").close()


@pytest.mark.parametrize(("torn", "again"), [(False, "the same sealer"), (True, "another process")])
def test_a_crash_at_every_step_loses_and_doubles_nothing(tmp_path: Path, torn: bool, again: str) -> None:
    """Wherever sealing dies, doing it again gives the same store, without a file too many."""
    model = tmp_path / "model"
    prepared(model)
    whole_one = tmp_path / "whole"
    shutil.copytree(model, whole_one)
    seal_all(whole_one)
    steps = number = 1
    while number <= steps:
        store = tmp_path / f"crash{number}"
        shutil.copytree(model, store)
        sealer = Sealer(store, lambda: T0)
        with crash_at(number, torn) as done:
            try:
                sealer.seal()
                steps = done()
            except CrashError:
                steps = number + 1
        between = manifest.replay(store)
        assert between.seal in (1, 2)
        assert ids(store) == ([1] if between.seal == 1 else [1, 2, 4])
        if again == "another process":
            sealer = Sealer(store, lambda: T0)
        while sealer.seal():
            pass
        seal_all(store).drop()
        assert ids(store) == [1, 2, 4], number
        assert ids(store, "open") == [3, 5], number
        assert [row["to"] is None for row in rows(store, "gaps")] == [False]
        assert files(store) == files(whole_one), number
        number += 1
    assert number > 20


def test_a_manifest_that_was_lost_stops_sealing(tmp_path: Path) -> None:
    """Files that no manifest explains are never removed: it is said, and nothing is sealed."""
    making = Making(tmp_path).add(*whole(src_port=9)).rotate()
    seal_all(tmp_path)
    for number in range(2):
        making.add(*whole(mark=number, src_port=number)).rotate()
        seal_all(tmp_path)
        before = files(tmp_path) - {"manifest.jsonl"}
        saved = layout.manifest_path(tmp_path).read_bytes()
        layout.manifest_path(tmp_path).unlink()
        with pytest.raises(StoreError, match=r"is of seal \d, but .* ends at seal 0; restore"):
            Sealer(tmp_path).seal()
        assert files(tmp_path) == before
        layout.manifest_path(tmp_path).write_bytes(saved)
    making.close()


def test_a_journal_begun_again_is_sealed(tmp_path: Path) -> None:
    """Somebody removed the journal's folder: segments that are numbered from 1 again are not taken for sealed."""
    making = Making(tmp_path)
    for number in range(3):
        making.add(*whole(mark=number, src_port=number)).rotate()
    seal_all(tmp_path)
    making.close()
    shutil.rmtree(layout.journal_folder(tmp_path, "connections"))
    Making(tmp_path).add(*whole(mark=7, src_port=7)).rotate().add(*whole(mark=8, src_port=8)).close()
    seal_all(tmp_path)
    assert ids(tmp_path) == [0, 1, 2, 7, 8]
    assert manifest.replay(tmp_path).through == {"connections": 2}


def test_a_damaged_manifest_stops_sealing(tmp_path: Path) -> None:
    """The journal is kept until somebody repaired it."""
    making = Making(tmp_path)
    for number in range(2):
        making.add(*whole(mark=number, src_port=number)).rotate()
        seal_all(tmp_path)
    making.add(*whole(mark=9)).close()
    path = layout.manifest_path(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"rows":1', b'"rows":2', 1))
    with pytest.raises(StoreError, match=r"line [12] was changed"):
        Sealer(tmp_path).pending()
    assert segments(layout.journal_folder(tmp_path, "connections"))[-1] == 3


def test_strangers_files_are_left_alone(tmp_path: Path) -> None:
    """What is not named as ours is not removed with what a crash left."""
    making = Making(tmp_path).add(*whole(mark=1)).rotate()
    seal_all(tmp_path)
    for name in ("node=gw1/date=2026-11-20/mine.parquet", "open/README", "node=gw1/date=2026-11-20/00000002.parquet"):
        layout.make_folder((tmp_path / name).parent)
        (tmp_path / name).write_text("x")
    making.close()
    seal_all(tmp_path)
    assert (tmp_path / "node=gw1/date=2026-11-20/mine.parquet").exists()
    assert (tmp_path / "open/README").exists()
    assert not (tmp_path / "node=gw1/date=2026-11-20/00000002.parquet").exists()


def test_a_journal_with_a_damaged_flush_is_sealed_up_to_it(tmp_path: Path) -> None:
    """A flipped byte costs what follows in its segment, not the next segment; what is lost is a gap, also before."""
    making = Making(tmp_path).add(*whole(mark=1)).add(*whole(mark=2, src_port=2)).rotate()
    making.add(*whole(mark=3, src_port=3)).close()
    index = layout.journal_folder(tmp_path, "connections") / "0000000001.index"
    lines = index.read_text().splitlines()
    data = index.with_suffix(".arrows")
    damaged = bytearray(data.read_bytes())
    damaged[int(lines[2].split()[0]) + 40] ^= 1
    data.write_bytes(damaged)
    (gap,) = coverage(Store(tmp_path), Question()).gaps.filter(pc.field("cause") == "journal-damaged").to_pylist()
    seal_all(tmp_path)
    assert ids(tmp_path) == [1, 3]
    (sealed,) = rows(tmp_path, "gaps")
    assert [sealed[name] for name in ("from", "to", "cause", "lost")] == [
        gap[name] for name in ("from", "to", "cause", "lost")
    ]
    assert (sealed["cause"], sealed["lost"]) == ("journal-damaged", 2)


def test_the_store_says_how_it_was_made(tmp_path: Path) -> None:
    """Each file in the manifest has the digest and size of what is on disk."""
    import hashlib

    Making(tmp_path).add(*whole(mark=1)).close()
    seal_all(tmp_path)
    for line in layout.manifest_path(tmp_path).read_text().splitlines()[:-1]:
        said = json.loads(line)
        data = (tmp_path / said["file"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (said["sha256"], said["bytes"])


def test_a_full_disk_leaves_no_half_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a seal had written before the disk was full is removed at once: it is room for the journal."""
    prepared(tmp_path)
    before = files(tmp_path)
    sealer = Sealer(tmp_path, lambda: T0)
    real, put = parquet.put, []

    def full(*given: Any) -> dict[str, Any]:
        """The second file does not fit."""
        put.append(given)
        if len(put) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    monkeypatch.setattr(parquet, "put", full)
    with pytest.raises(OSError, match="No space"):
        sealer.seal()
    assert files(tmp_path) == before
    monkeypatch.undo()
    assert sealer.seal()
    assert ids(tmp_path) == [1, 2, 4]


def test_a_question_while_a_segment_is_sealed_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks how far the journal is has an answer: the segment that said so may be sealed and dropped while the
    others are looked at, and the one behind it may have no line yet."""
    making = Making(tmp_path / "store").add(*whole()).alive(T0)
    folder = layout.journal_folder(making.path, "connections")
    making.rotate()
    sealer = Sealer(making.path, clock=lambda: T0)
    assert sealer.seal()
    assert last_flush(folder) == T0, "the segment behind it has no line"
    looks = iter(range(2))

    def listed(where: Path) -> list[int]:
        found = segments(where)
        if next(looks, 1) == 0:  # it has been listed, and not been read
            making.alive(T0 + SECOND)
            sealer.drop()
            assert segments(where) == [2]
            return [1]
        return found

    monkeypatch.setattr("anetcon.journal.read.segments", listed)
    assert last_flush(folder) == T0 + SECOND
