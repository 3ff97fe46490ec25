"""A journal that ends too early is a gap in every answer, before and after it is sealed, unless a crash explains it."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anetcon.capture import batch
from anetcon.journal.read import last_flush
from anetcon.journal.segment import Lost
from anetcon.journal.write import Writer, segment_path, segments
from anetcon.record import TABLES, arrow_schema
from anetcon.store import layout, snapshot
from anetcon.store.coverage import Question, coverage
from anetcon.store.damage import unexplained
from anetcon.store.reader import Store
from anetcon.store.seal import Sealer
from tests.support.examples import examples
from tests.support.records import SECOND, T0, Making, start, whole

DOWN = {"node": "gw1", "netns": None, "from": T0 + 9 * SECOND, "to": T0 + 12 * SECOND, "cause": "daemon-down"}


def gaps(store: Path) -> list[tuple[float, float]]:
    """The bounds, in seconds from the beginning, of the gaps that an answer calls damage."""
    until = T0 + 20 * SECOND
    found = coverage(Store(store), Question(T0, until), until).gaps.to_pylist()
    damaged = [gap for gap in found if gap["cause"] == "journal-damaged"]
    return [tuple(round(gap[name].timestamp() - T0 / SECOND, 3) for name in ("from", "to")) for gap in damaged]


def interrupted(path: Path, closed: bool, *told: dict[str, Any], again_closed: bool = True) -> Path:
    """A segment until 9 s, and one from 12 s on."""
    making = Making(path)
    making.clock = T0
    making.add(start()).alive(T0 + 9 * SECOND).close()
    if not closed:
        index = segment_path(layout.journal_folder(path, "connections"), 1, "index")
        index.write_bytes(index.read_bytes().removesuffix(b"closed\n"))
    again = Making(path)
    again.clock = T0 + 12 * SECOND
    if told:
        again.add(*told, table="gaps")
    again.alive(T0 + 20 * SECOND)
    return again.close() if again_closed else path


@pytest.mark.parametrize(
    ("closed", "told", "expected"),
    [
        (True, [], []),
        (False, [], [(9, 12)]),
        (False, [DOWN | {"lost": None}], []),
        (False, [DOWN | {"lost": None, "netns": "qrouter-1"}], [(9, 12)]),
        (False, [DOWN | {"lost": None, "to": T0 + 11 * SECOND}], [(9, 12)]),
    ],
)
def test_a_segment_that_was_not_closed(
    tmp_path: Path, closed: bool, told: list[dict[str, Any]], expected: list[tuple[float, float]]
) -> None:
    """It is damaged unless a gap of everything covers what is missing; a seal changes nothing of that."""
    path = interrupted(tmp_path / "store", closed, *told)
    assert gaps(path) == expected
    assert Sealer(path).seal()
    assert gaps(path) == expected


def test_a_crash_that_is_told_in_a_segment_still_written_to(tmp_path: Path) -> None:
    """The daemon that came back says so in the segment behind, which is not sealed with what the crash left."""
    path = interrupted(tmp_path / "store", False, DOWN | {"lost": None}, again_closed=False)
    assert Sealer(path).seal()
    assert gaps(path) == []


def test_a_crash_that_is_told_while_an_answer_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that comes back while the gaps are being read is no damage: what it says comes before its segment."""
    path = interrupted(tmp_path / "store", False)
    segment_path(layout.journal_folder(path, "connections"), 2, "index").rename(aside := tmp_path / "aside")
    listed = list[str]()

    def there(folder: Path) -> list[int]:
        found = segments(folder)
        if not listed:
            with Writer(layout.journal_folder(path, "gaps"), "gaps") as writer:
                writer.append(batch.rows("gaps", [DOWN | {"lost": None}]), T0, T0)
            aside.rename(segment_path(layout.journal_folder(path, "connections"), 2, "index"))
        listed.append(folder.name)
        return found

    monkeypatch.setattr(snapshot, "segments", there)
    assert gaps(path) == []
    assert (listed[0], listed[len(TABLES) - 1]) == ("connections", "gaps")
    assert gaps(path) == []


def test_a_segment_whose_data_is_gone(tmp_path: Path) -> None:
    """Its index alone is damage; it is sealed like any other."""
    path = interrupted(tmp_path / "store", True)
    segment_path(layout.journal_folder(path, "connections"), 1).unlink()
    assert len(gaps(path)) == 1
    assert Sealer(path).seal()
    assert len(gaps(path)) == 1


