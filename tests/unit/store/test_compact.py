"""Compaction: the same answer before, while and after, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.record import FORMAT
from anetcon.store import compact, layout, lock, manifest, merged, parquet
from anetcon.store.checked import Checked
from anetcon.store.compact import Compactor, Done
from anetcon.store.compactable import jobs
from anetcon.store.coverage import Question, coverage
from anetcon.store.entry import microseconds
from anetcon.store.imports import add
from anetcon.store.limits import Limits
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from anetcon.store.verify import Scope, Verifier, Wrong
from tests.support.examples import examples
from tests.support.records import DAY, SECOND, T0, Making, batch, end, logged, start, whole

HOUR, MINUTE = 3600 * SECOND, 60 * SECOND
LATER = T0 + 40 * DAY
ROOT = Path(__file__).parents[3]

Row = tuple[Any, ...]


def made(path: Path, days: int = 3, seals: int = 2) -> Making:
    """Some days, each of so many seals with short and long connections, and one seal and an open one behind them."""
    making = Making(path).audited()
    for day in range(days):
        for number in range(seals):
            at = T0 - (days - day) * DAY + number * 20 * MINUTE
            making.add(
                *whole(5, start=at, src_port=1000 * day + number), *whole(7200, start=at - HOUR, src_port=number)
            )
            making.alive(at).rotate()
            assert Sealer(path, lambda at=at: at).seal()  # type: ignore[misc]
    making.add(*whole(start=T0, src_port=60000), start(start=T0, src_port=60001)).alive(T0).rotate()
    assert Sealer(path, lambda: T0).seal()
    return making


def compacted(path: Path, now: int = LATER) -> list[Done]:
    """Everything that is to be done then."""
    return list(Compactor(path, clock=lambda: now).run())


def answer(store: Store) -> Counter[Row]:
    """Every connection, as often as it is found; but for what only merging needs."""
    table = store.connections().read_all().drop_columns(["ct_id"])
    return Counter(tuple(row.values()) for row in table.to_pylist())


def on_disk(path: Path) -> set[str]:
    """Every Parquet file."""
    return {str(file.relative_to(path)) for file in layout.files_of(path)}


def verified(path: Path) -> list[Wrong]:
    """What is found wrong."""
    return [found.wrong for found in Verifier(path, Scope(), Checked(None)).run().findings]


def test_days_become_files(tmp_path: Path) -> None:
    """One of short and one of long connections; the same answers, also about a moment; nothing more to do then."""
    making, view = made(tmp_path), Store(tmp_path)
    before = answer(view)
    moment = [view.connections(since=at, until=at).read_all().num_rows for at in range(T0 - 3 * DAY, T0, HOUR)]
    done = compacted(tmp_path)
    assert [(job.replaced, len(job.files)) for job in done] == [(4, 2)] * 3
    state = manifest.replay(tmp_path)
    spans = Counter((layout.span_of_file(e.file), layout.is_long(e.file)) for e in state.connections)
    assert spans == {("day", False): 3, ("day", True): 3, ("", False): 1}
    assert {entry.format for entry in state.connections} == {FORMAT}
    assert answer(view) == answer(Store(tmp_path)) == before
    after = [view.connections(since=at, until=at).read_all().num_rows for at in range(T0 - 3 * DAY, T0, HOUR)]
    assert after == moment
    assert compacted(tmp_path) == []
    assert verified(tmp_path) == []
    making.add(*whole(src_port=7, start=T0 + MINUTE), end(90, src_port=60001)).rotate()
    assert Sealer(tmp_path, lambda: T0 + HOUR).seal()
    assert sum(answer(view).values()) == sum(before.values()) + 1
    making.close()


def test_what_was_replaced_stays_for_an_hour(tmp_path: Path) -> None:
    """For questions that began before; then whoever writes next removes it. A disk without room has no hour."""
    made(tmp_path).close()
    replaced = {entry.file for entry in manifest.replay(tmp_path).connections}
    now = [LATER]
    assert [job.replaced for job in compacted(tmp_path, now[0])] == [4, 4, 4]
    replaced -= manifest.replay(tmp_path).files()
    assert len(replaced) == 12
    assert replaced <= on_disk(tmp_path)  # the clock of this machine is behind
    again = Path(shutil.copytree(tmp_path, tmp_path / "again"))
    assert Sealer(again, limits=Limits(free=1 << 60)).retain() is not None
    assert not replaced & on_disk(again)


def test_what_was_replaced_goes(tmp_path: Path) -> None:
    """An hour later."""
    made(tmp_path).close()
    assert compacted(tmp_path, T0 + 3 * DAY)
    compacted(tmp_path, T0 + 3 * DAY)
    assert on_disk(tmp_path) == manifest.replay(tmp_path).files()


@pytest.mark.parametrize("torn", ["whole", pytest.param("torn", marks=pytest.mark.slow)])
def test_killed_anywhere_beside_a_reader(tmp_path: Path, torn: str) -> None:
    """At each step that changes the disk, with SIGKILL: who asks for everything all the time gets one answer; what is
    left is whole, and the next compaction does the rest."""
    made(tmp_path, days=6).close()
    view = Store(tmp_path)
    before = answer(view)
    command = [sys.executable, "-m", "tests.support.compacting", str(tmp_path), torn]
    answers = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as killing:
        while killing.poll() is None:
            assert answer(view) == before
            answers += 1
        assert killing.stdout is not None
        steps = [[*map(int, line.split())] for line in killing.stdout]
    assert killing.returncode == 0
    assert answers > 5
    assert [status for _, status, _ in steps] == [9] * (len(steps) - 1) + [0]
    assert len(steps) > 12
    compacted(tmp_path)
    assert answer(view) == before
    assert verified(tmp_path) == []
    assert list((tmp_path / layout.COMPACTING).iterdir()) == []


def test_retention_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it removed while a file was written does not come back; the other days are compacted."""
    made(tmp_path).close()
    real = merged.merged

    def cut(store: Path, entries: Any) -> Any:
        """Retention comes in between."""
        Sealer(tmp_path, lambda: T0, limits=Limits(age=2 * DAY)).retain()
        return real(store, entries)

    with monkeypatch.context() as patch:
        patch.setattr(merged, "merged", cut)
        assert [job.replaced for job in compacted(tmp_path)] == [4, 4]
    removed = manifest.replay(tmp_path).removed
    assert removed is not None
    assert removed.rows == 4
    assert sum(answer(Store(tmp_path)).values()) == 4 * 2 + 2
    assert not coverage(Store(tmp_path), Question(), T0).complete
    assert verified(tmp_path) == []


