"""A store that the program wrote before format 2 (commit 0c29f41, by tests/support/records.py of then): it is read
as it is, its journal is sealed into the new format, and text is imported into it."""

from __future__ import annotations

import json
import shutil
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anetcon import formats
from anetcon.errors import StoreError
from anetcon.journal.read import read_segment
from anetcon.record import FORMAT, TABLES, arrow_schema
from anetcon.store import layout, manifest, parquet
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.store.state import State
from tests.support.asking import Answer
from tests.support.old_lines import line
from tests.support.records import DAY, SECOND, T0, batch, end, packed
from tests.support.rooms import belongs_to

OLD = Path(__file__).parents[1] / "data" / "format1"
MONTHS = OLD.with_name("format2")
"""A store of format 2 in which every table but connections has one file a month, the first of which retention took away
(commit 58e1a01, by tests/support/records.py of then)."""
DAYS = OLD.with_name("format2-days")
"""A store of format 2 with parts of days, an import, and what `search` of then said of it (commit 47a5b62)."""

KNOWN = {
    "addresses": [("203.0.113.7", -70, None), ("203.0.113.9", -40, -8), ("203.0.113.10", 0, None)],
    "neighbours": [
        ("10.0.0.5", -70, -8),
        ("10.0.0.7", -40, None),
        ("10.0.0.5", -8, None),
        ("10.0.0.8", 0, 0),
        ("10.0.0.9", 0, None),
    ],
    "routes": [("0.0.0.0", -70, None), ("10.0.0.0", -70, None), ("10.7.0.0", -40, -8)],  # noqa: S104 - a route
}
"""What it has: address, and in days from T0 from when to when it was so."""
MINUTE = 60 * SECOND
PORTS = {
    40000: ("ipv4", "2026-11-20T13:05:19.000000Z"),
    40001: ("ipv4", "2026-11-20T13:06:09.000000Z"),
    40002: ("ipv4", "2026-11-20T13:11:49.000000Z"),
    40003: ("ipv4", None),
    40004: ("ipv4", "2026-11-20T13:11:14.000000Z"),
    40005: ("ipv4", None),
    40006: ("ipv6", "2026-11-20T13:05:29.000000Z"),
    40007: ("ipv6", "2026-11-20T13:11:14.000000Z"),
    40009: ("ipv4", None),
}
"""What it has: family and end by source port."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(OLD, tmp_path / "store"))


def found(store: Path, *words: str) -> dict[int, tuple[str, str | None]]:
    """What a search finds, as PORTS has it."""
    rows = Answer("search", "--store", store, "--format", "jsonl", *words).lines
    assert all(row["reply"] is None and row["start_is"] is None for row in rows)
    return {row["src_port"]: (row["family"], row["end"]) for row in rows}


def sealed(store: Path) -> State:
    """Seal all that can be, as the daemon of today does; what is in the manifest then."""
    sealer = Sealer(store, lambda: T0 + 10 * MINUTE)
    while sealer.seal():
        pass
    return manifest.replay(store)


def test_every_question_is_answered(store: Path) -> None:
    """Sealed files, open ones, and the journal: as they were, the family by the addresses, the reply not known."""
    assert found(store) == PORTS
    assert list(found(store, "--host", "2001:db8:1::/64")) == [40006, 40007]
    assert set(found(store, "--src", "10.0.0.0/8")) == {port for port, (family, _) in PORTS.items() if family == "ipv4"}
    assert found(store, "--src", "::ffff:10.0.0.5") == {}
    gaps = Answer("gaps", "--store", store, "--format", "jsonl").lines
    assert [gap["cause"] for gap in gaps if gap["netns"]] == ["overrun", "undecodable"]
    assert Answer("status", "--store", store).status in (0, 1)


@pytest.mark.parametrize("seal", [False, True])
def test_who_was_it(store: Path, seal: bool) -> None:
    """Of both families, with MAC and own addresses, before and after the journal was sealed."""
    if seal:
        sealed(store)
    for public, at, inner in (
        ("203.0.113.7:40213", "13:05:10", "10.0.0.5"),
        ("203.0.113.7:40003", "13:12:00", "10.0.0.5"),
        ("[2001:db8:1::5]:40007", "13:11:10", "2001:db8:1::5"),
    ):
        said = Answer("who", public, "--at", f"2026-11-20T{at}Z", "--store", store, "--format", "json").json
        assert (said["verdict"], said["connections"][0]["src_ip"]) == ("one", inner)
        assert said["neighbours"][0]["mac"] == "fa:16:3e:00:00:05"
        assert said["neighbours"][0]["family"] == said["connections"][0]["family"]
    own = Store(store).intervals("addresses")
    assert own["prefix_length"].null_count == len(own) == 4
    assert own["family"].to_pylist().count("ipv6") == 1


def test_its_journal_is_sealed_into_the_new_format(store: Path) -> None:
    """Nothing is lost or doubled, what is written is of the new format, and what was sealed stays as it was."""
    state = sealed(store)
    assert found(store) == PORTS
    assert {entry.format for entry in state.connections if entry.seal == 1} == {1}
    assert {entry.format for entry in state.connections if entry.seal > 1} == {FORMAT}
    written = [
        entry for entry in (*state.of("open"), *state.of("addresses"), *state.of("neighbours")) if entry.seal > 1
    ]
    assert len(written) == 3
    for entry in written:
        schema = pq.read_schema(store / entry.file)
        assert (entry.format, schema.metadata[b"anetcon.format"]) == (FORMAT, b"%d" % FORMAT)
        assert "family" in schema.names


@belongs_to("history")
def test_text_is_imported_into_it(store: Path, tmp_path: Path) -> None:
    """What the store has already is not added again, what it has not is."""
    log = tmp_path / "old.log"
    log.write_text(line(1) + line(2))
    first = Answer("import", log, "--store", store, "--tz", "UTC")
    again = Answer("import", log, "--store", store, "--tz", "UTC")
    assert "0 connections added" not in first.out
    assert "0 connections added" in again.out
    assert PORTS.items() <= found_with_imports(store).items()


def found_with_imports(store: Path) -> dict[int, tuple[str, str | None]]:
    """What a search finds, also what was imported."""
    rows = Answer("search", "--store", store, "--format", "jsonl", "--limit", "0").lines
    return {row["src_port"]: (row["family"], row["end"]) for row in rows}


def test_sql_and_columns_say_the_same(store: Path) -> None:
    """Whether DuckDB reads a file or Arrow does: the same rows, and so where only some columns are wanted."""
    for entry in manifest.replay(store).connections:
        rows = parquet.read(store, entry.file)
        assert rows.schema.equals(arrow_schema("connections"))
        view = Store(store)
        read = view._sealed("connections", [entry])
        assert read.sort_by("src_port").to_pylist() == rows.sort_by("src_port").to_pylist()
        some = parquet.read(store, entry.file, ["src_ip", "family"])
        assert some["family"].to_pylist() == rows["family"].to_pylist()


def test_a_segment_of_the_old_format(store: Path) -> None:
    """Its rows have every field of today, or those that are wanted."""
    folder = layout.journal_folder(store, "connections")
    for flush in read_segment(folder, 2):
        if flush.batch is not None:
            assert flush.batch.schema.equals(arrow_schema("connections"))
            assert flush.batch["family"].to_pylist()[-1] == "ipv6"
    some = [flush.batch for flush in read_segment(folder, 2, columns={"src_ip", "family"}) if flush.batch is not None]
    assert some[0].schema.names == ["src_ip", "family"]


def test_of_a_slice_too() -> None:
    """Rows that are part of a larger column have their own family."""
    old = pa.schema([field for field in arrow_schema("addresses") if field.name not in ("family", "prefix_length")])
    old = old.with_metadata({"anetcon.table": "addresses", "anetcon.format": "1"})
    addresses = ["10.0.0.1", "2001:db8::1", "::ffff:0:0", "::fffe:10.0.0.1"]
    rows = [{"node": "n", "netns": "x", "netns_inode": 1, "interface": "e", "address": packed(a)} for a in addresses]
    batch = pa.RecordBatch.from_pylist([{**row, "from": None, "to": None} for row in rows], old)
    assert formats.as_now(batch, "here")["family"].to_pylist() == ["ipv4", "ipv6", "ipv4", "ipv6"]
    assert formats.as_now(batch.slice(1, 2), "here")["family"].to_pylist() == ["ipv6", "ipv4"]
    assert formats.as_now(batch.slice(4), "here").num_rows == 0


@pytest.mark.parametrize("number", [str(FORMAT + 1), "x"])
def test_a_newer_format_is_refused(number: str) -> None:
    """Rows that a newer program wrote are not guessed at."""
    schema = arrow_schema("gaps").with_metadata({"anetcon.table": "gaps", "anetcon.format": number})
    with pytest.raises(StoreError, match="here was written by a newer version of anetcon: use that one"):
        formats.as_now(schema.empty_table(), "here")


def test_numbers_of_files_are_signed() -> None:
    """Every number that the journal holds comes back from a file; one above 63 bits is the largest there."""
    row = end(proto=255, src_port=65535, zone=65535, mark=0xFFFFFFFF, bytes_out=(1 << 64) - 1, bytes_in=(1 << 63) - 1)
    table = pa.Table.from_batches([batch("connections", [row])])
    written = formats.as_files(table, "connections")
    assert not {str(field.type) for field in written.schema if str(field.type).startswith("uint")}
    back = formats.as_now(written, "here").to_pylist()
    assert back == [{**table.to_pylist()[0], "ct_id": None, "bytes_out": (1 << 63) - 1}]


def test_every_field_that_came_later_has_something_in_its_place() -> None:
    """A field that format 1 did not have is null there, or derived."""
    for fields in TABLES.values():
        assert all(field.since == 1 or field.nullable or field.name == "family" for field in fields)


def test_the_format_before(tmp_path: Path) -> None:
    """A store of the version before is answered as that version did, sealed into the format of today, and answered so
    again: but for `ct_id` of what is over and was sealed now."""
    store = Path(shutil.copytree(DAYS / "store", tmp_path / "store"))
    said = [json.loads(line) for line in (DAYS / "answers.jsonl").read_text().splitlines()]

    def asked() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = Answer("search", "--store", store, "--format", "jsonl", "--limit", "0").lines
        return rows

    assert asked() == said
    state = sealed(store)
    assert {entry.format for entry in state.connections} == {2, FORMAT}
    over = {40002, 40004, 40008}
    assert asked() == [row | {"ct_id": None} if row["src_port"] in over else row for row in said]
    who = Answer("who", "203.0.113.7:40002", "--at", "2026-11-20T13:06:00Z", "--store", store, "--format", "json").json
    assert (who["verdict"], who["connections"][0]["src_port"], who["neighbours"][0]["mac"]) == (
        "one",
        40002,
        "fa:16:3e:00:00:05",
    )


def known(store: Path, since: int | None = None, until: int | None = None) -> dict[str, list[Any]]:
    """What a store says, as KNOWN does; the days are those of a window, too."""
    times = [None if days is None else T0 + days * DAY for days in (since, until)]
    found: dict[str, list[Any]] = {}
    for table in KNOWN:
        rows = Store(store).intervals(table, since=times[0], until=times[1])
        addresses = rows["network" if table == "routes" else "address"].to_pylist()
        spans = (rows[name].cast(pa.int64()).to_pylist() for name in ("from", "to"))
        days = [[time and (time - T0) // DAY for time in column] for column in spans]
        found[table] = list(zip((str(IPv4Address(address[12:])) for address in addresses), *days, strict=True))
    return found


def test_months_go_on_as_days(tmp_path: Path) -> None:
    """A store with one file a month is read as it is, also by its lines of retention; what is new is sealed into parts
    of days, and the answers are the same. A month goes as it did, when it is over, and the parts go by their times."""
    store = Path(shutil.copytree(MONTHS, tmp_path / "store"))
    before = manifest.replay(store)
    assert [entry.file for entry in before.of("neighbours")] == [
        f"neighbours/2026-{month}.{seal:08d}.parquet" for month, seal in ((10, 2), (11, 4))
    ]
    assert before.removed == (T0 - 70 * DAY, T0 - T0 % DAY - 40 * DAY, 1)
    assert known(store) == KNOWN
    windows = {days: known(store, *days) for days in ((-50, -20), (-8, -8), (-1, 0), (-70, None))}
    assert windows[-50, -20]["addresses"] == KNOWN["addresses"][:2]
    state = sealed(store)
    day = layout.day_of(T0 + 10 * MINUTE)
    for table in ("addresses", "neighbours"):
        assert [entry.file.partition(".")[0] for entry in state.of(table)] == [
            f"{table}/{name}" for name in ("2026-10", "2026-11", day)
        ]
    assert known(store) == KNOWN
    assert {days: known(store, *days) for days in windows} == windows
    sealer = Sealer(store, lambda: T0, limits=Limits(age=5 * DAY))
    assert sealer.retain() is not None
    assert [entry.seal for entry in manifest.replay(store).of("neighbours")] == [4, 5]
    assert known(store, -1, 0) == windows[-1, 0]