def test_bounds_that_are_not_known() -> None:
    """A gap without bounds covers everything, what has no beginning only a gap that has none."""
    lost = Lost(None, T0, None)
    endless = DOWN | {"from": None, "to": None, "lost": None}
    for row, left in ((endless, []), (DOWN | {"lost": None}, [lost])):
        assert unexplained([lost], pa.Table.from_pylist([row], arrow_schema("gaps"))) == left


def crashed(path: Path) -> Path:
    """Four seconds with a connection each, the last segment not closed; two of them are sealed."""
    making = Making(path)
    making.clock = T0
    for number in range(4):
        making.add(*whole(0.5, src_port=number, start=T0 + number * SECOND)).alive(T0 + (number + 1) * SECOND)
        if number == 1:
            making.rotate()
            assert Sealer(path, lambda: T0 + 60 * SECOND).seal()
    return path


def restarted(path: Path) -> None:
    """What the next start does: a new segment behind whatever is there, with the gap since the last flush."""
    before = last_flush(layout.journal_folder(path, "connections"))
    making = Making(path)
    making.clock = T0 + 6 * SECOND
    making.add(DOWN | {"lost": None, "from": before, "to": making.clock}, table="gaps")
    making.add(*whole(0.5, src_port=9, start=T0 + 6 * SECOND)).alive(T0 + 7 * SECOND).close()


def told(store: Store) -> tuple[list[int], list[tuple[float, float]]]:
    """The ports on record, and the bounds of all gaps in seconds from the beginning; -1 for the beginning."""
    until = T0 + 7 * SECOND
    gaps = coverage(store, Question(T0, until), until).gaps.to_pylist()
    bounds = [[-1 if gap[n] is None else gap[n].timestamp() - T0 / SECOND for n in ("from", "to")] for gap in gaps]
    return sorted(store.connections().read_all()["src_port"].to_pylist()), [(a, b) for a, b in bounds]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `crashed` makes, once: to be copied."""
    return crashed(tmp_path_factory.mktemp("crashed") / "store")


@examples(0.4)
@given(
    kind=st.sampled_from(["arrows", "index"]),
    damage=st.sampled_from(["torn", "zeroed", "flipped"]),
    share=st.floats(0, 1, exclude_max=True),
)
@example(kind="arrows", damage="kept", share=0)
def test_a_start_behind_a_journal_that_broke(left: Path, kind: str, damage: str, share: float) -> None:
    """Wherever the last segment of a crash is torn, zeroed or flipped: the next start goes on behind it, every flush
    before the damage is on record once, before and after it is sealed, also by two processes one after the other, and
    whatever is missing was made inside a gap."""
    with TemporaryDirectory() as folder:
        path = shutil.copytree(left, Path(folder) / "store")
        number = segments(layout.journal_folder(path, "connections"))[-1]
        file = segment_path(layout.journal_folder(path, "connections"), number, kind)
        content = file.read_bytes()
        at = int(share * len(content))
        tail = {
            "torn": b"",
            "zeroed": bytes(len(content) - at),
            "flipped": bytes([content[at] ^ 0x10]) + content[at + 1 :],
            "kept": content[at:],
        }[damage]
        file.write_bytes(content[:at] + tail)
        restarted(path)
        store = Store(path)
        ports, gaps = told(store)
        assert ports in ([0, 1, 9], [0, 1, 2, 9], [0, 1, 2, 3, 9])
        assert damage != "kept" or ports == [0, 1, 2, 3, 9]
        for missing in {0, 1, 2, 3} - set(ports):
            assert any(begin <= missing and missing + 0.5 <= end for begin, end in gaps), (missing, gaps)
        copy = Path(folder) / "copy"
        shutil.copytree(path, copy)
        while Sealer(path, lambda: T0 + 60 * SECOND).seal():
            pass
        assert told(store)[0] == ports
        shutil.copytree(copy / "journal", path / "journal", dirs_exist_ok=True)  # what a crash before the drop leaves
        assert not Sealer(path, lambda: T0 + 60 * SECOND).seal()
        after, gaps = told(store)
        assert after == ports
        for missing in {0, 1, 2, 3} - set(ports):
            assert any(begin <= missing and missing + 0.5 <= end for begin, end in gaps), (missing, gaps)