def test_retention_takes_whole_days_of_it(tmp_path: Path) -> None:
    """By the same rule as before, and counts the same rows."""
    made(tmp_path).close()
    compacted(tmp_path)
    assert Sealer(tmp_path, lambda: T0, limits=Limits(age=2 * DAY)).retain() is not None
    removed = manifest.replay(tmp_path).removed
    assert removed is not None
    assert removed.rows == 4
    assert not list(layout.folders_of_day(tmp_path, layout.day_of(T0 - 3 * DAY)))


def imported(path: Path, *numbers: int, gone: Any = None) -> set[str]:
    """Lines of text of the day before, imported."""
    rows = batch("connections", [logged(start=T0 - DAY, src_port=n, origin="import") for n in numbers])
    return add(path, pa.Table.from_batches([rows]), [], Limits(free=0), lambda: T0, gone=gone or {})


def test_imports(tmp_path: Path) -> None:
    """Their files are put together with each other alone, and a later import still takes rows out of them."""
    made(tmp_path).close()
    for number in range(3):
        imported(tmp_path, 100 + number, 200 + number)
    before = answer(Store(tmp_path))
    assert sorted(job.replaced for job in compacted(tmp_path)) == [3, 4, 4, 4]
    assert answer(Store(tmp_path)) == before
    state = manifest.replay(tmp_path)
    (ours,) = state.connections.of_seals(state.imports)
    assert (layout.span_of_file(ours.file), ours.rows) == ("day", 6)
    ports = parquet.read(tmp_path, ours.file)["src_port"].to_pylist()
    imported(tmp_path, 300, gone={ours.file: np.array([ports.index(101)])})
    found = [row[7] for row in answer(Store(tmp_path))]
    assert (101 in found, 300 in found, len(found)) == (False, True, len(before))
    assert verified(tmp_path) == []


