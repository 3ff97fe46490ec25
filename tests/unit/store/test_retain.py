"""What is removed before the disk is full, what is kept, and that answers say so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pyarrow as pa
import pytest

from anetcon.errors import StoreError
from anetcon.store import layout, manifest, parts, retain, sql
from anetcon.store.coverage import Question, coverage
from anetcon.store.entry import Entry, rfc3339
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.retain import Cut, Disk
from anetcon.store.saved import Counted
from anetcon.store.seal import Sealer
from anetcon.store.state import State
from tests.support.crashing import CrashError, crash_at
from tests.support.records import DAY, SECOND, T0, Making, packed, start, whole

TODAY = T0 - T0 % DAY
HOUR = 3600 * SECOND
ROOMY = Disk(total=10**12, free=10**11, used=0)
GAP = {"node": "gw1", "netns": None, "from": T0 - 9 * DAY, "to": T0 - 9 * DAY + SECOND, "cause": "overrun", "lost": 3}


def entry(end: int, size: int = 100) -> Entry:
    """A file of connections that had ended at some time."""
    ended = rfc3339(end)
    return Entry(prev="", kind="connections", seal=1, file=str(end), bytes=size, rows=1, start=ended, end=ended)


def state_of(*ends: int) -> State:
    """A store with these files, of 100 bytes each."""
    return State(connections=Counted([entry(end) for end in ends]))


def when(cut: Cut | None) -> float | None:
    """How many days before today everything goes."""
    return None if cut is None else (TODAY - cut.before) / DAY


DAYS = [TODAY - days * DAY + HOUR for days in (20, 19, 10, 3, 1)]


@pytest.mark.parametrize(("days", "kept"), [(30, None), (19.6, None), (19, 19), (18, 18), (2.5, 2), (0.5, 0)])
def test_by_age(days: float, kept: float | None) -> None:
    """A day goes when all of it is older: what is kept is whole days."""
    assert when(retain.cut(state_of(*DAYS), Limits(age=round(days * DAY)), ROOMY, T0)) == kept


@pytest.mark.parametrize(("used", "kept"), [(500, None), (501, 19), (600, 19), (601, 18), (650, 18), (10**9, 0)])
def test_by_size(used: int, kept: float | None) -> None:
    """As many of the oldest days go as it takes, and never more than there is of past days."""
    assert when(retain.cut(state_of(*DAYS), Limits(size=500), ROOMY._replace(used=used), T0)) == kept


def test_of_the_present_day_what_was_sealed_first_goes_last_of_all() -> None:
    """When past days are not enough files of today go, oldest first; what ended within the last hour stays."""
    ends = [T0 - DAY, T0 - 3 * HOUR, T0 - 2 * HOUR, T0 - HOUR // 2]
    for over, before in ((1, TODAY), (101, ends[1] + 1), (201, ends[2] + 1), (400, ends[2] + 1)):
        cut = retain.cut(state_of(*ends), Limits(size=500), ROOMY._replace(used=500 + over), T0)
        assert cut is not None
        assert cut.before == before


def test_by_free_space() -> None:
    """Below the floor the oldest go; the floor nobody set leaves the last week alone, one that was set does not."""
    full = Disk(total=10_000, free=0, used=5000)
    assert when(retain.cut(state_of(*DAYS), Limits(free=250), full, T0)) == 9
    assert when(retain.cut(state_of(*DAYS), Limits(), full._replace(free=300), T0)) == 18
    assert when(retain.cut(state_of(*DAYS), Limits(), full, T0)) == 9
    assert retain.cut(state_of(*DAYS[3:]), Limits(), full, T0) is None
    assert when(retain.cut(state_of(*DAYS), Limits(free=10**9), full, T0)) == 0
    assert retain.cut(state_of(*DAYS), Limits(free=0), full, T0) is None
    assert retain.cut(state_of(), Limits(free=250), full, T0) is None


def test_the_default_floor_is_small() -> None:
    """One gigabyte, or 5 % of a small file system."""
    assert Limits().floor(10**12) == 10**9
    assert Limits().floor(10**9) == 5 * 10**7


def long_history(path: Path, days: int = 10) -> Making:
    """Ten days with two connections each, a seal a day; one that is open since the first day; a gap on the first day;
    addresses that were learnt in another month."""
    making = Making(path).add(start(ct_id=99, src_port=99, start=T0 - 9 * DAY)).add(GAP, table="gaps")
    clock = [T0]
    sealer = Sealer(path, clock=lambda: clock[0])
    interval = {"node": "gw1", "netns": "x", "netns_inode": 1, "interface": "eth0", "to": None}
    for day in reversed(range(days)):
        clock[0] = at = T0 - day * DAY
        making.add(*whole(start=at, src_port=day + 1), *whole(7200, start=at, src_port=day + 20))
        making.alive(at).rotate()
        assert sealer.seal()
    for month in (70, 40, 0):
        clock[0] = T0 - month * DAY
        making.add(interval | {"from": clock[0], "address": "10.0.0.1"}, table="addresses").rotate()
        assert sealer.seal()
    return making


def of(store: Store) -> set[int]:
    """The source ports of all connections it shows."""
    return set(store.connections().read_all()["src_port"].to_pylist())


def ports(path: Path) -> set[int]:
    """The same of a folder."""
    return of(Store(path))


def sealer_for(path: Path, days: float) -> Sealer:
    """A sealer that keeps so many days."""
    return Sealer(path, clock=lambda: T0 + HOUR, limits=Limits(age=round(days * DAY)))


def on_disk(path: Path) -> list[str]:
    """Every Parquet file there is."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*.parquet*"))