def test_while_an_import_runs_its_files_stay(tmp_path: Path) -> None:
    """It knows rows by their places in them. One that has known them for longer has to be run again."""
    made(tmp_path).close()
    files = imported(tmp_path, 100) | imported(tmp_path, 101)
    with lock.turn(tmp_path, wait=False, name=layout.IMPORTING_LOCK):
        assert [job.replaced for job in compacted(tmp_path)] == [4, 4, 4]
    assert files <= manifest.replay(tmp_path).files()
    assert [job.replaced for job in compacted(tmp_path)] == [2]
    with pytest.raises(StoreError, match="compacted meanwhile"):
        imported(tmp_path, 102, gone={min(files): np.array([0])})
    assert sum(answer(Store(tmp_path)).values()) == 12 + 2 + 2


def test_a_file_that_was_changed_is_left(tmp_path: Path) -> None:
    """It never becomes part of what is right: its day stays as it is, and that is said; the others are compacted."""
    made(tmp_path).close()
    state = manifest.replay(tmp_path)
    path = tmp_path / min(entry.file for entry in state.connections)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    done = []
    with pytest.raises(StoreError, match=f"{path} was changed since it was sealed"):
        done += [job.replaced for job in Compactor(tmp_path, clock=lambda: LATER).run()]
    state = manifest.replay(tmp_path)
    assert len(state.connections) == 4 + 2 * 2 + 1
    assert verified(tmp_path) == [Wrong.CHANGED]


def test_a_compacted_file_that_was_changed_is_found(tmp_path: Path) -> None:
    """As any other."""
    made(tmp_path).close()
    compacted(tmp_path)
    path = tmp_path / next(e.file for e in manifest.replay(tmp_path).connections if layout.span_of_file(e.file))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert verified(tmp_path) == [Wrong.CHANGED]


@pytest.mark.parametrize(("key", "value"), [("rows", 99), ("content", "0" * 32)])
def test_a_compaction_of_other_rows_is_none(tmp_path: Path, key: str, value: Any) -> None:
    """A manifest that says so does not hold, however its digests fit: nothing is answered."""
    making = made(tmp_path, days=1)
    making.close()
    compacted(tmp_path)
    path = layout.manifest_path(tmp_path)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[-2][key] = value
    path.unlink()
    head = "0" * 64
    with path.open("wb") as file:
        for line in lines:
            data = json.dumps({**line, "prev": head}).encode() + b"\n"
            head = hashlib.sha256(data).hexdigest()
            file.write(data)
    with pytest.raises(StoreError, match="adds other rows than it removes"):
        manifest.replay(tmp_path)
    assert Wrong.CHAIN in verified(tmp_path)