def test_days_go_whole_and_what_is_needed_stays(tmp_path: Path) -> None:
    """Files, long ones and folders of old days go; later days, open connections, all gaps, and the intervals of the
    months that are kept stay; another look finds nothing to do."""
    making = long_history(tmp_path)
    sealer = sealer_for(tmp_path, 4)
    cut = sealer.retain()
    assert when(cut) == 4
    assert ports(tmp_path) == {1, 2, 3, 4, 5, 20, 21, 22, 23, 24, 99}
    days = {path.name.partition("=")[2] for path in tmp_path.glob("node=*/date=*")}
    assert days == {layout.day_of(T0 - day * DAY) for day in range(5)}
    assert on_disk(tmp_path) == sorted(
        entry.file for state in [manifest.replay(tmp_path)] for entry in (*state.connections, *state.snapshots.values())
    )
    assert len(Store(tmp_path).intervals("gaps")) == 1
    assert [path.name[:7] for path in sorted((tmp_path / "addresses").iterdir())] == ["2026-11"]
    assert len(Store(tmp_path).intervals("addresses")) == 3
    assert sealer.retain() is None
    making.add(*whole(src_port=50)).rotate()
    sealer.seal()
    assert 50 in ports(making.close())


def test_an_answer_about_removed_days_has_a_gap(tmp_path: Path) -> None:
    """From the earliest start of what was removed to the day kept first, with how many connections there were; outside
    it nothing changed."""
    making = long_history(tmp_path).alive(T0 + HOUR)
    store = Store(making.close())
    removed = Question(T0 - 8 * DAY, T0 - 7 * DAY)
    assert coverage(store, removed, T0 + HOUR).complete
    sealer_for(tmp_path, 4).retain()
    midnight = TODAY - 4 * DAY
    (gap,) = coverage(store, removed, T0 + HOUR).gaps.to_pylist()
    assert (gap["cause"], gap["lost"], gap["netns"]) == ("retention", 10, None)
    assert [round(gap[name].timestamp() * 1e6) for name in ("from", "to")] == [T0 - 70 * DAY, midnight]
    assert coverage(store, Question(midnight, T0), T0 + HOUR).complete
    assert coverage(store, Question(T0 - 71 * DAY, T0 - 70 * DAY - 1), T0 + HOUR).gaps["cause"].to_pylist() == [
        "not-audited"
    ]
    everything = coverage(store, Question(), T0 + HOUR).gaps["cause"].to_pylist()
    assert "retention" in everything
    sealer_for(tmp_path, 2).retain()
    (gap,) = coverage(store, Question(T0 - 3 * DAY, T0 - 3 * DAY), T0 + HOUR).gaps.to_pylist()
    assert gap["lost"] == 14


def test_the_chain_goes_on(tmp_path: Path) -> None:
    """A retention is a line of the chain that names no file: those before it stay, and whoever reads them can check."""
    long_history(tmp_path).close()
    lines = layout.manifest_path(tmp_path).read_bytes()
    sealer_for(tmp_path, 4).retain()
    grown = layout.manifest_path(tmp_path).read_bytes()
    assert grown.startswith(lines)
    assert grown.count(b"\n") == lines.count(b"\n") + 1
    path = layout.manifest_path(tmp_path)
    path.write_bytes(grown.replace(lines.splitlines()[3][70:90], b"x" * 20))
    with pytest.raises(StoreError, match="was changed"):
        manifest.replay(tmp_path)


@pytest.mark.parametrize("torn", [False, True])
def test_a_crash_at_every_step(tmp_path: Path, torn: bool) -> None:
    """Wherever it dies, what counts can be read, and whoever goes on leaves the same store."""
    model = tmp_path / "model"
    long_history(model, 6).close()
    whole_one = tmp_path / "whole"
    shutil.copytree(model, whole_one)
    sealer_for(whole_one, 1).retain()
    before, after = ports(model), ports(whole_one)
    assert len(before) > len(after) > 1
    steps = number = 1
    while number <= steps:
        store = tmp_path / f"crash{number}"
        shutil.copytree(model, store)
        with crash_at(number, torn) as done:
            try:
                sealer_for(store, 1).retain()
                steps = done()
            except CrashError:
                steps = number + 1
        reader = Store(store)
        assert of(reader) in (before, after), number
        again_ = sealer_for(store, 1)
        again_.retain()
        again_.pending()
        assert on_disk(store) == on_disk(whole_one), number
        assert of(reader) == after
        shutil.rmtree(store)
        number += 1
    assert number > 10