def test_what_is_read_back_wrong_never_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gives back something else, rows that were lost on the way: everything stays as it was."""
    made(tmp_path).close()
    before = on_disk(tmp_path), layout.manifest_path(tmp_path).read_bytes()
    real = merged.merged
    with monkeypatch.context() as patch:
        patch.setattr(merged, "merged", lambda *given: (table.slice(1) for table in real(*given)))
        with pytest.raises(StoreError, match="not as many as were sealed"):
            compacted(tmp_path)
        patch.setattr(
            merged,
            "merged",
            lambda *given: (table.set_column(7, table.schema.field(7), table["dst_port"]) for table in real(*given)),
        )
        with pytest.raises(StoreError, match="other rows than were sealed"):
            compacted(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(compact, "_digest", lambda path: "" if layout.COMPACTING in str(path) else _digest(path))
        with pytest.raises(StoreError, match="does not read back"):
            compacted(tmp_path)
    assert (on_disk(tmp_path), layout.manifest_path(tmp_path).read_bytes()) == before


_digest = compact._digest


def test_one_at_a_time_and_with_room(tmp_path: Path) -> None:
    """Another one is refused, and so is filling the disk."""
    made(tmp_path).close()
    with lock.turn(tmp_path, wait=False, name=layout.COMPACTING_LOCK), pytest.raises(StoreError, match="is running"):
        compacted(tmp_path)
    with pytest.raises(StoreError, match="too little to write"):
        list(Compactor(tmp_path, Limits(free=1 << 60), lambda: LATER).run())
    assert len(compacted(tmp_path)) == 3


@pytest.mark.parametrize("name", ["format1", "format2"])
def test_stores_of_older_versions(tmp_path: Path, name: str) -> None:
    """Read, sealed, compacted, verified: the same answers, and files of today's format."""
    store = Path(shutil.copytree(ROOT / "tests" / "data" / name, tmp_path / "store"))
    sealer = Sealer(store, lambda: T0 + 10 * MINUTE)
    before = answer(Store(store))
    while sealer.seal():
        pass
    assert answer(Store(store)) == before
    assert compacted(store)
    state = manifest.replay(store)
    assert {entry.format for entry in state.connections if layout.span_of_file(entry.file)} == {FORMAT}
    assert jobs(state, LATER) == []
    assert answer(Store(store)) == before
    assert verified(store) == []


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, tuple[int, int | None]], list[tuple[int, int, str]]]:
    """Connections over some hours: when each began and ended; and what is heard of it, with dumps and copies."""
    known, heard = {}, list[tuple[int, int, str]]()
    for port in range(draw(st.integers(1, 12))):
        begin = T0 + draw(st.integers(0, 30)) * 10 * MINUTE + draw(st.integers(0, 599)) * SECOND
        lasted = draw(st.sampled_from([1, 30, 299, 3000, 3601, 9000, None])) if port else 1
        known[port] = begin, None if lasted is None else begin + lasted * SECOND
        if lasted is None or draw(st.booleans()):
            heard.append((begin, port, "start"))
        for _ in range(draw(st.integers(0, 1 if lasted == 1 else 2))):
            heard.append((begin + draw(st.integers(0, lasted or 9000)) * SECOND, port, "dump"))
        if lasted is not None:
            copies = draw(st.integers(1, 3))
            heard += [(begin + lasted * SECOND + n * 20 * SECOND, port, "end") for n in range(copies)]
    return known, sorted(heard)


@examples(0.15)
@given(histories(), st.data())
def test_each_connection_once(
    tmp_path_factory: pytest.TempPathFactory,
    history: tuple[dict[int, tuple[int, int | None]], list[tuple[int, int, str]]],
    data: st.DataObject,
) -> None:
    """However starts, ends, dumps and copies come, wherever segments end, whenever it is sealed and compacted: each
    connection is found once, with its times."""
    known, heard = history
    path = tmp_path_factory.mktemp("store")
    making, sealer, clock = Making(path), Sealer(path, lambda: clock[0]), [T0]
    told = set[int]()
    for at, port, what in heard:
        clock[0] = at
        begin, over = known[port]
        if what == "end":
            assert over is not None
            making.add(end((over - begin) / SECOND, start=begin, src_port=port))
        elif over is None or at < over:
            making.add(start(start=begin, src_port=port, origin="dump" if what == "dump" else "event"))
        told.add(port)
        doing = data.draw(st.sampled_from(["go on", "rotate", "seal", "compact"]))
        if doing != "go on":
            making.rotate()
        if doing in ("seal", "compact"):
            while sealer.seal():
                pass
        if doing == "compact":
            compacted(path, at)
    compacted(path, clock[0] + 2 * DAY)
    found = {}
    view = Store(path)
    rows = view.connections().read_all()
    assert sorted(rows["src_port"].to_pylist()) == sorted(told)
    for port, begin, over in zip(
        rows["src_port"].to_pylist(),
        rows["start"].cast("int64").to_pylist(),
        rows["end"].cast("int64").to_pylist(),
        strict=True,
    ):
        found[port] = begin, over
    ended = {port for _, port, what in heard if what == "end"}
    assert found == {port: (known[port][0], known[port][1] if port in ended else None) for port in told}
    making.close()


def test_the_bounds_in_the_manifest_hold_all_rows(tmp_path: Path) -> None:
    """What a question skips by them has nothing for it."""
    made(tmp_path).close()
    compacted(tmp_path)
    for entry in manifest.replay(tmp_path).connections:
        rows = pq.read_table(tmp_path / entry.file, partitioning=None)
        assert microseconds(entry.start or "") == min(rows["start"].cast("int64").to_pylist())
        assert microseconds(entry.end or "") == max(rows["end"].cast("int64").to_pylist())
        assert (tmp_path / entry.file).stat().st_mode & 0o777 == layout.FILE_MODE