def test_readers_meanwhile_are_not_disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question whose files are removed after it read the manifest starts again; one that has its first rows has all
    it needs."""
    making = long_history(tmp_path)
    store = Store(making.close())
    real, limits = manifest.opened, iter([8.0, 6.0])

    def opened(path: Path) -> tuple[State, str]:
        """Read the manifest, and let retention come before the reader goes on; twice."""
        state = real(path)
        with monkeypatch.context() as inner:
            inner.setattr(manifest, "opened", real)
            days = next(limits, None)
            if days is not None:
                assert sealer_for(tmp_path, days).retain() is not None
        return state

    monkeypatch.setattr(manifest, "opened", opened)
    assert len(store.connections().read_all()) == 2 * 7 + 1
    monkeypatch.undo()
    answer = store.connections()
    assert sealer_for(tmp_path, 2).retain() is not None
    assert len(answer.read_all()) == 2 * 7 + 1
    assert len(store.connections().read_all()) == 2 * 3 + 1


def test_retention_between_the_parts_of_a_question(tmp_path: Path) -> None:
    """What is claimed and what is found are of one state: all of it is asked again."""
    store = Store(long_history(tmp_path).alive(T0 + HOUR).close())
    since, until = T0 - 8 * DAY, T0 - 5 * DAY
    claims = list[bool]()

    def asked() -> int:
        claims.append(coverage(store, Question(since, until), T0 + HOUR).complete)
        if len(claims) == 1:
            assert sealer_for(tmp_path, 4).retain() is not None
        return len(store.connections(since=since, until=until).read_all())

    assert store.whole(asked) == len(Store(tmp_path).connections(since=since, until=until).read_all())
    assert claims == [True, False]


def test_sizes_are_those_of_journal_and_store(tmp_path: Path) -> None:
    """The limit of the size is met by what is on disk, and days go until it is."""
    making = long_history(tmp_path)
    making.close()
    sealer = Sealer(tmp_path, clock=lambda: T0 + HOUR)
    manifest.save(tmp_path, sealer._state())
    assert sealer._disk(sealer._state()).used == sum(
        path.stat().st_size
        for path in tmp_path.rglob("*")
        if path.suffix in (".parquet", ".arrows", ".jsonl", ".state")
    )
    there = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    sealer = Sealer(tmp_path, clock=lambda: T0 + HOUR, limits=Limits(size=round(there * 0.8)))
    assert sealer.retain() is not None
    left = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert there * 0.5 < left <= there * 0.8
    assert sealer.retain() is None


def flooded(path: Path, monkeypatch: pytest.MonkeyPatch) -> Making:
    """Three days with some parts of neighbours each, and an address that stood on the first day alone."""
    monkeypatch.setattr(parts, "PART_ROWS", 100)
    base = {"node": "gw1", "netns": "x", "netns_inode": 1, "interface": "eth0"}
    making = (
        Making(path)
        .audited()
        .add(base | {"address": "203.0.113.7", "from": T0 - 3 * DAY, "to": T0 - 3 * DAY + HOUR}, table="addresses")
    )
    for day in (3, 2, 1):
        at = T0 - day * DAY
        making.add(*whole(start=at, src_port=day)) if day == 1 else making.alive(at)
        for part in range(3):
            rows = [
                base | {"address": "10.0.0.9", "mac": packed("10.0.0.0")[-6:], "from": at + n, "to": at + n + 1}
                for n in range(part * 100, part * 100 + 100)
            ]
            making.add(*rows, table="neighbours").rotate()
            assert Sealer(path, clock=partial(int, at)).seal()
    return making.alive(T0)


def test_a_flood_of_neighbours_goes_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest parts go, the current one stays; of that time no answer is complete, although no connection went."""
    store = Store(flooded(tmp_path, monkeypatch).close())
    gone = Question(T0 - 3 * DAY, T0 - 3 * DAY + HOUR)
    assert coverage(store, gone, T0).complete
    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    old = sum(path.stat().st_size for path in sorted((tmp_path / "neighbours").iterdir())[:6])
    sealer = Sealer(tmp_path, clock=lambda: T0, limits=Limits(size=used - old * 3 // 4))
    assert when(sealer.retain()) == 1
    left = sorted(path.name.partition(".")[0] for path in (tmp_path / "neighbours").iterdir())
    assert left == [layout.day_of(T0 - DAY) + part for part in ("", "-2", "-3")]
    assert on_disk(tmp_path) == sorted(
        entry.file for state in [manifest.replay(tmp_path)] for entry in (*state.connections, *state.snapshots.values())
    )
    (gap,) = coverage(store, gone, T0).gaps.to_pylist()
    assert (gap["cause"], gap["lost"]) == ("retention", 0)
    address = sql.network("203.0.113.7")
    assert "retention" in coverage(store, replace(gone, address=address), T0).gaps["cause"].to_pylist()
    assert coverage(store, Question(T0 - DAY, T0), T0).complete
    sealer = Sealer(tmp_path, clock=lambda: T0, limits=Limits(size=1))
    sealer.retain()
    assert [path.name.partition(".")[0] for path in (tmp_path / "neighbours").iterdir()] == left[-1:]
    assert len(store.intervals("addresses")) == 2
    assert sealer.retain() is None


def test_a_flood_of_neighbours_goes_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of which every time is older go, whether connections go with them or not."""
    flooded(tmp_path, monkeypatch).close()
    sealer = Sealer(tmp_path, clock=lambda: T0, limits=Limits(age=round(1.5 * DAY)))
    assert when(sealer.retain()) == 1
    assert len(list((tmp_path / "neighbours").iterdir())) == 3
    assert ports(tmp_path) == {1}
    assert sealer.retain() is None


def test_many_files_go_in_steps_that_fit_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit names more than there is kept free behind the manifest; the oldest go first, and where it dies between
    two steps, whoever goes on does the rest and the same is told of all."""
    model, whole_one = tmp_path / "model", tmp_path / "whole"
    long_history(model).close()
    shutil.copytree(model, whole_one)
    sealer_for(whole_one, 2).retain()
    monkeypatch.setattr(retain, "MOST_REMOVED", 120)
    lines = layout.manifest_path(model).read_text().count("\n")
    assert sealer_for(model, 2).retain() is not None
    commits = [json.loads(line) for line in layout.manifest_path(model).read_text().splitlines()[lines:]]
    names = [file for commit in commits for file in commit["removes"]]
    assert len(commits) > 5
    assert all(sum(len(name) + 3 for name in commit["removes"]) <= 120 for commit in commits)
    closed = [layout.day_of_file(name) for name in names if name.startswith("node=")]
    assert closed == sorted(closed)
    whole_state, state = manifest.replay(whole_one), manifest.replay(model)
    assert (state.files(), state.removed) == (whole_state.files(), whole_state.removed)
    assert on_disk(model) == on_disk(whole_one)


def test_a_year_of_names_at_most_fills_what_is_kept_free() -> None:
    """Each commit of a cut that removes everything of a year of ten-minute seals."""
    ends = [T0 - n * 600 * SECOND for n in range(52_560)]
    files = [layout.connections_file("n" * 64, layout.day_of(end), n, False) for n, end in enumerate(ends)]
    entries = [msgspec.structs.replace(entry(end), file=file) for end, file in zip(ends, files, strict=True)]
    steps = list(retain.steps(State(connections=Counted(entries)), T0 + 1))
    assert [name for step in steps for name in step] == files[::-1]
    assert max(len(json.dumps(step, separators=(",", ":"))) for step in steps) < manifest.RESERVED - 1024


def test_a_look_is_cheap_while_nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are gone through once after each change, and not at each look, whichever limit there is."""
    state = state_of(*DAYS)
    assert retain.cut(state, Limits(age=99 * DAY), ROOMY, T0) is None
    monkeypatch.setattr(Counted, "__iter__", Mock(side_effect=AssertionError))
    monkeypatch.setattr(Counted, "ended", Mock(side_effect=AssertionError))
    monkeypatch.setattr("anetcon.store.saved.microseconds", Mock(side_effect=AssertionError))
    full = Disk(total=10**12, free=0, used=10**12)
    for limits, disk in ((Limits(age=99 * DAY, size=10**12), ROOMY), (Limits(), ROOMY)):
        assert retain.cut(state, limits, disk, T0) is None
    state = State(connections=Counted([entry(T0 - HOUR // 2)]))
    monkeypatch.undo()
    assert state.oldest() == T0 - HOUR // 2
    monkeypatch.setattr(Counted, "ended", Mock(side_effect=AssertionError))
    assert retain.cut(state, Limits(size=1), full, T0) is None, "nothing that ended within the last hour goes"
    assert retain.cut(state, Limits(), full, T0) is None, "nor of the last week"


def test_the_oldest_is_known_after_every_change() -> None:
    """Of files that were added, removed, and of a saved state."""
    counted = Counted([entry(T0 + n) for n in (5, 3, 9)])
    assert counted.total() == (300, T0 + 3)
    counted.append(entry(T0 + 1, 50))
    assert counted.total() == (350, T0 + 1)
    again = Counted([entry(T0 + 2)], saved=saved_table(counted))
    assert again.total() == (450, T0 + 1)
    assert again.remove({str(T0 + 1), str(T0 + 2)}).total() == (150, T0 + 1)
    assert again.total() == (300, T0 + 3)
    assert Counted().total() == (0, None)


def saved_table(counted: Counted) -> pa.Table:
    """As it is saved."""
    return Counted([msgspec.structs.replace(each, sha256="00" * 32) for each in counted]).table()
